"""Key schedules: when keysets are rotated, what was said of overdue ones, and what a key is known by once gone."""

import sqlalchemy as sa
from alembic import op

revision = "0004_key_schedules"
down_revision = "0003_workloads"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keyset_schedules",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("every_days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "purpose", name=op.f("pk_keyset_schedules")),
    )
    op.create_table(
        "overdue_alerts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alerted_at_seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_overdue_alerts")),
    )
    with op.batch_alter_table("keyset_versions") as versions:
        versions.add_column(sa.Column("wrapped_at", sa.Text(), nullable=True))
        versions.add_column(sa.Column("check_value", sa.Text(), nullable=True))
