"""HDF5, which Keras and others save: the superblock is checked, and the bytes are searched for what matters in them.

No library reads it here. The Keras configuration is found as the text that it is, wherever the file keeps it;
links to other files are found by their marks. What a chunk's compression hides is not seen: Keras writes
its configuration without. Source: HDF5 File Format Specification 3.0, II.A and IV.A.
"""

import json
import re
import struct
from collections.abc import Iterator

from vallum.models.scan.formats.member_names import is_outside, shown
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["Hdf5Inspector"]

_MARK = b"\x89HDF\r\n\x1a\n"
_LAST_START = 1 << 20
_WINDOW = 1 << 20
_MAX_JSON = 16 << 20
_MAX_TEXTS = 32
_MAX_TARGETS = 16
_CONFIG = re.compile(
    rb'\{\s*"(?:class_name|module|config|loss|optimizer_config|metrics|name|registered_name|build_config|compile_config)"\s*:'
)
# An external link is its file's name and the path in it (IV.A.2.g); a dataset's list of external files is a message of
# type 7 and version 1 with a few slots (IV.A.2.h), in either form of object header.
_EXTERNAL_LINK = re.compile(rb"\.(?:h5|hdf5|he5|keras)\0/[\w./:-]{0,1024}\0")
_EXTERNAL_DATA = re.compile(rb"\x07(?:\0..[\0-\x1f]\0\0|..[\0-\x1f])\0?\x01\0\0\0[^\0]\0[^\0]\0", re.DOTALL)
# What such a link says in full, behind its length; and a part of a virtual dataset, in a heap (VII.A).
_LINK = re.compile(rb"\0(?=([\x20-\x7e]{1,1024})\0(/?[\x20-\x7e]{1,1024})\0)")
_VIRTUAL = re.compile(rb"\0{5}([\x20-\x7e]{2,1024})\0[\x20-\x7e]{1,1024}\0\x03\0{3}")
# A dataset's shape: a message of type 1, whose version is 1, its rank, flags and reserved bytes (IV.A.2.b).
_SPACE = re.compile(rb"\x01\0[\x10-\xff][\0-\x04][\0-\x1f]\0\0\0\x01([\x01-\x20])[\0\x01]\0{5}", re.DOTALL)
_MOST_ELEMENTS = 1 << 36
_MOST_PACKED = 1 << 12
_SUFFIXES = (".h5", ".hdf5", ".he5", ".keras")
_SIZE_AT = {0: (13, 40), 1: (13, 44), 2: (9, 28), 3: (9, 28)}  # of addresses; of the address of the end


class Hdf5Inspector:
    name = "hdf5"

    def recognises(self, blob: Blob) -> bool:
        return _start(blob.data) is not None

    def inspect(self, blob: Blob, scan: Scan) -> None:
        start = _start(blob.data) or 0
        if start:
            text = f"{start} bytes before the file proper, which HDF5 leaves to others"
            scan.report(Verdict.REVIEW, "hidden-payload", blob.place, text)
            scan.descend(blob, "@userblock", blob.data[:start])
        end = _end(blob.data, start)
        if end is None or end > len(blob):
            text = "its first block does not fit the format, or names an end that the file does not have"
            scan.report(Verdict.REVIEW, "malformed", blob.place, text)
        elif end < len(blob):
            text = f"{len(blob) - end} bytes behind the file's own end"
            scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{end}", text)
            scan.descend(blob, f"@{end}", blob.data[end:])
        _search(blob, scan)


def _start(data: memoryview) -> int | None:
    at = 0
    while at <= min(len(data) - 8, _LAST_START):
        if bytes(data[at : at + 8]) == _MARK:
            return at
        at = at * 2 or 512
    return None


def _end(data: memoryview, start: int) -> int | None:
    head = bytes(data[start : start + 96])
    if len(head) < 48 or head[8] not in _SIZE_AT:
        return None
    size_at, end_at = _SIZE_AT[head[8]]
    size = head[size_at]
    if size not in (4, 8):
        return None
    place = end_at if size == 8 else end_at - 2 * (8 - size)
    return start + int.from_bytes(head[place : place + size], "little")


