"""What is declared, one row a thing, as canonical JSON with a version that policy's cache depends on."""

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Table, Text

from vallum.kernel.store.records import metadata

__all__ = ["declarations"]

declarations = Table(
    "inventory_declarations",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", Text, nullable=False),
    PrimaryKeyConstraint("kind", "name"),
)
