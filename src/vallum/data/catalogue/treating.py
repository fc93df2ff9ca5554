"""Treatments carried out: a frame in, the same rows treated out, before a byte of them is stored.

Each distinct value of a frame is treated once. The key of hashes and shifts is drawn for a data set and a purpose, so
that neither two purposes nor two data sets join on what comes of it; tokens stand in a vault of the database, sealed
under a key of their own (see `data.anonymise.tokens`). Both are the same in every version, so that versions compare.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from os import urandom
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from vallum.data.anonymise import (
    Redact,
    ShiftDate,
    Spans,
    Tokenise,
    Tokeniser,
    Treatments,
    function_of,
    keyed_hash,
    redact,
    shifted_days,
)
from vallum.data.catalogue import records as table
from vallum.data.catalogue.field_keys import KeptFieldKeys
from vallum.data.catalogue.treatments import ColumnTreatment, Drop
from vallum.data.classify import SpanClassifier, mask_spans
from vallum.data.fields import ColumnCipher
from vallum.data.table import BadData
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose, SealBroken
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TOKENS", "KeptTreatments", "Treating"]

TOKENS = "tokens"  # the class under which keys of vaults lie: no column's own key
_BATCH = 1000  # values a transaction: others wait no longer for the database
_TRIES = 8


class Treating:
    """One intake's treatments. `source` names it in errors; `held` are the rows, ascending, that are left out."""

    def __init__(
        self,
        plan: Mapping[str, ColumnTreatment],
        using: Treatments,
        tokens: Callable[[str], Callable[[Sequence[str]], dict[str, str]]],
        finder: Callable[[], SpanClassifier],
        source: str,
        held: Sequence[int] = (),
    ) -> None:
        self._plan = plan
        self._using = using
        self._tokens = tokens
        self._finder = finder
        self._source = source
        self._held = held
        self.changed: dict[str, int] = dict.fromkeys(plan, 0)

    def apply(self, frame: "pl.DataFrame", first: int, keep: Sequence[str], *, lenient: bool = False) -> "pl.DataFrame":
        """The columns `keep` of a frame whose first row is row `first` of what is kept; nulls stay null.

        Raises BadData, naming file, row and column, for a value that cannot be treated so; with `lenient` (rows that
        are held, and may hold anything) such a value is redacted.
        """
        import polars as pl

        made = []
        for name in keep:
            series = frame.get_column(name)
            found = self._plan.get(name)
            if found is not None and not isinstance(found.treatment, Drop):
                treatment = found.treatment
                before = series
                if isinstance(treatment, ShiftDate):
                    series = self._shifted(treatment, series, frame.get_column(treatment.subject), first, lenient)
                else:
                    series = self._mapped(name, treatment, series, first, lenient)
                self.changed[name] += before.len() - before.null_count()
            made.append(series)
        return pl.DataFrame(made)

    def _mapped(self, name: str, treatment: Any, series: "pl.Series", first: int, lenient: bool) -> "pl.Series":
        import polars as pl

        texts = as_texts(series)
        if isinstance(treatment, Redact):
            return pl.select(pl.when(texts.is_not_null()).then(pl.lit(redact(""))).alias(name)).to_series()
        distinct = texts.drop_nulls().unique(maintain_order=True).to_list()
        if isinstance(treatment, Tokenise):
            new = self._tokenised(name, distinct, texts, first, lenient)
        elif isinstance(treatment, Spans):
            new = dict(zip(distinct, mask_spans(self._finder(), distinct, treatment.of), strict=True))
        else:
            change, new = function_of(name, treatment, self._using), {}
            for value in distinct:
                try:
                    new[value] = change(value)
                except Invalid as e:
                    new[value] = self._refused(name, texts, value, first, e, lenient)
        if not new:
            return texts.rename(name)
        return texts.replace_strict(list(new), list(new.values()), default=None, return_dtype=pl.String).rename(name)

    def _tokenised(
        self, name: str, distinct: Sequence[str], texts: "pl.Series", first: int, lenient: bool
    ) -> dict[str, str]:
        tokenise, made = self._tokens(name), dict[str, str]()
        for at in range(0, len(distinct), _BATCH):
            batch = distinct[at : at + _BATCH]
            try:
                made |= tokenise(batch)
            except Invalid:
                for value in batch:  # which one it was
                    try:
                        made |= tokenise([value])
                    except Invalid as e:
                        made[value] = self._refused(name, texts, value, first, e, lenient)
        return made

    def _shifted(
        self, treatment: ShiftDate, series: "pl.Series", subjects: "pl.Series", first: int, lenient: bool
    ) -> "pl.Series":
        import polars as pl

        whose = as_texts(subjects)
        nobody = (series.is_not_null() & whose.is_null()).arg_true()
        if nobody.len() and not lenient:
            raise BadData(self._where(series.name, first + nobody[0]) + "a date of nobody: it cannot be shifted")
        distinct = whose.drop_nulls().unique().to_list()
        days = [shifted_days(one, self._using.key, treatment.max_days) for one in distinct]
        by = whose.replace_strict(distinct, days, default=None, return_dtype=pl.Int64) if distinct else whose
        pair = pl.DataFrame([series.alias("on"), by.cast(pl.Int64).alias("by")])
        shifted = pair.select((pl.col("on") + pl.duration(days="by")).alias(series.name)).to_series()
        far = ((shifted.dt.year() < 1) | (shifted.dt.year() > 9999)).fill_null(False).arg_true()
        if far.len() and not lenient:
            raise BadData(self._where(series.name, first + far[0]) + "a date near the calendar's end is not shifted")
        return shifted if not far.len() else shifted.scatter(far.to_list(), None)

    def _refused(self, name: str, texts: "pl.Series", value: str, first: int, e: Invalid, lenient: bool) -> str:
        if lenient:
            return redact("")
        row = (texts == value).fill_null(False).arg_true()[0]
        raise BadData(self._where(name, first + row) + str(e)) from None

    def _where(self, name: str, at: int) -> str:
        """Rows count from 1 in the source, with those that are held."""
        row = at
        while row != (moved := at + bisect_right(self._held, row)):
            row = moved
        return f"{self._source}: row {row + 1}, column {name!r}: "


