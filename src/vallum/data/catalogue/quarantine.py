"""The quarantine desk: rows that are held, why, and what a person decides about them.

Held rows are visible and never usable: no route reads them but the desk's own, and no version holds them until somebody
who did not take them in lets them out, as a new version. Destroying a case destroys its key.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, Row, func, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import (
    DataHeld,
    DataSetVersion,
    DataUnavailable,
    QuarantineCase,
    VersionColumn,
    check_reason,
)
from vallum.data.catalogue.parts import Parts
from vallum.data.catalogue.ports import SignReport
from vallum.data.catalogue.reversion import next_version
from vallum.data.catalogue.versions import (
    NewVersion,
    case_of,
    columns_of,
    insert_version,
    key_of,
    layout_of,
    require_available,
    row_of,
    version_of,
)
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.keys import Keyring
from vallum.kernel.policy.changes import OwnRequest
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.values import Subject

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CaseDecided", "Desk", "PreparedRelease"]

_ROW = "__vallum_row"


@dataclass(frozen=True, slots=True)
class PreparedRelease:
    """The version with a case's rows in it, which version it was made from, and under which key the rows were read."""

    new: NewVersion
    base: int
    read_under: bytes


class CaseDecided(Conflict):
    """Somebody has decided it already."""

    code = "case_decided"


