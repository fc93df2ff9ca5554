"""Versions that stand already, as what a source is held against: what drift is learned from, the tables it refers to,
the set it is evaluated on; and what was made of rows like those that are held.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import Against
from vallum.data.catalogue.parts import Parts
from vallum.data.catalogue.versions import columns_of, key_of, layout_of, require_available, row_of
from vallum.kernel.keys import Keyring
from vallum.kernel.store.records import Records

if TYPE_CHECKING:
    import polars as pl

    from vallum.data.contracts import ContractTable
    from vallum.data.table import Table

__all__ = ["EarlierVersions"]

_REFERENCES = 30  # earlier versions that drift is learned from: of ten, a fifth of two-point shifts is lost
_LEARNING = ("nullSpike", "labelDrift", "featureDrift")


class EarlierVersions:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring, parts: Parts) -> None:
        self._records = records
        self._keyring = keyring
        self._parts = parts

    def references(self, dataset: str, of: Any, staging: Any) -> list[Any]:
        """Earlier versions' columns that something is learned of, the oldest first, in clear while this is judged."""
        names = [p.name for p in of.properties if any(rule.metric in _LEARNING for rule in p.quality)]
        if not names:
            return []
        v = table.versions.c
        query = select(table.versions).where(v.dataset == dataset, v.state == "available")
        with self._records.read() as conn:
            rows = conn.execute(query.order_by(v.number.desc()).limit(_REFERENCES)).all()
        made: list[Table] = []
        for row in reversed(rows):
            there = {c.name for c in columns_of(row)}
            if there.issuperset(names) and layout_of(row).parts:  # not taken in for another purpose, nor empty
                made.append(self._laid_as_table(row, names, staging))
        return made

    def held_against(
        self, against: Against, of: "ContractTable", staging: Any
    ) -> "tuple[dict[str, Table], Table | None, ContractTable]":
        """Raises DataUnavailable where one of them went since."""
        from vallum.data.catalogue.against import evaluated_columns, needed_columns, with_leakage

        with self._records.read() as conn:
            rows = {name: row_of(conn, *_named(name)) for name in against.versions}
        for row in rows.values():
            require_available(row)
        parents = {
            name: self._laid_as_table(rows[version], needed_columns(of, name), staging)
            for name, version in against.parents.items()
        }
        if not against.evaluation:
            return parents, None, of
        row = rows[against.evaluation]
        columns = evaluated_columns(of, columns_of(row))
        return parents, self._laid_as_table(row, columns, staging), with_leakage(of, columns)

    def affected(self, dataset: str, held: "pl.DataFrame") -> tuple[str, ...]:
        """What was made of versions in which such rows stand: they are read through, those alone that were used."""
        import polars as pl

        u, v = table.uses.c, table.versions.c
        with self._records.read() as conn:
            query = select(table.versions).where(v.dataset == dataset, v.state == "available")
            rows = [row for row in conn.execute(query.order_by(v.number.desc()))]  # noqa: C416  rows, not pairs
            used: dict[int, list[str]] = {}
            for number, by in conn.execute(select(u.number, u.used_by).where(u.dataset == dataset)):
                used.setdefault(number, []).append(by)
        found: set[str] = set()
        for row in rows:
            names = [c.name for c in columns_of(row) if c.name in held.columns]
            if row.number not in used or not names:
                continue
            texts = held.select(pl.col(names).cast(pl.String, strict=False)).unique()
            key = key_of(self._keyring, "version", row)
            for frame in self._parts.read(key, dataset, layout_of(row), columns_of(row), only=names):
                same = frame.select(pl.col(names).cast(pl.String, strict=False))
                if same.join(texts, on=names, how="semi", nulls_equal=True).height:
                    found.update(used[row.number])
                    break
        return tuple(sorted(found))

    def _laid_as_table(self, row: Row[Any], names: Sequence[str], staging: Any) -> "Table":
        """Columns of a version as a table in the spool, in clear while something is judged by it."""
        from vallum.data.readers.parquet import read_parquet

        place, columns = staging.place(), [c for c in columns_of(row) if c.name in names]
        key, layout = key_of(self._keyring, "version", row), layout_of(row)
        for number, frame in enumerate(self._parts.read(key, row.dataset, layout, columns)):
            frame.write_parquet(place / f"{number:08}.parquet")
        if not layout.parts:
            self._parts.schema(layout).select(c.name for c in columns).write_parquet(place / "0.parquet")
        return replace(read_parquet(place), name=f"{row.dataset}/{row.number}")


def _named(version: str) -> tuple[str, int]:
    dataset, _, number = version.partition("/")
    return dataset, int(number)
