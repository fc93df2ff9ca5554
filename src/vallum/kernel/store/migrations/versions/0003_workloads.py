"""Workloads: what people let applications do for them, and services that have certificates."""

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
    with op.batch_alter_table("services") as services:
        services.add_column(sa.Column("spiffe_id", sa.Text(), nullable=True))
        services.add_column(sa.Column("certificates_after_seconds", sa.BigInteger(), nullable=True))
        services.create_unique_constraint(op.f("uq_services_spiffe_id"), ["spiffe_id"])