class Desk:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring, clock: Clock, parts: Parts, sign: SignReport) -> None:
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._parts = parts
        self._sign = sign

    def cases(self, conn: Connection, *, dataset: str | None = None, state: str | None = None) -> list[QuarantineCase]:
        """The newest first, without values."""
        c = table.cases.c
        query = select(table.cases).order_by(c.created_at.desc(), c.id.desc()).limit(200)
        if dataset is not None:
            query = query.where(c.dataset == dataset)
        if state is not None:
            query = query.where(c.state == state)
        return [case_of(row) for row in conn.execute(query)]

    def case(self, conn: Connection, case: str) -> QuarantineCase:
        """Raises NotFound."""
        return case_of(self._row(conn, case))

    def rows(self, case: str, *, limit: int = 200) -> list[dict[str, Any]]:
        """The held rows themselves, as text, with `row` and why. Raises NotFound, CaseDecided, DataSetDamaged."""
        import polars as pl

        with self._records.read() as conn:
            row = self._row(conn, case)
        if row.state != "open":
            raise CaseDecided(f"{case} is {row.state}: its rows are not here any more")
        why: dict[int, list[str]] = {}
        for reason in case_of(row).reasons:
            why.setdefault(reason.row, []).append(f"{reason.kind}: {reason.reason}")
        found: list[dict[str, Any]] = []
        for frame in self._read(row):
            texts = frame.select(pl.col(_ROW), pl.exclude(_ROW).map_batches(_as_text, return_dtype=pl.String))
            for values in texts.head(limit - len(found)).iter_rows(named=True):
                number = values.pop(_ROW)
                found.append({"row": number, "reasons": why.get(number, []), "values": values})
            if len(found) >= limit:
                break
        return found

    def prepare_release(self, case: str) -> PreparedRelease:
        """The version with the held rows in it, sealed and in place. Not in a transaction.

        Raises NotFound, CaseDecided, DataUnavailable for rows of a version that failed or is gone: take it in again.
        """

        with self._records.read() as conn:
            held = self._row(conn, case)
            if held.state != "open":
                raise CaseDecided(f"{case} is {held.state}")
            row = row_of(conn, held.dataset, _base_of(conn, held))
        if row.state != "available":
            raise DataUnavailable(f"{row.dataset}/{row.number} is no version to put rows back into: take it in again")

        def frames() -> "Iterator[pl.DataFrame]":
            key = key_of(self._keyring, "version", row)
            yield from self._parts.read(key, row.dataset, layout_of(row), columns_of(row))
            for frame in self._read(held):
                yield frame.drop(_ROW)

        said = {"released": case, "rows": held.rows}
        new = next_version(
            self._parts, self._keyring, row, frames(), said, quarantined=max(0, row.quarantined - held.rows)
        )
        return PreparedRelease(new, row.number, bytes(held.sealed_key))

    def release(self, conn: Connection, case: str, prepared: PreparedRelease, by: Subject, note: str) -> DataSetVersion:
        """Raises NotFound, CaseDecided, OwnRequest for whoever took the rows in, DataUnavailable when the version is
        gone meanwhile, Conflict when the case beside it was let out, or somebody's rows were erased from this one: what
        was prepared lacks the former and still has the latter."""
        row = self._decidable(conn, case)
        if row.created_by == by.render() or (row.holder and row.holder == by.holder):
            raise OwnRequest("you took these rows in yourself: somebody else lets them out")
        require_available(row_of(conn, row.dataset, prepared.base, lock=True))
        # After the version's insertion, which waits for an erasure under way.
        made, _ = insert_version(conn, self._clock, self._sign, prepared.new, by.render(), by.holder)
        is_as_read = bytes(self._row(conn, case).sealed_key) == prepared.read_under
        if not is_as_read or _base_of(conn, row) != prepared.base:
            raise Conflict(f"the rows of {case} changed while they were read: ask again")
        self._decide(conn, row, by, note, "released", made.number)
        return version_of(made)

    def destroy(self, conn: Connection, case: str, by: Subject, note: str) -> QuarantineCase:
        """Raises NotFound, CaseDecided, DataHeld."""
        row = self._decidable(conn, case)
        d = table.data_sets.c
        hold = conn.execute(select(d.hold).where(d.name == row.dataset)).scalar_one()
        if hold:
            raise DataHeld(f"{row.dataset} is under legal hold: nothing of it is destroyed")
        self._decide(conn, row, by, note, "destroyed", None)
        return self.case(conn, case)

    def affecting(self, conn: Connection, used_by: str, datasets: Collection[str]) -> Sequence[str]:
        """Versions whose case found rows that `used_by` had learnt from, and that nobody let out."""
        c = table.cases.c
        rows = conn.execute(select(table.cases).where(c.dataset.in_(datasets), c.state != "released"))
        return [
            f"{row.dataset}/{row.number}"
            for row in rows
            if used_by in msgspec.json.decode(row.affected, type=list[str])
        ]

    def _decide(
        self, conn: Connection, row: Row[Any], by: Subject, note: str, state: str, released_as: int | None
    ) -> None:
        c = table.cases.c
        change = update(table.cases).where(c.id == row.id, c.state == "open")
        values = {
            "state": state, "decided_by": by.render(), "decided_at": format_time(self._clock.now()),
            "note": check_reason(note), "released_as": released_as, "sealed_key": b"",
        }  # fmt: skip
        if conn.execute(change.values(values)).rowcount != 1:
            raise CaseDecided(f"{row.id} is decided already")
        erase_copies(conn)

    def _decidable(self, conn: Connection, case: str) -> Row[Any]:
        row = self._row(conn, case)
        if row.state != "open":
            raise CaseDecided(f"{case} is {row.state}")
        return row

    def _read(self, row: Row[Any]) -> "Iterator[pl.DataFrame]":
        number = VersionColumn(_ROW, "integer", "internal")
        key = key_of(self._keyring, "case", row)
        return self._parts.read(key, row.dataset, layout_of(row), (number, *columns_of(row)))

    def _row(self, conn: Connection, case: str) -> Row[Any]:
        row = conn.execute(select(table.cases).where(table.cases.c.id == case)).one_or_none()
        if row is None:
            raise NotFound(f"there is no quarantine case {case[:64]}")
        return row


def _base_of(conn: Connection, case: Row[Any]) -> int:
    """The version that a case's rows go back into: its own, or what that became when the case beside it was let out."""
    c = table.cases.c
    beside = select(func.max(c.released_as)).where(c.dataset == case.dataset, c.number == case.number)
    return conn.execute(beside).scalar_one() or int(case.number)


def _as_text(series: "pl.Series") -> "pl.Series":
    """What a person is shown: long values cut."""
    import polars as pl

    texts = [None if value is None else str(value)[:2000] for value in series.to_list()]
    return pl.Series(series.name, texts, dtype=pl.String)
