"""Parquet, read where it lies. A broken file is an error that names it, whatever its reader died of."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vallum.data.table import BadData, Table, columns_of
from vallum.kernel.errors import Unavailable

__all__ = ["read_parquet", "refusing_broken", "rows_told"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read_parquet(path: Path) -> Table:
    """The table in a Parquet file, or in the *.parquet of a folder. Raises BadData for one that is cut off or broken.

    Only the footer is read now: pages that are broken inside are found by who reads them (`refusing_broken`).
    """
    import polars as pl

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise BadData(f"{path.name}: holds no *.parquet")
    for file in files:
        try:
            with file.open("rb") as opened:
                head = opened.read(4)
                opened.seek(-4, 2)
                tail = opened.read(4)
        except OSError as e:
            raise BadData(f"{file.name}: cannot be read, or too short for Parquet") from e
        if head != b"PAR1" or tail != b"PAR1":
            raise BadData(f"{file.name}: is no Parquet, or cut off")
    with refusing_broken(path.name):
        # statistics are the writer's word: a filter that believed them would pass over what it is to find
        frame = pl.scan_parquet(files, glob=False, use_statistics=False)
        return Table(path.name, frame, columns_of(path.name, frame.collect_schema()), path=path)


def rows_told(table: Table) -> int:
    """How many rows a Parquet file's writer says it has: believe nothing else of it. 0 for a table of another kind.
    Raises BadData."""
    import polars as pl

    if table.path is None:
        return 0
    with refusing_broken(table.name):
        return int(table.frame.select(pl.len()).collect(engine="in-memory").item())


@contextmanager
def refusing_broken(name: str) -> Iterator[None]:
    """What Polars raises for a file that is not as its footer says becomes BadData.

    Its words are dropped: they may quote values. Its panics derive from BaseException. A full disk is Unavailable.
    """
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as e:
        if getattr(e, "errno", None) in _NO_ROOM or any(f"os error {code}" in str(e) for code in _NO_ROOM):
            raise Unavailable(f"{name}: there is no room for the working files") from e
        raise BadData(f"{name}: cannot be read ({type(e).__name__}): broken, or files of a folder differ") from e
