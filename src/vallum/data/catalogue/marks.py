"""Marks of people who were erased: enough to know one of them again in a table, too little to say who they were.

A mark is an HMAC-SHA-256 of what a person was known by, under a key of the installation's. Values are compared in one
form: NFKC, in small letters, spaces as one. An identifier is known again as a cell, or as whole words within one
(`ann@example.org` in "mail ann@example.org.", and not in `joann@example.org`), as `subjects.identifiers` has it; one of
fewer than five characters, and one that was erased from a single column, as whole cells alone. What is that short, or
a number of a few digits, is somebody's in columns of personal data and where it was found alone: 412 is also a price.

Of the values of a column, a sieve (a keyed sum of their bytes, 32 bits) leaves those that are worth an HMAC. It says
less of a value than its HMAC does, and lies sealed with it.
"""

import hmac
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from vallum.data.table import Table

__all__ = ["KEY_BYTES", "Mark", "Marked", "Marking", "Returned", "find_returned"]

KEY_BYTES = 32
_MIN_CHARS_IN_TEXT = 5  # as erasing has it
_MIN_DIGITS = 9  # of a number that is taken for somebody's wherever it stands
_LABEL = b"vallum/data/erased/1 "
_WEIGHTS = 256  # bytes that a text begins with: a sieve need not tell all texts apart
_MAX_CHAR_BYTES = 4  # of UTF-8
_TEXTS_AT_ONCE = 1 << 15
_WORD = r"\w+(?:[.+@-]\w+)*"
_BYTES_AT_ONCE = 4 << 20  # of a column's texts, cut into words at once


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """`words` is of how many words it is the HMAC, 0 for a whole cell; `sieve` is of the first. `is_number` has nothing
    but digits; `is_weak` names nobody outside columns of personal data."""

    digest: bytes
    sieve: int
    words: int
    is_number: bool
    is_weak: bool


class Marked(msgspec.Struct, frozen=True):
    """What one erasure left. `found_in` are the columns that they were found in; `column` is the only one that is
    looked through, empty for all."""

    erasure: str
    marks: tuple[Mark, ...]
    found_in: tuple[str, ...] = ()
    column: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """A row (from 0) of a table that names somebody, in this column, who was erased by this erasure."""

    row: int
    column: str
    erasure: str