class KeptTreatments:
    """The keys and vaults of treatments, kept. Safe to share between threads."""

    def __init__(
        self, records: Records, keyring: Keyring, keys: KeptFieldKeys, finder: Callable[[], SpanClassifier]
    ) -> None:
        """`finder` finds spans in texts; it is made when it is first needed."""
        self._records = records
        self._keyring = keyring
        self._keys = keys
        self._finder = finder

    def treating(
        self, dataset: str, purpose: str, plan: Mapping[str, ColumnTreatment], source: str, held: Sequence[int] = ()
    ) -> Treating:
        """Raises SealBroken when a key was altered."""
        key = self._key(dataset, purpose) if plan else b""
        return Treating(
            plan, Treatments(key), lambda column: self._tokeniser(dataset, column), self._finder, source, held
        )

    def reveal(self, dataset: str, column: str, token: str) -> str:
        """The value behind a token. Raises NotFound for what is no token of this column, SealBroken."""
        t = table.tokens.c
        wanted = select(t.sealed).where(t.dataset == dataset, t.column == column, t.token == token)
        with self._records.read() as conn:
            sealed = conn.execute(wanted).scalar_one_or_none()
        if sealed is None:
            raise NotFound("this is no token of the column")
        return self._opened(self._keys.ciphers(dataset, TOKENS, column), bytes(sealed))

    def tokenised(self, dataset: str) -> list[str]:
        """The columns that have a vault, by name."""
        t = table.tokens.c
        query = select(t.column).where(t.dataset == dataset).distinct().order_by(t.column)
        with self._records.read() as conn:
            return list(conn.execute(query).scalars())

    def vault(self, dataset: str, column: str) -> Iterator[tuple[list[str], list[str]]]:
        """Every token of a column with its value, opened: some at a time, for what has to look through all of them.
        Raises SealBroken."""
        t, after, ciphers = table.tokens.c, "", self._keys.ciphers(dataset, TOKENS, column)
        while True:
            page = select(t.token, t.sealed).where(t.dataset == dataset, t.column == column, t.token > after)
            with self._records.read() as conn:
                rows = conn.execute(page.order_by(t.token).limit(_BATCH)).all()
            if rows:
                after = rows[-1].token
                yield [row.token for row in rows], [self._opened(ciphers, bytes(row.sealed)) for row in rows]
            if len(rows) < _BATCH:
                return

    @staticmethod
    def _opened(ciphers: Sequence[ColumnCipher], sealed: bytes) -> str:
        """A token says nothing of the key's version it was sealed under: the newest is tried first."""
        for cipher in ciphers:
            with suppress(SealBroken):
                return cipher.open_form(sealed).decode("utf-8", "surrogatepass")
        raise SealBroken("a token was altered, or the key of its column is gone")

    def stored_form(self, dataset: str, purpose: str, column: str, treatment: str, value: str) -> str | None:
        """What a version of that purpose has in place of `value`, to look for it without its being shown; None where
        the treatment leaves nothing to tell it by, or this value was never there."""
        if treatment == "":
            return value
        if treatment == "hash":
            return keyed_hash(value, self._key(dataset, purpose), column)
        if treatment == "tokenise":
            sealed = self._keys.cipher(dataset, TOKENS, column).joinable_form(value.encode("utf-8", "surrogatepass"))
            with self._records.read() as conn:
                return _tokens_of(conn, dataset, column, [sealed]).get(sealed)
        return None

    def _key(self, dataset: str, purpose: str) -> bytes:
        k, aad = table.treatment_keys.c, _aad(dataset, purpose)
        wanted = select(k.sealed).where(k.dataset == dataset, k.purpose == purpose)
        with self._records.read() as conn:
            sealed = conn.execute(wanted).scalar_one_or_none()
        if sealed is None:
            with self._records.write() as conn:
                fresh = self._keyring.seal(DEFAULT_TENANT, Purpose.FIELDS, urandom(32), aad, conn=conn)
                values = {"dataset": dataset, "purpose": purpose, "sealed": fresh}
                conn.execute(upsert(conn, table.treatment_keys).values(values).on_conflict_do_nothing())
                sealed = conn.execute(wanted).scalar_one()  # of two at once, the first one's
        return self._keyring.open(DEFAULT_TENANT, Purpose.FIELDS, bytes(sealed), aad)

    def _tokeniser(self, dataset: str, column: str) -> Callable[[Sequence[str]], dict[str, str]]:
        cipher = self._keys.cipher(dataset, TOKENS, column)

        def tokenise(values: Sequence[str]) -> dict[str, str]:
            sealed = {value: cipher.joinable_form(value.encode("utf-8", "surrogatepass")) for value in values}
            for _ in range(_TRIES):
                with self._records.write() as conn:
                    known = _tokens_of(conn, dataset, column, list(sealed.values()))
                    new = _drawn(cipher, [v for v in values if sealed[v] not in known])
                    rows = [
                        {"dataset": dataset, "column": column, "token": token, "sealed": sealed[value]}
                        for value, token in new.items()
                    ]
                    if rows:
                        conn.execute(upsert(conn, table.tokens).on_conflict_do_nothing(), rows)
                        known = _tokens_of(conn, dataset, column, list(sealed.values()))
                if len(known) == len(set(sealed.values())):
                    return {value: known[sealed[value]] for value in values}
            raise Conflict("no free token of this form was found: the column has nearly used them up")

        return tokenise


