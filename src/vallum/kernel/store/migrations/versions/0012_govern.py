"""Who was erased, so that no intake brings them back. Legal hold on contents."""

import sqlalchemy as sa
from alembic import op

revision = "0012_govern"
down_revision = "0011_data"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_erased",
        sa.Column("erasure", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("erasure", name=op.f("pk_data_erased")),
    )
    op.create_index("ix_data_erased_dataset", "data_erased", ["dataset"])
    op.create_table(
        "data_erased_keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_data_erased_keys")),
    )
    op.create_table(
        "ledger_holds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("until", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("held_by", sa.Text(), nullable=False),
        sa.Column("held_at", sa.Text(), nullable=False),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_holds")),
    )
