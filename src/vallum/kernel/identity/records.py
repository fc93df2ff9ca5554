"""The tables of identity. Every secret in them is hashed, or sealed under the installation's keys."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, Text

from vallum.kernel.store.records import metadata

__all__ = [
    "api_keys",
    "attempts",
    "delegations",
    "enrolments",
    "grants",
    "passkeys",
    "persons",
    "recovery_codes",
    "revoked_tokens",
    "services",
    "session_places",
    "sessions",
    "sso_subjects",
]

persons = Table(
    "persons",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("totp_sealed", LargeBinary, nullable=False),
    Column("totp_last_step", BigInteger, nullable=False),
    Column("roles", Text, nullable=False),  # space-separated, sorted
    Column("version", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("disabled_at", Text),
    Column("holder", Text, nullable=False),  # the human being: the first account's id, in every account of theirs
    Column("inviter", Text, nullable=False),  # the human being who let them in; empty for whoever holds the root key
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("totp_sealed", LargeBinary, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at_seconds", BigInteger, nullable=False),
    Column("holder", Text),  # whose second account this will be
    Column("invited_by", Text, nullable=False),  # the person; empty for whoever holds the root key
    Column("inviter", Text, nullable=False),  # that person's holder
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("person_id", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at_seconds", BigInteger, nullable=False),
    Column("mfa_at_seconds", BigInteger, nullable=False),
    Column("last_seen_seconds", BigInteger, nullable=False),
    Column("previous_hash", LargeBinary),  # of the secret before the last rotation
    Column("rotated_at_seconds", BigInteger, nullable=False),
    Column("device", Text, nullable=False),
    Column("network", Text, nullable=False),
    Column("method", Text, nullable=False),
)
Index("ix_sessions_person_id", sessions.c.person_id)

# Where a session was used from, and since when: kept for a while after it has ended, for whoever watches.
session_places = Table(
    "session_places",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("from_seconds", BigInteger, primary_key=True),
    Column("network", Text, nullable=False),
)

# How much of each limit is used up: the time at which all of it will have come back, Unix seconds.
attempts = Table(
    "attempts",
    metadata,
    Column("key", Text, primary_key=True),  # what they count against: a name in it need not exist
    Column("until", Double, nullable=False),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("credential", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("backed_up", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("last_used_at", Text),
)
Index("ix_passkeys_person_id", passkeys.c.person_id)

sso_subjects = Table(
    "sso_subjects",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("person_id", Text, nullable=False, unique=True),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("person_id", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("used_at", Text),
)
Index("ix_recovery_codes_person_id", recovery_codes.c.person_id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Text, nullable=False),
    Column("expires_at_seconds", BigInteger),
    Column("revoked_at", Text),
    Column("last_used_at", Text),
    Column("grant_id", Text),  # under which it was issued, and with which it ends
    Column("models", Text),  # those that it is for, parted by line breaks; all that the application has without
)
Index("ix_api_keys_application_id", api_keys.c.application_id)

delegations = Table(
    "delegations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("person_id", Text, nullable=False),
    Column("application_id", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at_seconds", BigInteger, nullable=False),
    Column("ended_at", Text),
)
Index("ix_delegations_person_id", delegations.c.person_id)

services = Table(
    "services",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("secret_hash", LargeBinary),  # of those that prove themselves with a secret
    Column("roles", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("disabled_at", Text),
    Column("jwks", Text),  # of those that sign their assertions
    Column("spiffe_id", Text, unique=True),  # of those that have certificates
    Column("certificates_after_seconds", BigInteger),  # older ones are withdrawn
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("expires_at_seconds", BigInteger, nullable=False),
)

# Seconds are the database's own clock, with a fraction.
grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("requester_id", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("seconds", Integer, nullable=False),
    Column("start_after_seconds", Integer, nullable=False),
    Column("break_glass", Integer, nullable=False),
    Column("state", Text, nullable=False),  # requested, approved, denied, withdrawn or revoked; time does the rest
    Column("requested_at", Text, nullable=False),
    Column("requested_at_seconds", Double, nullable=False),
    Column("decide_by_seconds", Double, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("note", Text, nullable=False),
    Column("starts_at_seconds", Double),
    Column("expires_at_seconds", Double),
    Column("ended_by", Text),
    Column("ended_at", Text),
)
Index("ix_grants_requester_id", grants.c.requester_id)
