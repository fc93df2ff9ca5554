"""The tables of releases, what was said of them, what runs where, and what came of it."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from vallum.kernel.store.records import metadata

__all__ = [
    "approvals",
    "deployments",
    "evidence",
    "outcomes",
    "promotions",
    "prompts",
    "releases",
    "served",
    "trials",
    "verifications",
]

releases = Table(
    "releases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("product", Text, nullable=False, index=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("envelope", LargeBinary, nullable=False),
    Column("classification", Text, nullable=False),
    Column("risk_class", Text, nullable=False),
    Column("models", Text, nullable=False),  # JSON: NAME/NUMBER of each
    Column("state", Text, nullable=False),  # built or revoked
    Column("built_by", Text, nullable=False),
    Column("holder", Text, nullable=False),  # the human being who built it
    Column("built_at", Text, nullable=False),
    Column("revoked_by", Text),
    Column("revoked_at", Text),
    Column("reason", Text, nullable=False),
)

prompts = Table(
    "release_prompts",
    metadata,
    Column("release", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("release", "name"),
)

evidence = Table(
    "release_evidence",
    metadata,
    Column("id", Text, primary_key=True),
    Column("release", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
)

promotions = Table(
    "release_promotions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("mode", Text, nullable=False),  # whole, canary or shadow
    Column("percent", Integer, nullable=False),
    Column("slow_milliseconds", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # waiting, approved, denied or cancelled
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("holder", Text, nullable=False),  # the human being who asked
    Column("requested_at", Text, nullable=False),
    Column("checks", Text, nullable=False),  # JSON: what they came to when it was asked for
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("note", Text, nullable=False),
)

approvals = Table(
    "release_approvals",
    metadata,
    Column("promotion", Text, nullable=False),
    Column("holder", Text, nullable=False),  # a human being approves once, from whatever account
    Column("approved_by", Text, nullable=False),
    Column("at", Text, nullable=False),
    PrimaryKeyConstraint("promotion", "holder"),
)

deployments = Table(
    "release_deployments",
    metadata,
    Column("environment", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("release", Text, nullable=False),
    Column("kind", Text, nullable=False),  # promotion, rollback, revocation or healing
    Column("promotion", Text),
    Column("envelope", LargeBinary, nullable=False),  # signed by the environment's key
    Column("by", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("ended", Text),  # null while it runs
    PrimaryKeyConstraint("environment", "product", "sequence"),
)

trials = Table(
    "release_trials",
    metadata,
    Column("environment", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("kind", Text, nullable=False),  # canary or shadow
    Column("release", Text, nullable=False),
    Column("stable", Text, nullable=False),  # the release beside which it began
    Column("percent", Integer, nullable=False),
    Column("slow_milliseconds", BigInteger, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON: what outcomes came to so far
    PrimaryKeyConstraint("environment", "product"),
)

outcomes = Table(
    "release_outcomes",
    metadata,
    Column("environment", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("slow", BigInteger, nullable=False),
    Column("findings", BigInteger, nullable=False),
    PrimaryKeyConstraint("environment", "product", "release"),
)

verifications = Table(
    "release_verifications",
    metadata,
    Column("environment", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("problems", Text, nullable=False),  # JSON
    Column("alerted", Text, nullable=False),  # digest of the problems that were told, and when
    Column("alerted_at_seconds", BigInteger, nullable=False),
    PrimaryKeyConstraint("environment", "product"),
)

served = Table(
    "release_served",
    metadata,
    Column("process", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("seen_at_seconds", BigInteger, nullable=False),
    Column("trouble", Text, nullable=False, server_default=""),  # why it could not be loaded
    PrimaryKeyConstraint("process", "environment", "model", "release"),
)
