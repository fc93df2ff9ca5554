"""One column's cipher: fields in batches, each field sealed by itself.

    header:  magic "VLFB" (4) | format (1) | key version (4) | first row (8) | fields (4) | salt (32)
    field:   ciphertext | tag (16)          format 1: AES-256-GCM, a key for the batch
    field:   synthetic IV (16) | ciphertext          format 2: AES-256-SIV, one key for the column

Why the nonces of format 1 are sound: GCM breaks when one key meets one nonce twice. Each call of `seal` draws a
salt of 256 random bits and derives a key from it (HKDF-SHA-256), so that every batch has a key that no other call
ever has; under it, field number i has the nonce i, and a batch has at most 65,536 fields. Nothing has to be
remembered between calls, and no nonce is stored. The header is what the key is derived over, and the number of a
field its nonce: a field that was altered, moved, or carried over from another row, batch, column or data set does
not open, and a batch that lost rows does not either. A null is an empty text sealed with other associated data: it
has the length of an empty one, and putting one in a value's place is found.

Format 2 is deterministic: equal values of one column are equal sealed, in every batch, so that tables can be joined
on them (RFC 5297). Anybody with the table sees which rows are equal and which are null, and a field may be moved to
another row unseen: only for what must be joined. Both formats show how long a value is.
"""

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from vallum.data.fields.place import ColumnPlace
from vallum.kernel.errors import Invalid
from vallum.kernel.keys.errors import SealBroken

__all__ = ["BATCH_FIELDS", "MATERIAL_BYTES", "ColumnCipher", "SealedBatch"]

BATCH_FIELDS = 65_536
MATERIAL_BYTES = 32
MAX_FIELD_BYTES = 64 << 20  # larger things are no fields

_MAGIC = b"VLFB"
_EACH, _JOINABLE = 1, 2
_HEADER = struct.Struct(">4sBIQI32s")
_TAG_BYTES = 16
_SAMPLED = 2048
_NULL = b"null"
_EACH_LABEL = b"vallum/fields/1 aes-256-gcm\x00"
_JOINABLE_LABEL = b"vallum/fields/1 aes-256-siv\x00"


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """Fields in the order of their rows. A null is None only where the batch is joinable."""

    header: bytes
    fields: Sequence[bytes | None]

    @property
    def version(self) -> int:
        """The column key's version, unproven until the batch opens. Raises SealBroken when there is none."""
        return _parsed(self.header)[1]


