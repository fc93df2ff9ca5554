"""What judging let pass, treated and sealed: a version's rows under its key, and those that are held under theirs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row

from vallum.data.catalogue.earlier import EarlierVersions
from vallum.data.catalogue.erased import ERASED
from vallum.data.catalogue.model import Against, CaseRow, highest_class
from vallum.data.catalogue.parts import Layout, Parts, carried_content, part_rows
from vallum.data.catalogue.ports import SignReport
from vallum.data.catalogue.reversion import rechunked
from vallum.data.catalogue.versions import NewCase, NewVersion, draw_key, seal_report
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring

if TYPE_CHECKING:
    import polars as pl

    from vallum.data.catalogue.judging import Judged
    from vallum.data.catalogue.treating import KeptTreatments, Treating
    from vallum.data.readers import Staging

__all__ = ["Sealing", "against_of"]

_ROW = "__vallum_row"


class Sealing:
    """Safe to share between threads."""

    def __init__(
        self,
        keyring: Keyring,
        parts: Parts,
        sign: SignReport,
        treatments: "KeptTreatments",
        earlier: EarlierVersions,
        retention_days: Mapping[str, int],
    ) -> None:
        self._keyring = keyring
        self._parts = parts
        self._sign = sign
        self._treatments = treatments
        self._earlier = earlier
        self._retention_days = retention_days

    def seal(
        self, row: Row[Any], agreed: Any, judged: "Judged", asked: bytes
    ) -> tuple[NewVersion, tuple[NewCase, ...]]:
        """Only what passed is kept as rows; of a version that failed, what its cases hold."""
        self._sign.prepare()
        dataset, owner = row.dataset, new_id("dsv")
        key, sealed_key = draw_key(self._keyring, "version", owner)
        purpose = row.purpose or agreed.purpose
        bad = sorted({reason.row for reason in judged.reasons})
        treating = self._treatments.treating(dataset, purpose, judged.treatments, row.file_name, bad)
        names = [c.name for c in judged.columns]
        schema = treating.apply(judged.kept.collect_schema().to_frame(), 0, names)
        carried = self._carried(key, owner, judged, schema, row.sha256, bad)
        if carried is None:
            frames = self._treated(judged, treating, names) if judged.passed else iter(())
            carried = self._parts.write(key, dataset, owner, judged.columns, frames, schema)
        layout, content = carried
        changed = dict(treating.changed)
        cases: list[NewCase] = []
        try:
            cases.extend(self._held(dataset, judged, treating))
        except BaseException:
            self._parts.drop(part.blob for part in layout.parts)
            raise
        own = agreed.retention.days if agreed.retention is not None else None
        days = own or self._retention_days[highest_class(judged.columns)]
        told = [one.as_json() | {"values": changed[name]} for name, one in judged.treatments.items()]
        said = {**judged.report, "treatments": told, "against": against_of(row)}
        report, report_sha256 = seal_report(key, owner, msgspec.json.encode(said))
        new = NewVersion(
            owner, dataset, judged.passed, judged.columns, judged.dropped, purpose, row.file_name, row.sha256,
            bytes(row.contract), content, report, report_sha256, layout, sealed_key, judged.held.height, days,
            against=against_of(row), asked=asked,
        )  # fmt: skip
        return new, tuple(cases)

    def held_to_anonymity(
        self, row: Row[Any], agreed: Any, judged: "Judged", staging: "Staging", now: datetime
    ) -> "Judged":
        """Before it is sealed: what is to be kept, as it will lie. Raises BadData for what cannot be treated."""
        from vallum.data.catalogue.anonymity import asks_anonymity, hold_to_anonymity

        of = agreed.table()
        if not asks_anonymity(of):
            return judged
        bad = sorted({reason.row for reason in judged.reasons})
        purpose = row.purpose or agreed.purpose
        treating = self._treatments.treating(row.dataset, purpose, judged.treatments, row.file_name, bad)
        return hold_to_anonymity(judged, of, treating, staging, now)

    def _carried(
        self, key: bytes, owner: str, judged: "Judged", schema: "pl.DataFrame", source_sha256: str, held: Sequence[int]
    ) -> tuple[Layout, str] | None:
        """The chunks that the rows came in, where all are kept as they came; None where any is to be made anew."""
        from vallum.data.readers.column_chunks import cut_into_files

        as_it_came = not judged.treatments and all(c.field == "plain" for c in judged.columns)
        if judged.file is None or not judged.passed or not as_it_came:
            return None
        names = schema.columns
        with cut_into_files(judged.file, names, part_rows(len(names))) as files:
            if files is None or sum(file.rows for file in files) != judged.rows:
                return None
            layout = self._parts.carry(key, owner, files, schema)
            return None if layout is None else (layout, carried_content(source_sha256, held, schema, files))

    def _treated(self, judged: "Judged", treating: "Treating", names: Sequence[str]) -> "Iterator[pl.DataFrame]":
        first = 0
        for frame in _in_parts(judged.kept, len(judged.columns)):
            yield treating.apply(frame, first, names)
            first += frame.height

    def _held(self, dataset: str, judged: "Judged", treating: "Treating") -> "Iterator[NewCase]":
        """People who were erased are a case by themselves: who lets a mistyped number out lets nobody in with it."""
        import polars as pl

        erased = {reason.row for reason in judged.reasons if reason.kind == ERASED}
        theirs = pl.col(_ROW).is_in(sorted(erased))
        for mine, rows in ((False, judged.held.filter(~theirs)), (True, judged.held.filter(theirs))):
            if rows.height:
                why = tuple(reason for reason in judged.reasons if (reason.row in erased) is mine)
                yield self._case(dataset, judged, treating, rows, why)

    def _case(
        self, dataset: str, judged: "Judged", treating: "Treating", rows: "pl.DataFrame", reasons: tuple[CaseRow, ...]
    ) -> NewCase:
        """Treated like the rest: what is let out later becomes a version, and what is not is nobody's to keep."""
        owner = new_id("qcs")
        key, sealed_key = draw_key(self._keyring, "case", owner)
        names = [_ROW, *(c.name for c in judged.columns)]
        held = treating.apply(rows, 0, names, lenient=True)
        frames = _in_parts(held.lazy(), len(judged.columns) + 1)
        layout, _ = self._parts.write(key, dataset, owner, judged.columns, frames, held.clear())
        affected = self._earlier.affected(dataset, held.drop(_ROW))
        return NewCase(owner, judged.columns, reasons, affected, layout, sealed_key)


def against_of(row: Row[Any]) -> Against:
    """What an intake is held against."""
    return msgspec.json.decode(row.against or b"{}", type=Against)


def _in_parts(frame: "pl.LazyFrame", columns: int) -> "Iterator[pl.DataFrame]":
    return rechunked(frame.collect_batches(maintain_order=True, engine="streaming"), part_rows(columns))
