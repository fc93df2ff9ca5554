"""Model signing keys that are retired, revoked or on a token; files of models that arrive in parts."""

import sqlalchemy as sa
from alembic import op

revision = "0008_registry"
down_revision = "0007_data"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A key of before has no sealed state: its row is believed when its private half opens and is this public half's.
    with op.batch_alter_table("model_signing_keys") as keys:
        keys.add_column(sa.Column("custody", sa.Text(), nullable=False, server_default="sealed"))
        keys.add_column(sa.Column("retired_at", sa.Text(), nullable=True))
        keys.add_column(sa.Column("revoked_at", sa.Text(), nullable=True))
        keys.add_column(sa.Column("revoked_since", sa.Text(), nullable=False, server_default=""))
        keys.add_column(sa.Column("revoked_reason", sa.Text(), nullable=False, server_default=""))
        keys.add_column(sa.Column("state", sa.LargeBinary(), nullable=True))
    op.create_table(
        "model_file_parts",
        sa.Column("upload", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("begin", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("upload", "path", "begin", name=op.f("pk_model_file_parts")),
    )
