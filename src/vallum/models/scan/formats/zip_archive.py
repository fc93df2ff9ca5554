"""Zip archives: torch, Keras 3, numpy's npz, skops and ordinary ones. Both directories are read and compared.

Answers archives that show one reader something else than another (CWE-436): members that only one directory lists,
two end records, overlapping or repeated members, lengths and checksums that lie, content between members. Members
are handed to `Scan.descend`; when the directories differ, every reading is.
"""

import re
import stat
import unicodedata
import zlib
from collections.abc import Iterable

from vallum.models.scan.formats.decompression import ENDS_EARLY, MAX_UNPACKED_BYTES, TOO_LONG, Unpacked, is_bomb
from vallum.models.scan.formats.executables import is_executable
from vallum.models.scan.formats.member_names import is_outside, shown
from vallum.models.scan.formats.zip_records import (
    MAX_ENTRIES,
    METHODS,
    End,
    Entry,
    find_end,
    parse_central,
    parse_descriptors,
    parse_end,
    parse_extra,
    parse_local,
    unpack_member,
)
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["ZipInspector"]

_ENCRYPTED, _DESCRIPTOR, _STRONG, _UTF8 = 1, 8, 0x40, 0x800
_KNOWN_FLAGS = _ENCRYPTED | 2 | 4 | _DESCRIPTOR | _STRONG | _UTF8
_NEWEST = 63  # version 6.3
_UNICODE_NAME = 0x7075  # Info-ZIP's second name, which some readers prefer
_MAX_LOOSE_EXTRA = 256  # torch pads with up to 64 bytes; a payload is longer
_PADDING = 0x4246  # "FB": torch's alignment
_MARKS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")
_TORCH = re.compile(
    r"(?:data|constants|tensors)/\d{1,9}|byteorder|version|\.format_version|\.storage_alignment|\.data/serialization_id"
)
_TORCH_TEXT = re.compile(rb"(?:little|big|\d{1,64})\s*")


class ZipInspector:
    name = "zip"

    def recognises(self, blob: Blob) -> bool:
        head = blob.head(265)
        if head[257:262] == b"ustar":
            return False  # a tar's last member may be a zip: the tar's reader descends to it
        return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK00PK\x03\x04")) or find_end(blob.data) >= 0

    def inspect(self, blob: Blob, scan: Scan) -> None:
        at = find_end(blob.data)
        if at < 0:
            text = "a zip archive without an end record: only readers that go from member to member see its members"
            scan.report(Verdict.REVIEW, "malformed", blob.place, text)
            _walk(blob, scan, 0, len(blob))
            return
        _Archive(blob, scan, parse_end(blob.data, at)).judge()