class Marking:
    """Makes marks, and knows them again. `key` is 32 random bytes."""

    def __init__(self, key: bytes) -> None:
        import numpy as np

        self._key = _expanded(key, b"mark", KEY_BYTES)
        raw = _expanded(key, b"sieve", 4 * (_WEIGHTS + 1))
        self._weights = np.frombuffer(raw, dtype="<u4") | np.uint32(1)

    def of_identifiers(self, identifiers: Sequence[str]) -> tuple[Mark, ...]:
        """Of what a person was known by, wherever it stands."""
        return self._marks(identifiers, [len(each) >= _MIN_CHARS_IN_TEXT for each in identifiers])

    def of_cell(self, value: str) -> Mark:
        """Of one value that was erased from one column."""
        return self._marks([value], [False])[0]

    def _marks(self, values: Sequence[str], in_text: Sequence[bool]) -> tuple[Mark, ...]:
        import polars as pl

        cells = _normal(pl.Series(values, dtype=pl.String))
        cut = cells.str.extract_all(_WORD).to_list()
        words = [found if within else [] for found, within in zip(cut, in_text, strict=True)]
        texts = [" ".join(found) if found else cell for found, cell in zip(words, cells, strict=True)]
        firsts = pl.Series([found[0] if found else cell for found, cell in zip(words, cells, strict=True)])
        sieves = self.sieved(firsts).tolist()
        return tuple(
            Mark(self.digest(text, len(found)), sieve, len(found), cell.isdigit(), _is_weak(value))
            for text, sieve, found, cell, value in zip(texts, sieves, words, cells, values, strict=True)
        )

    def digest(self, text: str, words: int) -> bytes:
        return hmac.digest(self._key, b"%d\x00" % words + text.encode("utf-8", "surrogatepass"), "sha256")

    def sieved(self, texts: "pl.Series") -> "np.ndarray[Any, np.dtype[np.uint32]]":
        """A number for each text, without nulls among them; equal texts have equal ones. Told from how long a text is
        and how it begins: one of megabytes costs no more than others."""
        import numpy as np

        if not texts.len():
            return np.array([], dtype=np.uint32)
        firsts = range(0, texts.len(), _TEXTS_AT_ONCE)
        return np.concatenate([self._sieved(texts.slice(first, _TEXTS_AT_ONCE)) for first in firsts])

    def _sieved(self, texts: "pl.Series") -> "np.ndarray[Any, np.dtype[np.uint32]]":
        import numpy as np

        begins = texts.str.slice(0, _WEIGHTS // _MAX_CHAR_BYTES)
        lengths = begins.str.len_bytes().to_numpy().astype(np.int64)
        raw = np.frombuffer("".join(begins.to_list()).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        sums = texts.str.len_bytes().to_numpy().astype(np.uint32) * self._weights[_WEIGHTS]
        there = lengths > 0
        if len(raw):
            starts = np.cumsum(lengths) - lengths
            place = np.arange(len(raw)) - np.repeat(starts, lengths)
            sums[there] += np.add.reduceat(raw * self._weights[place], starts[there], dtype=np.uint32)
        mixed: np.ndarray[Any, np.dtype[np.uint32]] = sums ^ (sums >> np.uint32(15))
        return mixed


def _is_weak(value: str) -> bool:
    digits = sum(char.isdigit() for char in value)
    return len(value) < _MIN_CHARS_IN_TEXT or (not any(char.isalpha() for char in value) and digits < _MIN_DIGITS)


def find_returned(
    source: "Table", marking: Marking, erased: Sequence[Marked], personal: Collection[str]
) -> Iterator[Returned]:
    """Rows of people who were erased, a batch of rows after the other; a row once for each column and erasure.

    `personal` are the columns of personal data. One pass over the columns that can name anybody: memory stays at a
    batch. Raises what reading the table does.
    """
    import polars as pl

    known = {name: _Known(marks) for name, marks in _by_column(source, erased, personal).items() if marks}
    if not known:
        return
    first = 0
    for batch in source.frame.select(pl.col(list(known))).collect_batches(maintain_order=True, engine="streaming"):
        found: dict[tuple[int, str, str], None] = {}
        for name, marks in known.items():
            texts = _as_text(batch.get_column(name))
            for row, erasure in _in_column(texts, marking, marks):
                found[first + row, name, erasure] = None
        for row, name, erasure in sorted(found):
            yield Returned(row, name, erasure)
        first += batch.height


class _Known:
    """The marks that are looked for in one column."""

    def __init__(self, marks: Sequence[tuple[Mark, str]]) -> None:
        import numpy as np

        self.cells = {mark.digest: erasure for mark, erasure in marks if not mark.words}
        self.words = {mark.digest: erasure for mark, erasure in marks if mark.words}
        self.lengths = sorted({mark.words for mark, _ in marks if mark.words})
        self.cell_sieves = np.array(sorted({mark.sieve for mark, _ in marks if not mark.words}), dtype=np.uint32)
        self.word_sieves = np.array(sorted({mark.sieve for mark, _ in marks if mark.words}), dtype=np.uint32)


def _by_column(
    source: "Table", erased: Sequence[Marked], personal: Collection[str]
) -> Mapping[str, list[tuple[Mark, str]]]:
    made: dict[str, list[tuple[Mark, str]]] = {}
    schema = source.frame.collect_schema()
    for column in source.columns:
        dtype = schema[column.name]
        is_number = dtype.is_numeric()
        if not (is_number or _has_texts(dtype)):
            continue
        made[column.name] = [
            (mark, one.erasure)
            for one in erased
            if one.column in ("", column.name)
            for mark in one.marks
            if (mark.is_number or not is_number)
            and (one.column or not mark.is_weak or column.name in personal or _is_named(column.name, one.found_in))
        ]
    return made


def _is_named(column: str, names: Sequence[str]) -> bool:
    return column.casefold() in [name.casefold() for name in names]


def _in_column(texts: "pl.Series", marking: Marking, known: _Known) -> Iterator[tuple[int, str]]:
    """Rows of a batch, with the erasure that each belongs to. Each distinct text is looked at once."""
    import polars as pl

    distinct = _normal(texts.drop_nulls().unique())
    if not distinct.len():
        return
    theirs: dict[str, str] = {}
    for piece in _pieces(distinct):
        if known.cells:
            for text in piece.filter(_sifted(marking, piece, known.cell_sieves)).to_list():
                erasure = known.cells.get(marking.digest(text, 0))
                if erasure is not None:
                    theirs[text] = erasure
        if known.words:
            theirs.update(_by_words(piece, marking, known))
    if theirs:
        rows = pl.DataFrame({"text": _normal(texts)}).with_row_index("row").filter(pl.col("text").is_in(list(theirs)))
        for row, text in rows.iter_rows():
            yield row, theirs[text]


def _by_words(texts: "pl.Series", marking: Marking, known: _Known) -> Iterator[tuple[str, str]]:
    import polars as pl

    cut = pl.DataFrame({"word": texts.str.extract_all(_WORD)}).with_row_index("row").explode("word").drop_nulls("word")
    words, rows = cut.get_column("word"), cut.get_column("row")
    if not words.len():
        return
    for at in _sifted(marking, words, known.word_sieves).arg_true().to_list():
        for length in known.lengths:
            if at + length > words.len() or rows[at] != rows[at + length - 1]:
                break
            erasure = known.words.get(marking.digest(" ".join(words[at : at + length].to_list()), length))
            if erasure is not None:
                yield texts[rows[at]], erasure


def _sifted(marking: Marking, texts: "pl.Series", sieves: "np.ndarray[Any, Any]") -> "pl.Series":
    import numpy as np
    import polars as pl

    return pl.Series(np.isin(marking.sieved(texts), sieves))


def _pieces(texts: "pl.Series") -> "Iterator[pl.Series]":
    """Of so many bytes each that their words fit in memory, or a single text."""
    ends = texts.str.len_bytes().cum_sum()
    first = 0
    while first < texts.len():
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int((ends <= before + _BYTES_AT_ONCE).sum()))
        yield texts.slice(first, last - first)
        first = last


def _normal(texts: "pl.Series") -> "pl.Series":
    """The form in which values are compared; nulls stay null."""
    if texts.str.len_bytes().sum() != texts.str.len_chars().sum():
        texts = texts.str.normalize("NFKC")
    return texts.str.to_lowercase().str.strip_chars().str.replace_all(r"\s+", " ")


def _has_texts(dtype: Any) -> bool:
    import polars as pl

    return dtype.base_type() in (pl.String, pl.Categorical, pl.Enum, pl.Binary) or (
        dtype.is_nested() and not _of_measures(dtype)
    )


def _of_measures(dtype: Any) -> bool:
    """An embedding, an image: floats, however deep in arrays."""
    inner = getattr(dtype, "inner", None)
    while inner is not None and getattr(inner, "inner", None) is not None:
        inner = inner.inner
    return inner is not None and inner.is_float()


def _as_text(series: "pl.Series") -> "pl.Series":
    """A number with a fraction is nobody's; a whole one may be, also where its column holds fractions or gaps."""
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Binary:
        return series.map_elements(lambda raw: raw.decode(errors="replace"), return_dtype=pl.String)
    if dtype.is_nested():
        return series.to_frame().select(pl.struct(series.name).struct.json_encode()).to_series().str.replace_all(
            r"\\[bfnrt]", " "
        )  # fmt: skip
    if dtype.is_float() or dtype.is_decimal():
        whole = series.cast(pl.Int64, strict=False)
        return whole.set((whole.cast(pl.Float64) != series.cast(pl.Float64)).fill_null(True), None).cast(pl.String)
    return series.cast(pl.String)


def _expanded(key: bytes, use: bytes, length: int) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=length, info=_LABEL + use).derive(key)
