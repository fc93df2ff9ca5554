"""Key schedules: when keysets are rotated, what was said of overdue ones, what a key is known by, versions of secrets.

What the vault holds so far becomes the first version of each secret, for any consumer.
"""

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
    op.create_table(
        "secret_versions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("consumers", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at_seconds", sa.Double(), nullable=True),
        sa.Column("last_used_at", sa.Text(), nullable=True),
        sa.Column("last_used_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_secret_versions")),
    )
    op.execute(
        "INSERT INTO secret_versions (name, version, sealed, consumers, created_at) "
        "SELECT name, 1, sealed, 'any', updated_at FROM secrets"
    )
    with op.batch_alter_table("secrets") as secrets:
        secrets.drop_column("sealed")
        secrets.add_column(sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"))
        secrets.add_column(sa.Column("newest", sa.BigInteger(), nullable=False, server_default="1"))
    with op.batch_alter_table("secrets") as secrets:
        secrets.alter_column("version", server_default=None)
        secrets.alter_column("newest", server_default=None)