class _Archive:
    """One archive's reading: `_covered` are the extents that some reader has a use for."""

    def __init__(self, blob: Blob, scan: Scan, end: End) -> None:
        self._blob, self._scan, self._data, self._end = blob, scan, blob.data, end
        self._covered = [(end.at, end.stop)]
        self._base = 0
        self._torch = ""
        self._to_read = 4 * len(blob) + (1 << 20)  # members that overlap are read again for each

    def judge(self) -> None:
        for lie in self._end.lies:
            self._deceives(self._blob.place, f"its end record lies: {lie}")
        entries = self._directory()
        self._names(entries)
        if not self._fits_in_memory(entries):
            return
        roots = [entry.name[:-8] for entry in entries if entry.name.endswith(b"data.pkl")]
        self._torch = _text(roots[0]) if len(roots) == 1 else ""
        if self._torch and any(_text(entry.name).startswith(f"{self._torch}code/") for entry in entries):
            text = "TorchScript: a program in PyTorch's own language is saved with the weights"
            self._scan.report(Verdict.REVIEW, "script", self._blob.place, text)
        for entry in entries:
            self._member(entry)
        self._comment()
        self._gaps()

    def _deceives(self, place: str, text: str) -> None:
        self._scan.report(Verdict.BLOCK, "archive-deceptive", place, text)

    def _sloppy(self, place: str, text: str) -> None:
        self._scan.report(Verdict.REVIEW, "archive-deceptive", place, text)

    def _place(self, entry: Entry) -> str:
        return f"{self._blob.place}!{shown(_text(entry.name))}"

    def _directory(self) -> list[Entry]:
        end, data = self._end, self._data
        start = end.at - end.directory_size
        said = end.directory_offset
        self._base = start - said
        if start < 0 or (self._base and bytes(data[said : said + 4]) == b"PK\x01\x02"):
            self._deceives(self._blob.place, "two central directories: one by its size, one by its offset")
            other, _ = parse_central(data, said, end.at)
            for entry in other:
                self._local_reading(entry.offset)
            if start < 0 or bytes(data[start : start + 4]) != b"PK\x01\x02":
                self._base, start = 0, said
        entries, stop = parse_central(data, start, end.at)
        self._covered.append((start, stop))
        if len(entries) > MAX_ENTRIES:
            self._scan.report(Verdict.REVIEW, "limit", self._blob.place, f"more than {MAX_ENTRIES} members")
        elif len(entries) != end.entries:
            text = f"its end record counts {end.entries} members, its directory lists {len(entries)}"
            self._deceives(self._blob.place, text)
        if stop != end.at:
            self._deceives(self._blob.place, "its central directory does not reach to its end record")
        return entries[:MAX_ENTRIES]

    def _names(self, entries: Iterable[Entry]) -> None:
        exact: set[str] = set()
        folded: set[str] = set()
        for entry in entries:
            name, place = _text(entry.name), self._place(entry)
            if is_outside(name):
                text = "its name leads out of the folder that it is unpacked to"
                self._scan.report(Verdict.BLOCK, "archive-traversal", place, text)
            plain = unicodedata.normalize("NFC", "/".join(part for part in name.split("/") if part not in ("", ".")))
            low = unicodedata.normalize("NFKC", plain).casefold()
            if plain in exact:
                self._deceives(place, "two members of one name: readers differ in which one they take")
            elif low in folded:
                self._sloppy(place, "two members whose names are one where case or form of letters does not count")
            if name != shown(name):
                self._sloppy(place, "control or direction characters in its name")
            exact.add(plain)
            folded.add(low)
            self._attributes(entry, place)

    def _attributes(self, entry: Entry, place: str) -> None:
        mode = entry.attributes >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "a link" if stat.S_ISLNK(mode) else "a device, pipe or socket"
            self._scan.report(Verdict.BLOCK, "archive-link", place, f"{what}, and not a file")
        if entry.name.endswith(b"/") and entry.size:
            self._scan.report(Verdict.REVIEW, "hidden-payload", place, "a folder with content")
        if entry.disk:
            self._deceives(place, "it is said to be on another disk")

    def _fits_in_memory(self, entries: list[Entry]) -> bool:
        packed = sum(entry.packed for entry in entries)
        size = sum(entry.size for entry in entries)
        if is_bomb(min(packed, len(self._blob)), size):
            text = f"{len(self._blob)} bytes that unpack to {size}"
            self._scan.report(Verdict.BLOCK, "archive-bomb", self._blob.place, text)
            return False
        return True

    def _member(self, entry: Entry) -> None:
        place = self._place(entry)
        at = entry.offset + self._base
        local = parse_local(self._data, at)
        if local is None:
            self._deceives(place, "the central directory lists it, and there is no such member")
            return
        stop = self._extent(entry, local, place)
        self._covered.append((at, stop))
        self._flags(entry, place)
        self._compare(entry, local, place)
        self._extra(entry, local, place)
        start = local.stop
        readings = {(entry.method, entry.packed, entry.size)}
        if not local.flags & _DESCRIPTOR or local.packed:
            readings.add((local.method, local.packed, local.size))
        for number, (method, packed, size) in enumerate(sorted(readings)):
            other = "" if not number else " (read otherwise)"
            if start + packed > len(self._data):
                self._deceives(place, "its content is longer than the file")
                packed = len(self._data) - start
            self._content(entry, method, self._data[start : start + packed], size, other)

    def _extent(self, entry: Entry, local: Entry, place: str) -> int:
        """Where the member ends, with its data descriptor, which has to say what the directory says."""
        stop = local.stop + entry.packed
        if not (local.flags | entry.flags) & _DESCRIPTOR:
            return stop
        for found in parse_descriptors(self._data, stop):
            if (found.crc, found.packed, found.size) == (entry.crc, entry.packed, entry.size):
                return found.stop
        if not local.flags & _DESCRIPTOR:
            return stop
        self._deceives(place, "what is written after its content is not what the central directory says of it")
        return stop

    def _flags(self, entry: Entry, place: str) -> None:
        if entry.flags & ~_KNOWN_FLAGS:
            self._sloppy(place, f"flags that no model needs: {entry.flags & ~_KNOWN_FLAGS:#06x}")
        if self._data[entry.at + 6] > _NEWEST:
            self._deceives(place, "it asks for a version that does not exist: some readers stop, others go on")

    def _compare(self, entry: Entry, local: Entry, place: str) -> None:
        if entry.name != local.name:
            text = f"the central directory names it so, and its own header {shown(_text(local.name))!r}"
            self._deceives(place, text)
            if is_outside(_text(local.name)):
                self._scan.report(Verdict.BLOCK, "archive-traversal", place, "the name in its header leads outside")
        if entry.method != local.method:
            self._deceives(place, "its two directories name different methods of compression")
        different = (entry.flags ^ local.flags) & ~(2 | 4)
        if different & (_ENCRYPTED | _STRONG) or (different & _UTF8 and not entry.name.isascii()):
            self._deceives(place, "its two directories have different flags")
        elif different & ~_UTF8:
            self._sloppy(place, "its two directories have different flags")
        open_ended = bool(local.flags & _DESCRIPTOR)
        for what, one, two in (
            ("size", entry.size, local.size),
            ("packed size", entry.packed, local.packed),
            ("checksum", entry.crc, local.crc),
        ):
            full = 0xFFFFFFFF if what != "checksum" else 0
            if one != two and not (open_ended and two in (0, full)):
                self._deceives(place, f"its two directories differ in its {what}")

    def _extra(self, entry: Entry, local: Entry, place: str) -> None:
        loose = 0
        for fields, rest in (parse_extra(entry.extra), parse_extra(local.extra)):
            for kind, value in fields:
                if kind == _UNICODE_NAME and value[5:] != entry.name:
                    self._deceives(place, "a second name, which some readers prefer")
                if kind not in (1, _PADDING) or (kind == _PADDING and value.strip(b"Z\0")):
                    loose += len(value)
            if rest.strip(b"\0"):
                self._sloppy(place, "an extra field that does not end where it says")
        if loose > _MAX_LOOSE_EXTRA or len(entry.comment) > _MAX_LOOSE_EXTRA:
            text = f"{loose + len(entry.comment)} bytes in its extra fields and comment"
            self._scan.report(Verdict.REVIEW, "hidden-payload", place, text)
            for part, value in (("extra", entry.extra), ("local-extra", local.extra), ("comment", entry.comment)):
                if len(value) > _MAX_LOOSE_EXTRA:
                    self._scan.descend(self._blob, f"{shown(_text(entry.name))}@{part}", value)

    def _content(self, entry: Entry, method: int, packed: memoryview, size: int, other: str) -> None:
        place = self._place(entry) + other
        encrypted = entry.flags & (_ENCRYPTED | _STRONG)
        if method not in METHODS:
            if encrypted:
                self._scan.report(Verdict.REVIEW, "encrypted", place, "only a password opens it")
            else:
                text = f"compressed by a method that is not read here ({method})"
                self._scan.report(Verdict.REVIEW, "unknown-format", place, text)
            return
        self._to_read -= len(packed)
        if self._to_read < 0:
            self._scan.report(Verdict.REVIEW, "limit", place, "its members are together far longer than the archive")
            return
        if is_bomb(len(packed), size):
            self._scan.report(Verdict.BLOCK, "archive-bomb", place, f"{len(packed)} bytes that unpack to {size}")
            return
        if method and (size > MAX_UNPACKED_BYTES or not self._scan.may_unpack(size)):
            self._scan.report(Verdict.REVIEW, "limit", place, f"it unpacks to {size} bytes, too many to look at")
            return
        unpacked = unpack_member(packed, method, size)
        fits = self._fits(entry, method, unpacked, len(packed), size)
        if encrypted and fits:
            self._deceives(place, "marked as encrypted, which it is not: readers that believe the mark do not look")
        elif encrypted:
            self._scan.report(Verdict.REVIEW, "encrypted", place, "only a password opens it")
            return
        elif not fits:
            text = f"its content is not what the archive says of it{': ' + unpacked.error if unpacked.error else ''}"
            self._deceives(place, text)
        self._descend(entry, unpacked.data, other)

    def _fits(self, entry: Entry, method: int, unpacked: Unpacked, packed: int, size: int) -> bool:
        endless = method == 14 and unpacked.error in (ENDS_EARLY, TOO_LONG) and len(unpacked.data) == size
        return (
            (not unpacked.error or endless)
            and len(unpacked.data) == size
            and unpacked.used == packed
            and zlib.crc32(unpacked.data) == entry.crc
        )

    def _descend(self, entry: Entry, content: bytes | bytearray | memoryview, other: str) -> None:
        name = _text(entry.name)
        data = memoryview(content)
        if not len(data) and name.endswith("/"):
            return
        inner = name.removeprefix(self._torch)
        if self._torch and name.startswith(self._torch) and _TORCH.fullmatch(inner):
            if inner[-1].isdigit() and "/" in inner and not _is_disguised(data):
                return  # a tensor's storage: numbers, which every value of every byte is
            if len(data) <= 64 and _TORCH_TEXT.fullmatch(bytes(data)):
                return
        self._scan.descend(self._blob, shown(name) + other, data)

    def _local_reading(self, offset: int) -> None:
        local = parse_local(self._data, offset)
        if local is not None:
            _read_local(self._blob, self._scan, local, len(self._data))

    def _comment(self) -> None:
        comment = self._end.comment
        if any(mark in comment for mark in _MARKS):
            self._deceives(self._blob.place, "its comment has records of another archive in it")
        if len(comment) > _MAX_LOOSE_EXTRA or not comment.isascii() or not comment.decode("latin-1").isprintable():
            text = f"a comment of {len(comment)} bytes that is not a line of text"
            if comment:
                self._scan.report(Verdict.REVIEW, "hidden-payload", f"{self._blob.place}@comment", text)
                self._scan.descend(self._blob, "@comment", comment)

    def _gaps(self) -> None:
        """Everything between the extents: whoever looks elsewhere finds something there."""
        at = 0
        for start, stop in sorted(self._covered):
            if start < at:
                self._deceives(f"{self._blob.place}@{start}", "two of its parts overlap")
            elif start > at:
                self._gap(at, start)
            at = max(at, stop)
        if at < len(self._data):
            self._gap(at, len(self._data))

    def _gap(self, start: int, stop: int) -> None:
        gap = self._data[start:stop]
        place = f"{self._blob.place}@{start}"
        if not start and (bytes(self._data[4:8]) == b"TFL3" or bytes(gap) == b"PK00"):
            return  # TFLite's own way to add files; the mark of an archive that was once split
        if _is_zero(gap):
            self._scan.report(Verdict.REVIEW, "malformed", place, f"{len(gap)} empty bytes outside of every member")
            return
        if _has_mark(gap):
            self._deceives(place, "members or directories that the central directory does not list")
            _walk(self._blob, self._scan, start, stop)
        elif not start:
            self._deceives(place, f"{len(gap)} bytes before the archive: other readers see another format")
        else:
            text = f"{len(gap)} bytes that belong to no member"
            self._scan.report(Verdict.REVIEW, "hidden-payload", place, text)
        self._scan.descend(self._blob, f"@{start}", gap)