def _search(blob: Blob, scan: Scan) -> None:
    texts = 0
    reported = vast = False
    done = blocked = 0
    for at, window in _windows(blob.data):
        if (target := _target(window, blob.data)) is not None and blocked < _MAX_TARGETS:
            blocked += 1
            outside = is_outside(target) or "://" in target or not target.lower().endswith(_SUFFIXES)
            text = f"it reads `{shown(target)}` in place of content of its own"
            verdict = Verdict.BLOCK if outside else Verdict.REVIEW
            scan.report(verdict, "archive-link", blob.place, text)
        if not vast and (count := _vast(window, len(blob))) is not None:
            vast = True
            text = f"a dataset of {count} elements, in a file of {len(blob)} bytes"
            scan.report(Verdict.BLOCK, "archive-bomb", blob.place, text)
        if not reported and _links_outside(window):
            reported = True
            text = "it refers to another file, which is read in its place"
            scan.report(Verdict.REVIEW, "archive-link", blob.place, text)
        for match in _CONFIG.finditer(window):
            start = at + match.start()
            if start < done:
                continue
            found = _json(bytes(blob.data[start : start + _MAX_JSON]))
            if found is None:
                text = "a configuration in JSON that does not end, or is not in one piece"
                scan.report(Verdict.REVIEW, "malformed", f"{blob.place}@{start}", text)
                done = start + 4096
            else:
                scan.descend(blob, "model_config.json", found)
                done = start + len(found)
            texts += 1
            if texts >= _MAX_TEXTS:
                scan.report(Verdict.REVIEW, "limit", blob.place, f"more than {_MAX_TEXTS} configurations")
                return


def _vast(window: bytes, size: int) -> int | None:
    """How many elements the first dataset has that are far more than the file could hold, however packed."""
    for found in _SPACE.finditer(window):
        rank = found[1][0]
        dimensions = window[found.end() : found.end() + 8 * rank]
        if len(dimensions) < 8 * rank or int.from_bytes(found[0][2:4], "little") < 8 + 8 * rank:
            continue
        count = 1
        for length in struct.unpack(f"<{rank}Q", dimensions):
            count *= length
        if count > max(_MOST_ELEMENTS, _MOST_PACKED * size):
            return count
    return None


def _windows(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """Overlapping, so that nothing is cut in two."""
    for at in range(0, len(data), _WINDOW):
        yield at, bytes(data[at : at + _WINDOW + 2048])


def _target(window: bytes, data: memoryview) -> str | None:
    """The first other file that a link, a virtual dataset or a list of files names, its lengths all fitting."""
    for found in _LINK.finditer(window):
        said = int.from_bytes(window[max(0, found.start() - 2) : found.start()], "little")
        if said == len(found[1]) + len(found[2]) + 3:
            return found[1].decode()
    if (virtual := _VIRTUAL.search(window)) is not None:
        return virtual[1].decode()
    for found in _EXTERNAL_DATA.finditer(window):
        if (name := _external_name(window[found.end() - 8 : found.end() + 16], data)) is not None:
            return name
    return None


def _external_name(message: bytes, data: memoryview) -> str | None:
    """`message`: version, slots and used ones, the address of the heap of names, the first name's place there."""
    heap, name = int.from_bytes(message[8:16], "little"), int.from_bytes(message[16:24], "little")
    head = bytes(data[heap : heap + 32])
    if head[:4] != b"HEAP" or len(head) < 32:
        return None
    at = int.from_bytes(head[24:32], "little") + name
    return bytes(data[at : at + 1024]).split(b"\0", 1)[0].decode("utf-8", "replace") or None


def _links_outside(window: bytes) -> bool:
    return _EXTERNAL_LINK.search(window) is not None or _EXTERNAL_DATA.search(window) is not None


def _json(data: bytes) -> bytes | None:
    """The one value that the bytes start with."""
    text = data.decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end].encode()
