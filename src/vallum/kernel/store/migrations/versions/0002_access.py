"""Access: grants, passkeys, recovery codes, what sessions know of themselves, and which accounts are one person's.

Sessions and open invitations end with the upgrade: nobody knows how long those sessions were idle, and who invited.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002_access"
down_revision = "0001_foundation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("requester_id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("start_after_seconds", sa.Integer(), nullable=False),
        sa.Column("break_glass", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("requested_at_seconds", sa.Double(), nullable=False),
        sa.Column("decide_by_seconds", sa.Double(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("starts_at_seconds", sa.Double(), nullable=True),
        sa.Column("expires_at_seconds", sa.Double(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_requester_id", "grants", ["requester_id"], unique=False)
    op.add_column("persons", sa.Column("holder", sa.Text(), nullable=True))
    op.add_column("persons", sa.Column("inviter", sa.Text(), nullable=True))
    op.execute("UPDATE persons SET holder = id, inviter = ''")
    with op.batch_alter_table("persons") as persons:
        persons.alter_column("holder", existing_type=sa.Text(), nullable=False)
        persons.alter_column("inviter", existing_type=sa.Text(), nullable=False)
    op.execute("DELETE FROM enrolments")
    with op.batch_alter_table("enrolments") as enrolments:
        enrolments.add_column(sa.Column("holder", sa.Text(), nullable=True))
        enrolments.add_column(sa.Column("invited_by", sa.Text(), nullable=False))
        enrolments.add_column(sa.Column("inviter", sa.Text(), nullable=False))
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("backed_up", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("last_used_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkeys")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkeys_credential_id")),
    )
    op.create_index("ix_passkeys_person_id", "passkeys", ["person_id"], unique=False)
    op.create_table(
        "recovery_codes",
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("used_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_recovery_codes")),
    )
    op.create_index("ix_recovery_codes_person_id", "recovery_codes", ["person_id"], unique=False)
    op.execute("DELETE FROM sessions")
    with op.batch_alter_table("sessions") as sessions:
        sessions.add_column(sa.Column("last_seen_seconds", sa.BigInteger(), nullable=False))
        sessions.add_column(sa.Column("previous_hash", sa.LargeBinary(), nullable=True))
        sessions.add_column(sa.Column("rotated_at_seconds", sa.BigInteger(), nullable=False))
        sessions.add_column(sa.Column("device", sa.Text(), nullable=False))
        sessions.add_column(sa.Column("network", sa.Text(), nullable=False))
        sessions.add_column(sa.Column("method", sa.Text(), nullable=False))
    with op.batch_alter_table("services") as services:
        services.alter_column("secret_hash", existing_type=sa.LargeBinary(), nullable=True)
        services.add_column(sa.Column("jwks", sa.Text(), nullable=True))
    op.create_table(
        "policy_changes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("proposed_at", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_changes")),
    )
    op.create_table(
        "sso_subjects",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_sso_subjects")),
        sa.UniqueConstraint("person_id", name=op.f("uq_sso_subjects_person_id")),
    )
    op.add_column("api_keys", sa.Column("last_used_at", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("grant_id", sa.Text(), nullable=True))
    op.drop_table("sign_in_failures")
    op.create_table(
        "attempts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_attempts")),
    )
