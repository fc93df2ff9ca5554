"""Releases: why a serving process could not load a model."""

import sqlalchemy as sa
from alembic import op

revision = "0009_releases"
down_revision = "0008_registry"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("release_served", sa.Column("trouble", sa.Text(), nullable=False, server_default=""))
