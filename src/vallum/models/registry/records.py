"""The tables of the registry. What a version holds lies in the blob store, sealed under the version's own key."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from vallum.kernel.store.records import metadata

__all__ = [
    "aliases",
    "attestations",
    "dependency_scans",
    "egress",
    "files",
    "models",
    "parts",
    "signing_keys",
    "uploads",
    "versions",
]

models = Table(
    "registered_models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("holder", Text, nullable=False),  # the human being who registered it; empty for a service
    Column("owner", Text, nullable=False),
    Column("classification", Text, nullable=False),
    Column("risk_class", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("newest", BigInteger, nullable=False),  # the last version number given out; none is given out again
)

uploads = Table(
    "model_uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # open, completing or completed
    Column("source", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("touched_at_seconds", BigInteger, nullable=False),
    Column("claim", Text, nullable=False),  # of whoever completes it
    Column("sealed_key", LargeBinary, nullable=False),  # of its files; without it they are noise
    Column("signature", LargeBinary),  # brought by the uploader
)

files = Table(
    "model_files",
    metadata,
    Column("upload", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("blob", Text, nullable=False),
    PrimaryKeyConstraint("upload", "path"),
)

parts = Table(  # of a file that arrives piece by piece, each sealed by itself and bound to where it begins
    "model_file_parts",
    metadata,
    Column("upload", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("begin", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),  # of the file up to where this part ends
    Column("blob", Text, nullable=False),
    PrimaryKeyConstraint("upload", "path", "begin"),
)

versions = Table(
    "model_versions",
    metadata,
    Column("model", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("upload", Text, nullable=False),
    Column("state", Text, nullable=False),  # quarantined, available or revoked: only ever onward
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("findings", LargeBinary, nullable=False),  # JSON
    Column("signer", Text),
    Column("bundle", LargeBinary, nullable=False),  # the signature (OMS 1.0)
    Column("source", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("reviewed_by", Text),
    Column("review_note", Text, nullable=False),
    Column("revoked_by", Text),
    Column("revoked_reason", Text, nullable=False),
    PrimaryKeyConstraint("model", "number"),
)

aliases = Table(
    "model_aliases",
    metadata,
    Column("model", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("model", "alias"),
)

attestations = Table(
    "model_attestations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("predicate_type", Text, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
)
Index("ix_model_attestations_model_number", attestations.c.model, attestations.c.number)

dependency_scans = Table(
    "model_dependency_scans",
    metadata,
    Column("model", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("report", LargeBinary, nullable=False),  # JSON
    Column("at", Text, nullable=False),
    PrimaryKeyConstraint("model", "number"),
)

egress = Table(
    "model_egress",
    metadata,
    Column("subject", Text, nullable=False),
    Column("day", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("downloads", Integer, nullable=False),
    PrimaryKeyConstraint("subject", "day"),
)

signing_keys = Table(
    "model_signing_keys",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("public_key", Text, nullable=False),  # PEM
    Column("sealed", LargeBinary, nullable=False),  # the private half or its id on a token, under the purpose `signing`
    Column("created_at", Text, nullable=False),
    Column("custody", Text, nullable=False, server_default="sealed"),  # sealed, or token
    Column("retired_at", Text),
    Column("revoked_at", Text),
    Column(
        "revoked_since", Text, nullable=False, server_default=""
    ),  # what the ledger recorded before still counts; empty: nothing does
    Column("revoked_reason", Text, nullable=False, server_default=""),
    Column("state", LargeBinary),  # all of the above, sealed: a row is what this platform wrote
)
