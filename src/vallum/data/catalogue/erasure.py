"""Erasing a person from one data set: every version that holds their rows is made anew without them, and the key of the
former is destroyed; so are their rows in quarantine.

What is left of a former version is noise, in the blob store and in every backup of it that has no key. The ledger keeps
that it was and that it went: entries hold digests and counts, never the value that was asked for. Tokens of theirs go
too (`seeking` knows who lies hashed or tokenised). A backup of the database still holds sealed keys: docs/data-sets.md
says what to do.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.erased import ErasedPeople
from vallum.data.catalogue.intake import Intakes
from vallum.data.catalogue.model import DataHeld, Erasure, VersionColumn, check_words
from vallum.data.catalogue.parts import Layout, Parts, part_rows
from vallum.data.catalogue.ports import SignReport
from vallum.data.catalogue.reversion import next_version, rechunked
from vallum.data.catalogue.seeking import InColumn, Seeking, Sought
from vallum.data.catalogue.shredding import destroy_tokens
from vallum.data.catalogue.treating import KeptTreatments
from vallum.data.catalogue.versions import NewVersion, columns_of, draw_key, insert_version, key_of, layout_of
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.values import Subject

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Erasures", "FoundRows", "PlannedErasure"]

_ROW = "__vallum_row"


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Rows of a version or a case (or tokens of the vault) that are theirs: how many, and how many by each column."""

    place: str
    kind: str
    rows: int
    columns: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _NewCaseRows:
    case: str
    layout: Layout
    sealed_key: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class PlannedErasure:
    """What takes the place of what goes, sealed and in place; nothing has gone yet."""

    dataset: str
    column: str
    reference: str
    rows: int
    seen: frozenset[tuple[str, str, bytes]]  # versions and cases that were read: their state and sealed key
    versions: tuple[tuple[int, NewVersion], ...]
    cases: tuple[_NewCaseRows, ...]
    tokens: Mapping[str, frozenset[str]]  # by column
    not_searched: tuple[str, ...]  # columns that lie so that nothing can be found in them
    value: str = field(default="", repr=False)  # what intake is to know again in that column

    @property
    def token_count(self) -> int:
        return sum(map(len, self.tokens.values()))


