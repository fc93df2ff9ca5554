"""The tables of the catalogue. Rows of data lie in the blob store, sealed under their version's own key."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from vallum.kernel.store.records import metadata

__all__ = [
    "budgets",
    "cases",
    "class_keys",
    "column_keys",
    "data_sets",
    "erased",
    "erased_keys",
    "erasures",
    "export_days",
    "exports",
    "intakes",
    "spendings",
    "tokens",
    "treatment_keys",
    "uses",
    "versions",
]

data_sets = Table(
    "data_sets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("holder", Text, nullable=False),  # the human being who made it; empty for a service
    Column("owner", Text, nullable=False),
    Column("classification", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("newest", BigInteger, nullable=False),  # the last number given out; none is given out again
    Column("hold", Text, nullable=False),
    Column("held_by", Text),
)

intakes = Table(
    "data_intakes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("state", Text, nullable=False),  # open, judging, done or expired
    Column("file_name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("contract", LargeBinary, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("touched_at_seconds", BigInteger, nullable=False),
    Column("claim", Text, nullable=False),  # of whoever judges it
    Column("step", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),  # of its source; without it that is noise
    Column("blob", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("number", BigInteger),  # of the version that it has become
    Column("against", LargeBinary),  # JSON: the versions that it is held against; null for none
)

versions = Table(
    "data_set_versions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # available or failed, then erased or expired
    Column("digest", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("classification", Text, nullable=False),
    Column("columns", LargeBinary, nullable=False),  # JSON
    Column("dropped", LargeBinary, nullable=False),  # JSON
    Column("purpose", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_sha256", Text, nullable=False),
    Column("contract", LargeBinary, nullable=False),
    Column("contract_sha256", Text, nullable=False),
    Column("report", LargeBinary, nullable=False),  # JSON
    Column("report_sha256", Text, nullable=False),
    Column("envelope", LargeBinary, nullable=False),  # the report's digest, signed (DSSE)
    Column("quarantined", BigInteger, nullable=False),
    Column("derived_from", BigInteger),
    Column("parts", LargeBinary, nullable=False),  # JSON: where the rows lie
    Column("sealed_key", LargeBinary, nullable=False),  # of those parts; empty when it was destroyed
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("approved_by", Text),
    Column("approved_at", Text),
    Column("approval_note", Text, nullable=False),
    Column("against", LargeBinary),  # JSON, as the intake's
    Column("overdue_told_at", Text),  # when somebody was last told that its time is over, and it is in use
)
Index("ix_data_set_versions_dataset_number", versions.c.dataset, versions.c.number, unique=True)

class_keys = Table(
    "data_class_keys",
    metadata,
    Column("dataset", Text, nullable=False),
    Column("classification", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("dataset", "classification"),
)

column_keys = Table(
    "data_column_keys",
    metadata,
    Column("dataset", Text, nullable=False),
    Column("classification", Text, nullable=False),
    Column("column", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("class_version", BigInteger, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    PrimaryKeyConstraint("dataset", "classification", "column", "version"),
)

cases = Table(
    "data_quarantine",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # open, released or destroyed
    Column("rows", BigInteger, nullable=False),
    Column("columns", LargeBinary, nullable=False),  # JSON
    Column("reasons", LargeBinary, nullable=False),  # JSON
    Column("affected", LargeBinary, nullable=False),  # JSON
    Column("parts", LargeBinary, nullable=False),  # JSON
    Column("sealed_key", LargeBinary, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("note", Text, nullable=False),
    Column("released_as", BigInteger),
)
Index("ix_data_quarantine_dataset", cases.c.dataset)

uses = Table(
    "data_uses",
    metadata,
    Column("dataset", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("used_by", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    PrimaryKeyConstraint("dataset", "number", "kind", "used_by"),
)
Index("ix_data_uses_used_by", uses.c.used_by)

exports = Table(
    "data_exports",
    metadata,
    Column("subject", Text, nullable=False),
    Column("day", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("exports", Integer, nullable=False),
    Column("hours", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject", "day", "dataset"),
)

# One a subject and day: whoever counts holds this row, so that of several at once each sees what the others counted.
export_days = Table(
    "data_export_days",
    metadata,
    Column("subject", Text, nullable=False),
    Column("day", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("asset", Text, nullable=False),  # what was taken when something was last found
    Column("told", Text, nullable=False),  # detectors that have alerted
    Column("untold", Text, nullable=False),  # detectors that are about to
    Column("found_at_seconds", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject", "day"),
)
Index("ix_data_export_days_untold", export_days.c.untold)

erasures = Table(
    "data_erasures",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("report", LargeBinary, nullable=False),  # JSON
    Column("at", Text, nullable=False),
)

# Who was erased, so that no intake brings them back: marks under a key of their own, both sealed.
erased = Table(
    "data_erased",
    metadata,
    Column("erasure", Text, primary_key=True),
    Column("dataset", Text, nullable=False),  # the only one that they were erased from; empty for all
    Column("sealed", LargeBinary, nullable=False),
)
Index("ix_data_erased_dataset", erased.c.dataset)

erased_keys = Table(
    "data_erased_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

treatment_keys = Table(
    "data_treatment_keys",
    metadata,
    Column("dataset", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("dataset", "purpose"),
)

tokens = Table(
    "data_tokens",
    metadata,
    Column("dataset", Text, nullable=False),
    Column("column", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the value, under the key of this column's tokens
    PrimaryKeyConstraint("dataset", "column", "token"),
)
Index("ix_data_tokens_sealed", tokens.c.dataset, tokens.c.column, tokens.c.sealed, unique=True)

budgets = Table(
    "data_privacy_budgets",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("total_micro_epsilon", BigInteger, nullable=False),
    Column("spent_micro_epsilon", BigInteger, nullable=False),
    Column("person_column", Text, nullable=False),  # whose rows are bounded; empty where somebody vouches for it
    Column("contributions", Integer, nullable=False),  # the most rows that one person has
    Column("set_at", Text, nullable=False),
    Column("set_by", Text, nullable=False),
)

spendings = Table(
    "data_privacy_spendings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("query", Text, nullable=False),  # what was asked, never what was answered
    Column("micro_epsilon", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
)
Index("ix_data_privacy_spendings_dataset", spendings.c.dataset)
