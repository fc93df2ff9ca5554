"""The keys of fields: what wraps what, and what a leaked one opens.

    the keyring's key for fields  ->  a class key (data set, class)  ->  a column key (data set, class, column)

Every key below the keyring is 32 random bytes, sealed with its place as associated data. Column keys are drawn, not
derived: one that leaks opens the batches of one column of one data set, and says nothing of another key. Destroying
a class key (or its sealed bytes, everywhere) makes every column of that class in that data set noise.

Rotation rewrites no data. The root and the keyring rotate as ever; `reseal` then moves a class key to the keyring's
newest version, `rotate_class` draws a new class key and wraps the same column keys under it, and `rotate_column`
draws a new column key for what is written from now on: former versions go on opening what they sealed.
This module keeps nothing; what it returns is stored by whoever owns the data set.
"""

import os
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from vallum.data.fields.cipher import MATERIAL_BYTES, ColumnCipher
from vallum.data.fields.place import ColumnPlace, bound
from vallum.kernel.errors import Invalid
from vallum.kernel.keys.errors import SealBroken
from vallum.kernel.keys.model import Purpose
from vallum.kernel.keys.sealing import SealingKey
from vallum.kernel.values import TenantId

__all__ = ["ClassKey", "ColumnKey", "FieldKeys", "Sealer"]

_CLASS_AAD = b"vallum/data/class-key/1\x00"
_COLUMN_AAD = b"vallum/data/column-key/1\x00"


class Sealer(Protocol):
    """What is needed of the kernel's Keyring."""

    def seal(
        self, tenant: TenantId, purpose: Purpose, data: bytes, aad: bytes, *, conn: Connection | None = None
    ) -> bytes: ...

    def open(
        self, tenant: TenantId, purpose: Purpose, sealed: bytes, aad: bytes, *, conn: Connection | None = None
    ) -> bytes: ...


class ClassKey(msgspec.Struct, frozen=True):
    """The key of one class in one data set, sealed by the keyring. Holds no key in the clear."""

    dataset: str
    classification: str
    version: int
    sealed: bytes


class ColumnKey(msgspec.Struct, frozen=True):
    """One version of one column's key, wrapped by its class key."""

    place: ColumnPlace
    version: int
    class_version: int
    wrapped: bytes


class FieldKeys:
    """Makes, opens and rotates the keys of one tenant's data sets. Thread-safe; keeps no key."""

    def __init__(self, keyring: Sealer, tenant: TenantId, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._keyring = keyring
        self._tenant = tenant
        self._entropy = entropy

    def create_class(self, dataset: str, classification: str, *, conn: Connection | None = None) -> ClassKey:
        return self._sealed_class(dataset, classification, 1, self._entropy(MATERIAL_BYTES), conn)

    def create_column(self, of: ClassKey, column: str, *, conn: Connection | None = None) -> ColumnKey:
        """The first version of the key of a column of that data set and class."""
        place = ColumnPlace(of.dataset, of.classification, column)
        return self._wrapped(self._class(of, conn), of, place, 1, self._entropy(MATERIAL_BYTES))

    def cipher(self, of: ClassKey, key: ColumnKey, *, conn: Connection | None = None) -> ColumnCipher:
        """What opens that one column. Raises SealBroken when either was altered or does not belong to the other."""
        return ColumnCipher(self._unwrap(self._class(of, conn), of, key), key.place, key.version)

    def rotate_column(self, of: ClassKey, newest: ColumnKey, *, conn: Connection | None = None) -> ColumnKey:
        """The next version, for what is written from now on. `newest` must open, and still opens what it sealed."""
        wrapper = self._class(of, conn)
        self._unwrap(wrapper, of, newest)
        return self._wrapped(wrapper, of, newest.place, newest.version + 1, self._entropy(MATERIAL_BYTES))

    def rotate_class(
        self, former: ClassKey, columns: Sequence[ColumnKey], *, conn: Connection | None = None
    ) -> tuple[ClassKey, list[ColumnKey]]:
        """A new class key, and every version of every column's key wrapped by it. Store all of it, or none."""
        material = self._entropy(MATERIAL_BYTES)
        fresh = self._sealed_class(former.dataset, former.classification, former.version + 1, material, conn)
        old, new = self._class(former, conn), self._sealing(fresh, material)
        return fresh, [self._wrapped(new, fresh, k.place, k.version, self._unwrap(old, former, k)) for k in columns]

    def reseal(self, key: ClassKey, *, conn: Connection | None = None) -> ClassKey:
        """The same class key, sealed by the keyring's newest version: what wants to destroy a former one does this."""
        return self._sealed_class(key.dataset, key.classification, key.version, self._open(key, conn), conn)

    def _sealed_class(
        self, dataset: str, classification: str, version: int, material: bytes, conn: Connection | None
    ) -> ClassKey:
        aad = _class_aad(dataset, classification, version)
        sealed = self._keyring.seal(self._tenant, Purpose.FIELDS, material, aad, conn=conn)
        return ClassKey(dataset, classification, version, sealed)

    def _open(self, key: ClassKey, conn: Connection | None) -> bytes:
        aad = _class_aad(key.dataset, key.classification, key.version)
        return self._keyring.open(self._tenant, Purpose.FIELDS, key.sealed, aad, conn=conn)

    def _class(self, key: ClassKey, conn: Connection | None) -> SealingKey:
        return self._sealing(key, self._open(key, conn))

    def _sealing(self, key: ClassKey, material: bytes) -> SealingKey:
        return SealingKey(material, self._tenant, Purpose.FIELDS, key.version, self._entropy)

    def _wrapped(
        self, wrapper: SealingKey, of: ClassKey, place: ColumnPlace, version: int, material: bytes
    ) -> ColumnKey:
        return ColumnKey(place, version, of.version, wrapper.seal(material, _column_aad(place, version)))

    def _unwrap(self, wrapper: SealingKey, of: ClassKey, key: ColumnKey) -> bytes:
        if (key.place.dataset, key.place.classification) != (of.dataset, of.classification):
            raise Invalid("a column's key is opened by the key of its own data set and class")
        if key.class_version != of.version:
            raise SealBroken(f"the column's key is wrapped by version {key.class_version} of the class key")
        return wrapper.open(key.wrapped, _column_aad(key.place, key.version))


def _class_aad(dataset: str, classification: str, version: int) -> bytes:
    return _CLASS_AAD + version.to_bytes(4, "big") + bound(dataset, classification)


def _column_aad(place: ColumnPlace, version: int) -> bytes:
    return _COLUMN_AAD + version.to_bytes(4, "big") + place.binding
