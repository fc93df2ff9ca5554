"""Policy sets as applied, by digest, and which one is in force."""

from sqlalchemy import Column, Integer, Table, Text

from vallum.kernel.store.records import metadata

__all__ = ["active", "policy_sets"]

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
