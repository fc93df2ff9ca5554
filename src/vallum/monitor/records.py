"""The tables of watching: how far it has read, what it has learnt of each account, and what it raised."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from vallum.kernel.store.records import metadata

__all__ = ["alerts", "cursors", "profiles"]

cursors = Table(
    "watch_cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_index", BigInteger, nullable=False),  # of the ledger's entries
)

profiles = Table(
    "watch_profiles",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("learnt", LargeBinary, nullable=False),  # JSON; times, counts and networks of some weeks
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("holder", Text, nullable=False),  # the human being it is about; empty for a service
    Column("detectors", Text, nullable=False),  # parted by spaces
    Column("explanation", Text, nullable=False),
    Column("entry_id", Text, nullable=False),  # what it was raised for
    Column("raised_at", Text, nullable=False),
    Column("count", Integer, nullable=False),  # how often the same was seen since
    Column("last_entry_id", Text, nullable=False),
    Column("state", Text, nullable=False),  # open, acknowledged or closed
    Column("verdict", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("note", Text, nullable=False),
)
Index("ix_alerts_subject_state", alerts.c.subject, alerts.c.state)