class ColumnCipher:
    """One version of one column's key. Safe to share between threads; its repr holds no key."""

    __slots__ = ("_entropy", "_material", "_place", "_siv", "version")

    def __init__(
        self, material: bytes, place: ColumnPlace, version: int = 1, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        if len(material) != MATERIAL_BYTES:
            raise ValueError(f"a column's key is {MATERIAL_BYTES} bytes")
        if not 1 <= version < 1 << 32:
            raise ValueError(f"a column key's version is 1 to {(1 << 32) - 1}")
        self._material = material
        self._place = place.binding
        self._entropy = entropy
        self.version = version
        info = _JOINABLE_LABEL + version.to_bytes(4, "big") + self._place
        self._siv = AESSIV(HKDFExpand(algorithm=SHA256(), length=64, info=info).derive(material))

    def __repr__(self) -> str:
        return f"ColumnCipher(version={self.version})"

    # Randomised fields.

    def seal(self, values: Sequence[bytes | None], first_row: int = 0) -> SealedBatch:
        """At most BATCH_FIELDS values, the first of which is row `first_row` of the column; 16 bytes longer each."""
        _check_batch(values, first_row)
        header = _HEADER.pack(_MAGIC, _EACH, self.version, first_row, len(values), self._entropy(32))
        encrypt = self._batch(header).encrypt
        if None in values:
            plain = [b"" if value is None else value for value in values]
            tied = [_NULL if value is None else None for value in values]
            return SealedBatch(header, list(map(encrypt, _nonces(), plain, tied)))
        return SealedBatch(header, list(map(encrypt, _nonces(), values, repeat(None))))  # type: ignore[arg-type]

    def open(self, batch: SealedBatch, first_row: int = 0) -> list[bytes | None]:
        """What `seal` was given. Raises SealBroken, naming the row, when anything differs."""
        cipher = self._checked(batch, first_row)
        fields = batch.fields
        if not any(field is None or len(field) == _TAG_BYTES for field in fields):
            try:
                return list(map(cipher.decrypt, _nonces(), fields, repeat(None)))  # type: ignore[arg-type]
            except InvalidTag:
                pass  # which row it was is told below
        return [_opened(cipher, index, field, first_row) for index, field in enumerate(fields)]

    def open_one(self, header: bytes, index: int, field: bytes) -> bytes | None:
        """One field of a batch, by its number there. Raises SealBroken when anything differs."""
        kind, version, first_row, count, _ = _parsed(header)
        if kind != _EACH or version != self.version or not 0 <= index < count:
            raise SealBroken("this field is not of that batch, or not sealed by this version of the column's key")
        return _opened(self._batch(header), index, field, first_row)

    # Joinable fields.

    def seal_joinable(self, values: Sequence[bytes | None], first_row: int = 0) -> SealedBatch:
        """Deterministic; 16 bytes longer each. Where values repeat, each is sealed once."""
        _check_batch(values, first_row)
        header = _HEADER.pack(_MAGIC, _JOINABLE, self.version, first_row, len(values), bytes(32))
        encrypt, tied = self._siv.encrypt, [self._place]
        if not _repeats(values) and None not in values:
            return SealedBatch(header, list(map(encrypt, values, repeat(tied))))  # type: ignore[arg-type]
        distinct = dict.fromkeys(values)
        distinct.pop(None, None)
        sealed: dict[bytes | None, bytes | None] = {None: None}
        sealed.update(zip(distinct, map(encrypt, distinct, repeat(tied)), strict=True))  # type: ignore[arg-type]
        return SealedBatch(header, list(map(sealed.__getitem__, values)))

    def open_joinable(self, batch: SealedBatch, first_row: int = 0) -> list[bytes | None]:
        """What `seal_joinable` was given; which rows the values stood in is not proven. Raises SealBroken."""
        kind, version, first, count, _ = _parsed(batch.header)
        if (kind, version, first, count) != (_JOINABLE, self.version, first_row, len(batch.fields)):
            raise SealBroken("these fields are no joinable batch of this place, number and key version")
        decrypt, tied = self._siv.decrypt, [self._place]
        if not _repeats(batch.fields) and None not in batch.fields:
            try:
                return list(map(decrypt, batch.fields, repeat(tied)))  # type: ignore[arg-type]
            except InvalidTag:
                pass  # which row it was is told below
        opened: dict[bytes | None, bytes | None] = {None: None}
        for index, field in enumerate(batch.fields):
            if field not in opened:
                try:
                    opened[field] = decrypt(field, tied)  # type: ignore[arg-type]
                except InvalidTag:
                    raise SealBroken(
                        f"the field in row {first_row + index} was altered, or is not this column's"
                    ) from None
        return list(map(opened.__getitem__, batch.fields))

    def joinable_form(self, value: bytes) -> bytes:
        """What a value of this column looks like sealed: to look for it without opening anything."""
        return self._siv.encrypt(value, [self._place])

    def open_form(self, form: bytes) -> bytes:
        """The value behind a joinable form. Raises SealBroken."""
        try:
            return self._siv.decrypt(form, [self._place])
        except InvalidTag:
            raise SealBroken("a joinable field was altered, or is not this column's") from None

    def _batch(self, header: bytes) -> AESGCM:
        """The header's length is fixed, so header and place need no separator; its salt goes in as HKDF's."""
        info = _EACH_LABEL + header[:-32] + self._place
        return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=header[-32:], info=info).derive(self._material))

    def _checked(self, batch: SealedBatch, first_row: int) -> AESGCM:
        kind, version, first, count, _ = _parsed(batch.header)
        if kind != _EACH or version != self.version:
            raise SealBroken("this batch was not sealed by this version of the column's key in the randomised format")
        if first != first_row or count != len(batch.fields):
            raise SealBroken(f"{len(batch.fields)} fields from row {first_row} on are not the batch that was sealed")
        return self._batch(batch.header)


@cache
def _nonces() -> tuple[bytes, ...]:
    """Made once, at the first batch: 3 MiB."""
    return tuple(number.to_bytes(12, "big") for number in range(BATCH_FIELDS))


def _repeats(values: Sequence[bytes | None]) -> bool:
    """Whether looking each value up costs less than sealing it once more; the first few tell."""
    sample = values[:_SAMPLED]
    return len(set(sample)) < 0.75 * len(sample)


def _opened(cipher: AESGCM, index: int, field: bytes | None, first_row: int) -> bytes | None:
    nonce = index.to_bytes(12, "big")
    try:
        if field is None:
            raise InvalidTag
        try:
            return cipher.decrypt(nonce, field, None)
        except InvalidTag:
            if len(field) != _TAG_BYTES:
                raise
            cipher.decrypt(nonce, field, _NULL)
            return None
    except InvalidTag:
        raise SealBroken(
            f"the field in row {first_row + index} was altered, or stands where it was not sealed"
        ) from None


def _parsed(header: bytes) -> tuple[int, int, int, int, bytes]:
    if len(header) != _HEADER.size:
        raise SealBroken("a batch of fields without its header")
    magic, kind, version, first_row, count, salt = _HEADER.unpack(header)
    if magic != _MAGIC or kind not in (_EACH, _JOINABLE) or count > BATCH_FIELDS:
        raise SealBroken("these bytes are not the header of a batch of fields of a known format")
    return kind, version, first_row, count, salt


def _check_batch(values: Sequence[bytes | None], first_row: int) -> None:
    if len(values) > BATCH_FIELDS:
        raise Invalid(f"a batch has at most {BATCH_FIELDS} fields, not {len(values)}: seal a column in several")
    if not 0 <= first_row < 1 << 64:
        raise Invalid("a row's number is 0 or more, and fits 64 bits")
    if any(value is not None and len(value) > MAX_FIELD_BYTES for value in values):
        raise Invalid(f"a field is at most {MAX_FIELD_BYTES} bytes long")
