"""Policy sets as applied, by digest, and which one is in force."""

from sqlalchemy import Column, Integer, Table, Text

from vallum.kernel.store.records import metadata

__all__ = ["active", "changes", "policy_sets"]

policy_sets = Table(
    "policy_sets",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("files", Text, nullable=False),  # JSON: file name to text
    Column("schema_text", Text, nullable=False),
    Column("applied_at", Text, nullable=False),
    Column("applied_by", Text, nullable=False),
)

active = Table(
    "policy_active",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("digest", Text, nullable=False),
)

changes = Table(
    "policy_changes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("files", Text, nullable=False),  # JSON: file name to text
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),  # waiting, approved, denied or withdrawn
    Column("proposed_by", Text, nullable=False),
    Column("holder", Text, nullable=False),  # the human being who proposed it
    Column("proposed_at", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("note", Text, nullable=False),
)
