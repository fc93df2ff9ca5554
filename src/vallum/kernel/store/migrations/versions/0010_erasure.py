"""Erasing a person from everything: what was asked, what went, the report. Days of exports: what was alerted."""

import sqlalchemy as sa
from alembic import op

revision = "0010_erasure"
down_revision = "0009_releases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("data_set_versions", sa.Column("overdue_told_at", sa.Text(), nullable=True))
    op.create_table(
        "subject_erasures",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprints", sa.LargeBinary(), nullable=False),
        sa.Column("found", sa.LargeBinary(), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=False),
        sa.Column("held", sa.LargeBinary(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.Column("report_sha256", sa.Text(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject_erasures")),
    )
    op.create_index("ix_subject_erasures_state", "subject_erasures", ["state"])
    op.create_table(
        "subject_erasure_steps",
        sa.Column("erasure", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("step", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("erasure", "entry_id", name=op.f("pk_subject_erasure_steps")),
    )
    op.create_table(
        "data_export_days",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("untold", sa.Text(), nullable=False),
        sa.Column("found_at_seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "day", name=op.f("pk_data_export_days")),
    )
    op.create_index("ix_data_export_days_untold", "data_export_days", ["untold"])
