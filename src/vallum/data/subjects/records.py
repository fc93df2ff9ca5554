"""The tables of erasures. What a person is known by lies sealed while an erasure is open, and nowhere after."""

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text

from vallum.kernel.store.records import metadata

__all__ = ["erasures", "steps"]

erasures = Table(
    "subject_erasures",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("holder", Text, nullable=False),  # the human being who asked; empty for a service
    Column("reference", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the identifiers; empty when they were destroyed
    Column("fingerprints", LargeBinary, nullable=False),  # JSON
    Column("found", LargeBinary, nullable=False),  # JSON: the preview
    Column("before", LargeBinary, nullable=False),  # JSON: erasures of the same identifiers that were done by then
    Column("held", LargeBinary, nullable=False),  # JSON: what a legal hold keeps
    Column("problem", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("note", Text, nullable=False),
    Column("report", LargeBinary, nullable=False),  # JSON
    Column("report_sha256", Text, nullable=False),
    Column("envelope", LargeBinary, nullable=False),  # the report's digest, signed (DSSE)
    Column("finished_at", Text),
)
Index("ix_subject_erasures_state", erasures.c.state)

steps = Table(
    "subject_erasure_steps",
    metadata,
    Column("erasure", Text, nullable=False),
    Column("entry_id", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("step", LargeBinary, nullable=False),  # JSON
    PrimaryKeyConstraint("erasure", "entry_id"),
)
