"""The ledger's tables.

`ledger_entries.position` is insertion order, local to this database; `idx` is the place in the tree. The columns
beside `canonical` exist to be searched; verification holds them to what `canonical` says.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from vallum.kernel.store.records import metadata

__all__ = ["contents", "entries", "head", "holds", "tiles"]

# SQLite numbers rows by itself only for a column of exactly INTEGER.
_Position = BigInteger().with_variant(Integer, "sqlite")

entries = Table(
    "ledger_entries",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("idx", BigInteger, unique=True),
    Column("entry_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("canonical", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Index("ix_ledger_entries_subject_idx", "subject", "idx"),
    Index("ix_ledger_entries_asset_idx", "asset", "idx"),
)

contents = Table(
    "ledger_contents",
    metadata,
    Column("entry_id", Text, ForeignKey("ledger_entries.entry_id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires_at_seconds", BigInteger, index=True),
)

# Contents that stay past their time: see `holds`.
holds = Table(
    "ledger_holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),  # whose; empty for everybody's
    Column("since", Text, nullable=False),
    Column("until", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("held_by", Text, nullable=False),
    Column("held_at", Text, nullable=False),
    Column("ended_by", Text),
    Column("ended_at", Text),  # null while it is in force
    Column("end_reason", Text, nullable=False),
)

# Complete tiles alone: 256 hashes at tree level 8 * level. The right edge is computed from what lies below it.
tiles = Table(
    "ledger_tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("size", BigInteger, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
    Column("checkpoint", Text, nullable=False),
)
