"""TensorFlow's checkpoints: the index, a sorted table of what each tensor is and where, and the fingerprint beside it.

The table is LevelDB's; its values are protocol buffers of numbers. Which bytes of the data files are tensors follows
from it, and is for `repositories/tensor_data.py`. Source: LevelDB's doc/table_format.md; tensor_bundle.proto.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["CheckpointIndex", "Fingerprint", "Shard", "shards_in_index"]

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_TRAILER = 5  # a block's kind of compression, and its checksum
_MAX_ENTRIES = 200_000
_MAX_KEY_BYTES = 4096
_MAX_FINGERPRINT_BYTES = 512


class _Malformed(Exception):
    pass


class Shard(NamedTuple):
    """Bytes of one tensor in one of the data files."""

    shard: int
    offset: int
    size: int


class CheckpointIndex:
    name = "tensorflow-index"

    def recognises(self, blob: Blob) -> bool:
        return len(blob) > _FOOTER and bytes(blob.data[-8:]) == _MAGIC

    def inspect(self, blob: Blob, scan: Scan) -> None:
        try:
            count, _shards, end = _read(blob.data)
        except (_Malformed, IndexError, struct.error) as e:
            scan.report(Verdict.REVIEW, "malformed", blob.place, f"not a whole index of a checkpoint: {e}")
            return
        if not count:
            scan.report(Verdict.REVIEW, "unknown-format", blob.place, "a table of something else than tensors")
        elif end != len(blob) - _FOOTER:
            text = f"{abs(len(blob) - _FOOTER - end)} bytes that no block of the table has"
            scan.report(Verdict.REVIEW, "hidden-payload", blob.place, text)


class Fingerprint:
    """Of a saved model: a few hashes as numbers, a version, an identifier."""

    name = "tensorflow-fingerprint"

    def recognises(self, blob: Blob) -> bool:
        if blob.name != "fingerprint.pb" or not 0 < len(blob) <= _MAX_FINGERPRINT_BYTES:
            return False
        try:
            fields = list(_fields(bytes(blob.data)))
        except (_Malformed, IndexError):
            return False
        return all(number <= 8 and (isinstance(v, int) or len(v) <= 64) for number, v in fields)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        """Numbers are all that it has."""


def shards_in_index(blob: Blob) -> tuple[int, list[Shard]]:
    """How many data files there are, and where in them the tensors lie; 0 for what is no index."""
    if not CheckpointIndex().recognises(blob):
        return 0, []
    try:
        count, shards, _ = _read(blob.data)
    except (_Malformed, IndexError, struct.error):
        return 0, []
    return count, shards


def _read(data: memoryview) -> tuple[int, list[Shard], int]:
    """Data files, tensors, and where the last block ends."""
    footer = bytes(data[-_FOOTER:])
    at = 0
    handles = []
    for _ in range(4):
        value, at = _varint(footer, at)
        handles.append(value)
    count, shards, end, left = 0, [], 0, _MAX_ENTRIES
    index = list(_entries(_block(data, handles[2], handles[3])))
    for _key, handle in index:
        offset, at = _varint(handle, 0)
        size, _ = _varint(handle, at)
        if offset != end:
            raise _Malformed("blocks that are not one behind the other")
        end = offset + size + _TRAILER
        for key, entry in _entries(_block(data, offset, size)):
            left -= 1
            if left < 0:
                raise _Malformed("more tensors than are looked at")
            if key:
                shards.append(_shard(entry))
            else:
                count = max(1, dict(_numbers(entry)).get(1, 0))
    if handles[0] != end or handles[2] != handles[0] + handles[1] + _TRAILER:
        raise _Malformed("blocks that are not one behind the other")
    return count, shards, handles[2] + handles[3] + _TRAILER


def _block(data: memoryview, offset: int, size: int) -> bytes:
    if offset + size + _TRAILER > len(data):
        raise _Malformed("a block that is not in the file")
    if data[offset + size]:
        raise _Malformed("a packed block, which TensorFlow does not write")
    return bytes(data[offset : offset + size])


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys share their beginning with the one before."""
    restarts = struct.unpack_from("<L", block, len(block) - 4)[0]
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    if end < 0:
        raise _Malformed("a block without an end")
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or shared + own > _MAX_KEY_BYTES or at + own + size > end:
            raise _Malformed("an entry that does not fit")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def _shard(entry: bytes) -> Shard:
    numbers = dict(_numbers(entry))
    return Shard(numbers.get(3, 0), numbers.get(4, 0), numbers.get(5, 0))


def _numbers(message: bytes) -> Iterator[tuple[int, int]]:
    return ((number, value) for number, value in _fields(message) if isinstance(value, int))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(kind, -1)
        if kind == 2:
            size, at = _varint(message, at)
        if not number or size < 0 or at + size > len(message):
            raise _Malformed("a value that does not fit")
        yield number, message[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Malformed("a number without an end")
