"""The keys of restricted columns, kept: one class key a data set and class, one column key a column under it.

Made when a column is first sealed, in a transaction of their own: a key that nothing was sealed with harms nobody.
"""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from vallum.data.catalogue import records as table
from vallum.data.fields import ClassKey, ColumnCipher, ColumnKey, ColumnPlace, FieldKeys
from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, SealBroken
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import TenantId

__all__ = ["KeptFieldKeys", "RotatedKey"]


class RotatedKey(msgspec.Struct, frozen=True):
    """A class's key after it was rotated. `columns` has the newest version of each column's key."""

    dataset: str
    classification: str
    version: int
    columns: dict[str, int]


class KeptFieldKeys:
    """Thread-safe; keeps no key in memory."""

    def __init__(self, records: Records, keyring: Keyring) -> None:
        self._records = records
        self._keys = FieldKeys(keyring, TenantId(DEFAULT_TENANT))

    def cipher(self, dataset: str, classification: str, column: str) -> ColumnCipher:
        """The column's newest cipher, made when there is none. Raises SealBroken when a key was altered."""
        with self._records.read() as conn:
            found = self._found(conn, dataset, classification, column)
        if found is None:
            with self._records.write() as conn:
                self._make(conn, dataset, classification, column)
                found = self._found(conn, dataset, classification, column)
        assert found is not None
        return self._keys.cipher(*found)

    def cipher_of(self, dataset: str, classification: str, column: str, version: int) -> ColumnCipher:
        """That version's cipher, to open what it sealed. Raises SealBroken when the key is gone."""
        with self._records.read() as conn:
            found = self._found(conn, dataset, classification, column, version)
        if found is None:
            raise SealBroken(f"the key of column {column} of {dataset} is gone")
        return self._keys.cipher(*found)

    def ciphers(self, dataset: str, classification: str, column: str) -> list[ColumnCipher]:
        """Of each version of the column's key, the newest first; none where there is no key. Raises SealBroken."""
        c = table.column_keys.c
        query = select(c.version).where(c.dataset == dataset, c.classification == classification, c.column == column)
        with self._records.read() as conn:
            versions = conn.execute(query.order_by(c.version.desc())).scalars().all()
        return [self.cipher_of(dataset, classification, column, version) for version in versions]

    def rotate(
        self, conn: Connection, dataset: str, *, classification: str = "", column: str = ""
    ) -> tuple[RotatedKey, ...]:
        """New class keys (of one class, or all), under which the same columns' keys are wrapped again; with `column`, a
        new key of that column too, for what is written from now on. No data is rewritten: former versions of a
        column's key go on opening what they sealed. Raises NotFound where there is no such key, SealBroken.
        """
        k, c = table.class_keys.c, table.column_keys.c
        query = select(table.class_keys).where(k.dataset == dataset).order_by(k.classification).with_for_update()
        rows = conn.execute(query.where(k.classification == classification) if classification else query).all()
        made = list[RotatedKey]()
        for row in rows:
            former = ClassKey(dataset, row.classification, row.version, bytes(row.sealed))
            own = select(table.column_keys).where(c.dataset == dataset, c.classification == row.classification)
            kept = [_column_key(one) for one in conn.execute(own.order_by(c.column, c.version))]
            newest = {key.place.column: key for key in kept}
            if column:
                if column not in newest:
                    continue
                kept.append(self._keys.rotate_column(former, newest[column], conn=conn))
            fresh, wrapped = self._keys.rotate_class(former, kept, conn=conn)
            one = update(table.class_keys).where(k.dataset == dataset, k.classification == row.classification)
            moved = conn.execute(
                one.where(k.version == former.version).values(version=fresh.version, sealed=fresh.sealed)
            )
            if moved.rowcount != 1:
                raise Conflict(f"the keys of {dataset} are being rotated by somebody else: look, and ask again")
            conn.execute(delete(table.column_keys).where(c.dataset == dataset, c.classification == row.classification))
            conn.execute(insert(table.column_keys), [_as_row(key) for key in wrapped])
            versions = {key.place.column: key.version for key in wrapped}
            made.append(RotatedKey(dataset, row.classification, fresh.version, versions))
        if not made:
            what = f" of column {column[:100]!r}" if column else ""
            raise NotFound(f"{dataset} has no key{what}: nothing of it is sealed by field")
        erase_copies(conn)
        return tuple(made)

    def _found(
        self, conn: Connection, dataset: str, classification: str, column: str, version: int | None = None
    ) -> tuple[ClassKey, ColumnKey] | None:
        k, c = table.class_keys.c, table.column_keys.c
        of_class = select(table.class_keys).where(k.dataset == dataset, k.classification == classification)
        row = conn.execute(of_class).one_or_none()
        wanted = select(table.column_keys).where(
            c.dataset == dataset, c.classification == classification, c.column == column
        )
        if version is not None:
            wanted = wanted.where(c.version == version)
        key = conn.execute(wanted.order_by(c.version.desc()).limit(1)).one_or_none()
        if row is None or key is None:
            return None
        place = ColumnPlace(dataset, classification, column)
        kept = ClassKey(dataset, classification, row.version, bytes(row.sealed))
        return kept, ColumnKey(place, key.version, key.class_version, bytes(key.wrapped))

    def _make(self, conn: Connection, dataset: str, classification: str, column: str) -> None:
        """Of two at once, the first one's keys count."""
        made = self._keys.create_class(dataset, classification, conn=conn)
        values = {"dataset": dataset, "classification": classification, "version": made.version, "sealed": made.sealed}
        conn.execute(upsert(conn, table.class_keys).values(values).on_conflict_do_nothing())
        k = table.class_keys.c
        row = conn.execute(
            select(table.class_keys).where(k.dataset == dataset, k.classification == classification)
        ).one()  # fmt: skip
        of = ClassKey(dataset, classification, row.version, bytes(row.sealed))
        key = self._keys.create_column(of, column, conn=conn)
        conn.execute(
            upsert(conn, table.column_keys)
            .values(
                dataset=dataset, classification=classification, column=column, version=key.version,
                class_version=key.class_version, wrapped=key.wrapped,
            )
            .on_conflict_do_nothing()
        )  # fmt: skip


def _column_key(row: Any) -> ColumnKey:
    place = ColumnPlace(row.dataset, row.classification, row.column)
    return ColumnKey(place, row.version, row.class_version, bytes(row.wrapped))


def _as_row(key: ColumnKey) -> dict[str, Any]:
    place = key.place
    return {
        "dataset": place.dataset, "classification": place.classification, "column": place.column,
        "version": key.version, "class_version": key.class_version, "wrapped": key.wrapped,
    }  # fmt: skip