def _walk(blob: Blob, scan: Scan, start: int, stop: int) -> None:
    """Members as a reader sees them that goes from header to header and knows no directory."""
    at, found = start, 0
    while (at := _find(blob.data, b"PK\x03\x04", at, stop)) >= 0 and found < MAX_ENTRIES:
        local = parse_local(blob.data, at)
        at += 4
        if local is not None:
            found += 1
            at = max(at, _read_local(blob, scan, local, stop))


def _read_local(blob: Blob, scan: Scan, local: Entry, stop: int) -> int:
    """Judge one member by its header alone, and say where its content ends."""
    place = f"{blob.place}!{shown(_text(local.name))}"
    if is_outside(_text(local.name)):
        scan.report(Verdict.BLOCK, "archive-traversal", place, "its name leads out of the folder")
    open_ended = local.flags & _DESCRIPTOR and not local.packed
    if open_ended and not local.method:
        following = _find(blob.data, b"PK\x03\x04", local.stop, stop)
        stop = following if following >= 0 else stop
    packed = blob.data[local.stop : stop if open_ended else min(stop, local.stop + local.packed)]
    most = (4 << 20) if open_ended else local.size
    if local.method not in METHODS or is_bomb(len(packed), most) or most > MAX_UNPACKED_BYTES:
        scan.report(Verdict.REVIEW, "limit", place, "a member outside of the directory that cannot be unpacked")
        return local.stop
    if local.method and not scan.may_unpack(most):
        return local.stop
    unpacked = unpack_member(packed, local.method, most)
    scan.descend(blob, shown(_text(local.name)), memoryview(unpacked.data))
    return local.stop + (unpacked.used if local.method or not open_ended else 0)


def _find(data: memoryview, mark: bytes, start: int, stop: int) -> int:
    """Like `bytes.find`, in windows, because a view has none and a copy of everything would be too large."""
    window = 1 << 10
    while start < stop:
        found = bytes(data[start : min(stop, start + window + len(mark) - 1)]).find(mark)
        if found >= 0:
            return start + found
        start += window
        window = min(2 * window, 1 << 20)  # short where marks are many, so that the search stays linear
    return -1


def _has_mark(gap: memoryview) -> bool:
    return any(_find(gap, mark, 0, len(gap)) >= 0 for mark in _MARKS)


def _is_zero(gap: memoryview) -> bool:
    window = 1 << 20
    return not any(bytes(gap[at : at + window]).strip(b"\0") for at in range(0, len(gap), window))


def _is_disguised(data: memoryview) -> bool:
    """What starts like a program, an archive or a whole pickle is not taken for numbers because of its name."""
    head = bytes(data[:8])
    pickle = head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and bytes(data[-1:]) == b"."
    return pickle or head.startswith((b"PK\x03\x04", b"#!/", b"\x93NUMPY")) or is_executable(data)


def _text(name: bytes) -> str:
    """UTF-8 where it is, as every reader does for ASCII; otherwise the format's own code page."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")
