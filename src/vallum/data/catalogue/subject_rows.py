"""A person's rows, for erasing them everywhere: in every data set, whatever column names them."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from vallum.data.catalogue import records as table
from vallum.data.catalogue.service import DataCatalogue
from vallum.data.subjects.identifiers import Identifiers
from vallum.data.subjects.model import ErasureStep, FoundAt
from vallum.data.subjects.ports import ErasingStep
from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.gate import Gate
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, Subject

__all__ = ["RowEraser"]

_KINDS = ("version", "case", "tokens")


class RowEraser:
    """See `data.subjects.Eraser`."""

    name = "rows of data sets and of quarantine"

    def __init__(self, catalogue: DataCatalogue, records: Records, gate: Gate, clock: Clock, by: Subject) -> None:
        """`by` is who makes the versions that take the others' place: the platform itself."""
        self._catalogue = catalogue
        self._records = records
        self._gate = gate
        self._clock = clock
        self._by = by

    def find(self, whom: Identifiers) -> list[FoundAt]:
        found = []
        for name, hold in self._data_sets():
            for one in self._catalogue.erasures.find(name, whom):
                with self._records.read() as conn:
                    made = self._made_from(conn, one.place) if one.kind == "version" else ()
                place = f"{name}, case {one.place}" if one.kind == "case" else one.place
                found.append(FoundAt(place, one.kind, one.rows, dict(one.columns), hold, made))
        return found

    def unsearchable(self, whom: Identifiers) -> list[FoundAt]:
        return [
            FoundAt(place if "/" in place else f"{name}, case {place}", "unsearchable", 0, held=hold, treated=columns)
            for name, hold in self._data_sets()
            for place, columns in self._catalogue.erasures.unsearchable(name, whom).items()
        ]

    def under_way(self, before: str) -> list[str]:
        """Intakes begun by then that may still become versions; of data sets that nobody holds."""
        i, d = table.intakes.c, table.data_sets.c
        query = select(i.id).join(table.data_sets, d.name == i.dataset).where(d.hold == "")
        with self._records.read() as conn:
            return list(conn.execute(query.where(i.created_at <= before, i.state.in_(("open", "judging")))).scalars())

    def is_held(self, found: Sequence[FoundAt]) -> bool:
        """All of them: nothing of a data set goes before its hold ends, and the others' went already."""
        held = {name for name, hold in self._data_sets() if hold}
        return all(_data_set_of(one.place) in held for one in found if one.kind in _KINDS)

    def erase(self, whom: Identifiers, erasure: str, reference: str, keep: ErasingStep) -> Iterator[ErasureStep]:
        for name, hold in self._data_sets():
            if hold or not self._catalogue.erasures.find(name, whom):
                continue
            plan = self._catalogue.erasures.plan_for(name, whom, reference)
            context: dict[str, str | int] = {
                "erasure": erasure, "reference": reference, "rows": plan.rows, "tokens": plan.token_count,
                "erased": " ".join(str(number) for number, _ in plan.versions)[:500],
                "cases": " ".join(one.case for one in plan.cases)[:500],
                "digests": " ".join(new.digest for _, new in plan.versions)[:1000],
            }  # fmt: skip
            try:
                with self._gate.change(self._by, Action.SUBJECT_ERASE, AssetRef("DataSet", name), context) as change:
                    done = self._catalogue.erasures.carry_out(change.conn, plan, self._by)
                    told = {"erased": done.erased, "made": done.made, "cases": done.cases, "digest": done.digest,
                            "tokens": done.tokens, "not_searched": done.not_searched}  # fmt: skip
                    at = format_time(self._clock.now())
                    step = ErasureStep(name, "rows", done.rows, change.receipt.entry_id, at, told)
                    keep(change.conn, step)
            except BaseException:
                self._catalogue.erasures.drop(plan)
                raise
            yield step

    def _data_sets(self) -> list[tuple[str, str]]:
        d = table.data_sets.c
        with self._records.read() as conn:
            return [(row.name, row.hold) for row in conn.execute(select(d.name, d.hold).order_by(d.name))]

    def _made_from(self, conn: Connection, version: str) -> tuple[str, ...]:
        name, _, number = version.rpartition("/")
        return tuple(f"{use.kind} {use.used_by}" for use in self._catalogue.uses(conn, name, int(number)))


def _data_set_of(place: str) -> str:
    """`visits/3`, or `visits, case qcs_…`."""
    return place.partition(",")[0].partition("/")[0]
