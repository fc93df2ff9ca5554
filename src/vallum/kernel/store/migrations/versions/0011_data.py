"""Data sets: what an intake is held against, keys and tokens of treatments, privacy budgets and what was spent."""

import sqlalchemy as sa
from alembic import op

revision = "0011_data"
down_revision = "0010_erasure"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("data_intakes", "data_set_versions"):
        op.add_column(table, sa.Column("against", sa.LargeBinary(), nullable=True))
    op.create_table(
        "data_treatment_keys",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "purpose", name=op.f("pk_data_treatment_keys")),
    )
    op.create_table(
        "data_tokens",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("column", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "column", "token", name=op.f("pk_data_tokens")),
    )
    op.create_index("ix_data_tokens_sealed", "data_tokens", ["dataset", "column", "sealed"], unique=True)
    op.create_table(
        "data_privacy_budgets",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("total_micro_epsilon", sa.BigInteger(), nullable=False),
        sa.Column("spent_micro_epsilon", sa.BigInteger(), nullable=False),
        sa.Column("person_column", sa.Text(), nullable=False),
        sa.Column("contributions", sa.Integer(), nullable=False),
        sa.Column("set_at", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", name=op.f("pk_data_privacy_budgets")),
    )
    op.create_table(
        "data_privacy_spendings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("micro_epsilon", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_privacy_spendings")),
    )
    op.create_index("ix_data_privacy_spendings_dataset", "data_privacy_spendings", ["dataset"])
