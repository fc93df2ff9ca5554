"""Sources as tables: CSV, JSON lines, Parquet, SQL. What cannot be read says where, and never what."""

from collections.abc import Mapping
from pathlib import Path

from vallum.data.readers.corpora import documents_as_parquet, vectors_as_parquet
from vallum.data.readers.csv import read_csv
from vallum.data.readers.jsonl import read_jsonl
from vallum.data.readers.page_checksums import verify_page_checksums
from vallum.data.readers.parquet import read_parquet, refusing_broken
from vallum.data.readers.sql import read_sql
from vallum.data.readers.staging import Progress, Staging
from vallum.data.table import BadData, Kind, Table

__all__ = [
    "Staging",
    "documents_as_parquet",
    "open_table",
    "read_csv",
    "read_jsonl",
    "read_parquet",
    "read_sql",
    "refusing_broken",
    "vectors_as_parquet",
]


def open_table(
    path: Path, staging: Staging, types: Mapping[str, Kind] | None = None, progress: Progress | None = None
) -> Table:
    """The table at `path`, by its name: .csv, .tsv, .jsonl, .ndjson (each also .gz), .parquet, or a folder of Parquet.

    The table lives as long as `staging`. Raises BadData; Unavailable without room for it.
    """
    if not path.exists():
        raise BadData(f"{path.name}: there is no such file")
    if path.is_dir():
        table = read_parquet(path)
        for part in sorted(path.glob("*.parquet")):
            verify_page_checksums(part)
        return table
    if not path.stat().st_size:
        raise BadData(f"{path.name}: empty")
    plain = path.name.lower().removesuffix(".gz")
    with refusing_broken(path.name):  # a full disk, where text becomes Parquet
        match plain.rpartition(".")[2]:
            case "csv" | "tsv":
                return read_csv(path, staging, types, progress)
            case "jsonl" | "ndjson":
                return read_jsonl(path, staging, types, progress)
            case "parquet":
                table = read_parquet(path)
                verify_page_checksums(path)
                return table
            case _:
                raise BadData(f"{path.name}: name it .csv, .tsv, .jsonl, .ndjson or .parquet")