class Erasures:
    """Safe to share between threads."""

    def __init__(
        self, records: Records, keyring: Keyring, clock: Clock, parts: Parts, sign: SignReport, intakes: Intakes,
        treatments: KeptTreatments, erased: ErasedPeople,
    ) -> None:  # fmt: skip
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._parts = parts
        self._sign = sign
        self._intakes = intakes
        self._treatments = treatments
        self._erased = erased

    def plan(self, dataset: str, column: str, value: str, reference: str) -> PlannedErasure:
        """Read every version and case through, and write those that hold the value anew. Not in a transaction.

        Raises NotFound, Invalid for a column that no version has or that lies so that nothing can be found in it,
        DataHeld, DataSetDamaged.
        """
        if not value:
            raise Invalid("value: whose rows are to go, as it stands in the column")
        if len(value) > 2 and value.casefold() in reference.casefold():
            raise Invalid("reference: it is kept, so that it names the request and not the person")
        kept, held = self._kept(dataset)
        if not any(column == each.name for row in (*kept, *held) for each in columns_of(row)):
            raise Invalid(f"no version of {dataset} has a column {column[:100]!r}")
        there = [each for row in (*kept, *held) for each in columns_of(row) if each.name == column]
        seeking = Seeking(self._treatments, dataset, InColumn(column, value))
        if not seeking.tokens and all(seeking.unsearchable([each]) for each in there):
            how = ", ".join(sorted({each.treatment for each in there}))
            raise Invalid(f"column {column[:100]!r} lies treated ({how}): nobody is found in it, name another column")
        return replace(self.plan_for(dataset, InColumn(column, value), reference, column), value=value)

    def find(self, dataset: str, sought: Sought) -> list[FoundRows]:
        """What `plan_for` would make go, also where a legal hold forbids it. Not in a transaction."""
        read, seeking = self._read(dataset), Seeking(self._treatments, dataset, sought)
        found = [self._found(one, seeking) for one in read]
        tokens = {name: len(mine) for name, mine in self._tokens(read, found, seeking).items()}
        found.append(FoundRows(f"{dataset}, tokens", "tokens", sum(tokens.values()), tokens))
        return [one for one in found if one.rows]

    def unsearchable(self, dataset: str, sought: Sought) -> dict[str, dict[str, str]]:
        """By version and case, the columns that lie so that nobody is found in them, with their treatment."""
        seeking = Seeking(self._treatments, dataset, sought)
        found = {one.place: seeking.unsearchable(one.columns) for one in self._read(dataset)}
        return {place: columns for place, columns in found.items() if columns}

    def plan_for(self, dataset: str, sought: Sought, reference: str, column: str = "") -> PlannedErasure:
        """As `plan`, for whatever says whose a row is; `column` is what its record names. Not in a transaction."""
        with self._records.read() as conn:
            self._require_free(conn, dataset)
        read, seeking = self._read(dataset), Seeking(self._treatments, dataset, sought)
        found = [self._found(one, seeking) for one in read]
        tokens = self._tokens(read, found, seeking)
        not_searched = {f"{name} ({how})" for one in read for name, how in seeking.unsearchable(one.columns).items()}
        made, cases = list[tuple[int, NewVersion]](), list[_NewCaseRows]()
        try:
            for one, theirs in zip(read, found, strict=True):
                if not theirs.rows:
                    continue
                if one.kind == "case":
                    cases.append(self._case_without(one, seeking))
                    continue
                said = {"erased_rows": theirs.rows, "reference": check_words(reference, "reference")}
                frames = self._without(one, seeking)
                made.append((one.row.number, next_version(self._parts, self._keyring, one.row, frames, said)))
        except BaseException:
            self._drop(made, cases)
            raise
        seen = frozenset((one.row.id, one.row.state, bytes(one.row.sealed_key)) for one in read)
        return PlannedErasure(
            dataset, column, check_words(reference, "reference"), sum(one.rows for one in found), seen, tuple(made),
            tuple(cases), tokens, tuple(sorted(not_searched)),
        )  # fmt: skip

    def carry_out(self, conn: Connection, plan: PlannedErasure, by: Subject) -> Erasure:
        """Put what was planned in place, and destroy the keys of what it replaces; intakes under way are let go.

        Raises DataHeld; Conflict when a version came or went meanwhile: plan again.
        """
        self._require_free(conn, plan.dataset, lock=True)
        v, c, i = table.versions.c, table.cases.c, table.intakes.c
        kept = conn.execute(
            select(v.id, v.state, v.sealed_key).where(v.dataset == plan.dataset, v.state == "available")
        ).all()
        held = conn.execute(
            select(c.id, c.state, c.sealed_key).where(c.dataset == plan.dataset, c.state == "open")
        ).all()
        # The key too: another erasure may have made a case anew, and what this one wrote has the rows that went then.
        if {(row.id, row.state, bytes(row.sealed_key)) for row in (*kept, *held)} != plan.seen:
            raise Conflict(f"{plan.dataset} changed while its versions were read: ask again")
        erased, made = [], []
        for number, new in plan.versions:
            inserted, _ = insert_version(conn, self._clock, self._sign, new, by.render(), by.holder)
            of = update(table.versions).where(v.dataset == plan.dataset, v.number == number)
            conn.execute(of.values(state="erased", sealed_key=b"", report=b"", approved_by=None))
            erased.append(number)
            made.append(inserted.number)
        for case in plan.cases:
            values: dict[str, Any] = {
                "parts": msgspec.json.encode(case.layout), "sealed_key": case.sealed_key, "rows": case.rows,
            }  # fmt: skip
            if (
                conn.execute(update(table.cases).where(c.id == case.case, c.state == "open").values(values)).rowcount
                != 1
            ):
                raise Conflict(f"{case.case} was decided while its rows were read: ask again")
        open_intakes = conn.execute(select(i.id).where(i.dataset == plan.dataset, i.state.in_(("open", "judging"))))
        self._intakes.erase(conn, list(open_intakes.scalars()))
        tokens = destroy_tokens(conn, plan.dataset, plan.tokens)
        erase_copies(conn)
        done = Erasure(
            new_id("era"), plan.dataset, plan.reference, plan.column, plan.rows, tuple(erased), tuple(made),
            tuple(case.case for case in plan.cases), "", format_time(self._clock.now()), by.render(),
            tokens, plan.not_searched,
        )  # fmt: skip
        if plan.value:
            self._erased.mark_cell(conn, done.id, plan.dataset, plan.column, plan.value)
        done = msgspec.structs.replace(done, digest=hashlib.sha256(msgspec.json.encode(done)).hexdigest())
        conn.execute(
            insert(table.erasures).values(
                id=done.id, dataset=done.dataset, report=msgspec.json.encode(done), at=done.at
            )
        )  # fmt: skip
        return done

    def drop(self, plan: PlannedErasure) -> None:
        """Forget what was written for a plan that was not carried out: noise already, its keys were kept nowhere."""
        self._drop(plan.versions, plan.cases)

    def _drop(self, made: "Sequence[tuple[int, NewVersion]]", cases: "Sequence[_NewCaseRows]") -> None:
        layouts = [new.layout for _, new in made] + [case.layout for case in cases]
        self._parts.drop(part.blob for layout in layouts for part in layout.parts)

    def list(self, conn: Connection, dataset: str) -> "list[Erasure]":
        """The newest first."""
        e = table.erasures.c
        rows = conn.execute(select(e.report).where(e.dataset == dataset).order_by(e.at.desc(), e.id.desc()))
        return [msgspec.json.decode(raw, type=Erasure) for raw in rows.scalars()]

    def _require_free(self, conn: Connection, dataset: str, *, lock: bool = False) -> None:
        query = select(table.data_sets.c.hold).where(table.data_sets.c.name == dataset)
        hold = conn.execute(query.with_for_update() if lock else query).scalar_one_or_none()
        if hold is None:
            raise NotFound(f"there is no data set {dataset}")
        if hold:
            raise DataHeld(f"{dataset} is under legal hold: nothing of it is erased")

    def _kept(self, dataset: str) -> "tuple[Sequence[Row[Any]], Sequence[Row[Any]]]":
        """Versions, oldest first, and cases whose rows somebody could still see."""
        v, c = table.versions.c, table.cases.c
        with self._records.read() as conn:
            kept = conn.execute(
                select(table.versions).where(v.dataset == dataset, v.state == "available").order_by(v.number)
            ).all()
            held = conn.execute(select(table.cases).where(c.dataset == dataset, c.state == "open")).all()
        return kept, held

    def _read(self, dataset: str) -> "Sequence[_Read]":
        kept, held = self._kept(dataset)
        v = table.versions.c
        with self._records.read() as conn:
            query = select(v.number, v.purpose).where(v.dataset == dataset)
            purposes = {row.number: row.purpose for row in conn.execute(query)}
        return [
            *(_Read(row, "version", f"{dataset}/{row.number}", columns_of(row), row.purpose) for row in kept),
            *(_Read(row, "case", str(row.id), columns_of(row), purposes.get(row.number, "")) for row in held),
        ]

    def _matching(self, one: "_Read", seeking: Seeking) -> "Mapping[str, pl.Expr]":
        schema = self._parts.schema(layout_of(one.row)).schema
        return seeking.matching({n: t for n, t in schema.items() if n != _ROW}, one.columns, one.purpose)

    def _frames(self, one: "_Read", only: Sequence[str]) -> "Iterator[pl.DataFrame]":
        key = key_of(self._keyring, one.kind, one.row)
        return self._parts.read(key, one.row.dataset, layout_of(one.row), one.columns, only=list(only))

    def _found(self, one: "_Read", seeking: Seeking) -> FoundRows:
        import polars as pl

        matching = self._matching(one, seeking)
        if not matching:
            return FoundRows(one.place, one.kind, 0, {})
        rows, by_column = 0, dict.fromkeys(matching, 0)
        for frame in self._frames(one, list(matching)):
            hits = frame.select(matching.values())
            rows += hits.filter(pl.any_horizontal(pl.all())).height
            for name in by_column:
                by_column[name] += int(hits.get_column(name).sum())
        return FoundRows(one.place, one.kind, rows, {name: count for name, count in by_column.items() if count})

    def _tokens(
        self, read: "Sequence[_Read]", found: Sequence[FoundRows], seeking: Seeking
    ) -> dict[str, frozenset[str]]:
        """Tokens of their own values, and those in rows that go and in no row that stays: the value behind such a one
        was theirs too, and a token that others share opens what is others'."""
        import polars as pl

        gone: dict[str, set[str]] = {}
        for one, theirs in zip(read, found, strict=True):
            names = one.tokenised
            if theirs.rows and names:
                matching = self._matching(one, seeking)
                for frame in self._frames(one, [*matching, *(n for n in names if n not in matching)]):
                    rows = frame.filter(pl.any_horizontal(matching.values()))
                    for name in names:
                        gone.setdefault(name, set()).update(rows.get_column(name).drop_nulls())
        for one in read:
            names = [name for name in one.tokenised if gone.get(name)]
            if not names:
                continue
            matching = self._matching(one, seeking)
            for frame in self._frames(one, [*matching, *(n for n in names if n not in matching)]):
                rows = frame.filter(~pl.any_horizontal(matching.values())) if matching else frame
                for name in names:
                    shared = rows.get_column(name)
                    gone[name].difference_update(shared.filter(shared.is_in(list(gone[name]))))
        both = {name: gone.get(name, set()) | seeking.tokens.get(name, set()) for name in {*gone, *seeking.tokens}}
        return {name: frozenset(tokens) for name, tokens in sorted(both.items()) if tokens}

    def _without(self, one: "_Read", seeking: Seeking) -> "Iterator[pl.DataFrame]":
        import polars as pl

        theirs = self._matching(one, seeking)
        extra, row = (_NUMBER,) if one.kind == "case" else (), one.row
        key = key_of(self._keyring, one.kind, row)
        for frame in self._parts.read(key, row.dataset, layout_of(row), (*extra, *one.columns)):
            yield frame.filter(~pl.any_horizontal(theirs.values()))

    def _case_without(self, one: "_Read", seeking: Seeking) -> _NewCaseRows:
        row = one.row
        key, sealed_key = draw_key(self._keyring, "case", row.id)
        frames = rechunked(self._without(one, seeking), part_rows(len(one.columns) + 1))
        schema = self._parts.schema(layout_of(row))
        layout, _ = self._parts.write(key, row.dataset, row.id, one.columns, frames, schema)
        return _NewCaseRows(row.id, layout, sealed_key, layout.rows)


@dataclass(frozen=True, slots=True)
class _Read:
    """A version or a case that is read through; `purpose` is what its hashes are of."""

    row: Row[Any]
    kind: str
    place: str
    columns: tuple[VersionColumn, ...]
    purpose: str

    @property
    def tokenised(self) -> list[str]:
        return [column.name for column in self.columns if column.treatment == "tokenise"]


_NUMBER = VersionColumn(_ROW, "integer", "internal")
