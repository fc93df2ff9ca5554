"""Workloads and watching: delegations, services that have certificates; what accounts usually do, and alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0003_workloads"
down_revision = "0002_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delegations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("application_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at_seconds", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_delegations_token_hash")),
    )
    op.create_index("ix_delegations_person_id", "delegations", ["person_id"], unique=False)
    op.add_column("api_keys", sa.Column("models", sa.Text(), nullable=True))
    with op.batch_alter_table("services") as services:
        services.add_column(sa.Column("spiffe_id", sa.Text(), nullable=True))
        services.add_column(sa.Column("certificates_after_seconds", sa.BigInteger(), nullable=True))
        services.create_unique_constraint(op.f("uq_services_spiffe_id"), ["spiffe_id"])
    op.create_table(
        "watch_cursors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_watch_cursors")),
    )
    op.create_table(
        "watch_profiles",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("learnt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_watch_profiles")),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("detectors", sa.Text(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_entry_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_subject_state", "alerts", ["subject", "state"], unique=False)
    op.create_table(
        "session_places",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("from_seconds", sa.BigInteger(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "from_seconds", name=op.f("pk_session_places")),
    )
    op.execute("INSERT INTO session_places SELECT id, rotated_at_seconds, network FROM sessions WHERE network <> ''")