class _Batch:
    """A vault for one batch: what another process drew first is learnt when it is stored."""

    def __init__(self) -> None:
        self._sealed: dict[str, bytes] = {}

    def token_of(self, sealed: bytes) -> str | None:
        return None

    def sealed_of(self, token: str) -> bytes | None:
        return self._sealed.get(token)

    def put(self, token: str, sealed: bytes) -> str | None:
        return token if self._sealed.setdefault(token, sealed) == sealed else None


def _drawn(cipher: ColumnCipher, values: Sequence[str]) -> dict[str, str]:
    tokeniser = Tokeniser(cipher, _Batch())
    return {value: tokeniser.tokenise(value) for value in values}


def _tokens_of(conn: Connection, dataset: str, column: str, sealed: Sequence[bytes]) -> dict[bytes, str]:
    t = table.tokens.c
    query = select(t.sealed, t.token).where(t.dataset == dataset, t.column == column, t.sealed.in_(sealed))
    return {bytes(row.sealed): row.token for row in conn.execute(query)}


def as_texts(series: "pl.Series") -> "pl.Series":
    """What a value is treated as: its text. A number that is none counts as missing, as the gates have it."""
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Binary:
        return series.bin.encode("hex")
    if dtype.is_nested():
        return series.to_frame().select(pl.struct(series.name).struct.json_encode()).to_series()
    if dtype.is_float():
        series = series.fill_nan(None)
    return series.cast(pl.String)


def _aad(dataset: str, purpose: str) -> bytes:
    return b"\x00".join((b"vallum/data/treatment/1", dataset.encode(), purpose.encode()))
