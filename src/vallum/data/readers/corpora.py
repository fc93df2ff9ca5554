"""What is no table yet, as one that intake takes: a folder of documents, an array of vectors.

Documents become a row each: `document` (its path in the folder) and `text`. Vectors become a row each: `row` and
`vector`. Contracts are written for those names. An array is read without unpickling anything.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vallum.data.readers.staging import Staging
from vallum.data.table import BadData

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DOCUMENTS", "documents_as_parquet", "vectors_as_parquet"]

DOCUMENTS = (".txt", ".md", ".rst", ".html", ".htm", ".log")
_MAX_DOCUMENT_BYTES = 64 << 20
_ROWS = 10_000  # of vectors a part
_CHARS = 64 << 20  # of documents a part
_MAX_WIDTH = 65_536


def documents_as_parquet(folder: Path, staging: Staging) -> Path:
    """Every document below `folder`, in order of its path. Links are not followed: they lead out of what was meant.

    Raises BadData, naming the document, for one that is no UTF-8 or too large, and for a folder that holds none.
    """
    return _written(_documents(folder), folder.name, staging)


def vectors_as_parquet(file: Path, staging: Staging) -> Path:
    """A two-dimensional array of numbers (.npy), its rows in order. Raises BadData for anything else."""
    import numpy as np
    import polars as pl

    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise BadData(f"{file.name}: is no array of numbers, or cut off") from e
    if array.ndim != 2 or not 1 <= array.shape[1] <= _MAX_WIDTH or array.dtype.kind not in "fiu":
        shape = " by ".join(map(str, array.shape))
        raise BadData(f"{file.name}: a row of numbers for each vector is due, and this is {shape} of {array.dtype}")

    def parts() -> "Iterator[pl.DataFrame]":
        for at in range(0, array.shape[0], _ROWS):
            part = np.ascontiguousarray(array[at : at + _ROWS], dtype=np.float32)
            wrong = np.flatnonzero(~np.isfinite(part).all(axis=1))
            if len(wrong):
                raise BadData(f"{file.name}: row {at + int(wrong[0]) + 1}, column 'vector': is not finite")
            rows = pl.Series("row", range(at, at + len(part)), dtype=pl.Int64)
            yield pl.DataFrame([rows, pl.Series("vector", part).cast(pl.List(pl.Float32))])

    return _written(parts(), file.stem, staging)


def _documents(folder: Path) -> "Iterator[pl.DataFrame]":
    import polars as pl

    paths, texts, held = list[str](), list[str](), 0
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in DOCUMENTS):
        if any(part.is_symlink() for part in (path, *path.parents) if folder in part.parents) or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > _MAX_DOCUMENT_BYTES:
            raise BadData(f"{name}: a document has at most {_MAX_DOCUMENT_BYTES >> 20} MiB")
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as e:
            raise BadData(f"{name}: is not UTF-8 at byte {e.start}") from e
        except OSError as e:
            raise BadData(f"{name}: cannot be read: {e.strerror}") from e
        paths.append(name)
        texts.append(text)
        held += len(text)
        if held >= _CHARS:
            yield pl.DataFrame({"document": paths, "text": texts})
            paths, texts, held = [], [], 0
    if paths:
        yield pl.DataFrame({"document": paths, "text": texts})


def _written(parts: "Iterator[pl.DataFrame]", name: str, staging: Staging) -> Path:
    import polars as pl

    place, number = staging.place(), 0
    for number, part in enumerate(parts, 1):
        part.write_parquet(place / f"{number:06}.parquet")
    if not number:
        raise BadData(f"{name}: nothing in it: documents are {', '.join(DOCUMENTS)}; vectors the rows of an array")
    file = staging.place() / f"{name}.parquet"
    pl.scan_parquet(place).sink_parquet(file)
    return file
