"""Access: just-in-time grants, and which accounts are one human being's."""

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
    op.execute("UPDATE persons SET holder = id")
    with op.batch_alter_table("persons") as persons:
        persons.alter_column("holder", existing_type=sa.Text(), nullable=False)
    op.add_column("enrolments", sa.Column("holder", sa.Text(), nullable=True))
