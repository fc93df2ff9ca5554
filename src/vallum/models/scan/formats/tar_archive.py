"""Tar archives: old, ustar, pax and GNU. Every header's checksum is computed, and every name is what a reader sees.

Answers names that lead outside, also through a pax header that replaces them, links and devices, headers that lie,
and content behind the end. Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format".
"""

import re

from vallum.models.scan.formats.member_names import is_outside, shown
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["TarInspector"]

_BLOCK = 512
_MAX_NAME_BYTES = 1 << 20  # of a pax or long-name record
_MAX_MEMBERS = 20_000
# As V7, POSIX, GNU, star, libarchive, Go, Java and npm write it: filled with zeros or with spaces, and what ends it.
_USUAL_CHECKSUM = re.compile(rb"(?:[0-7]{6}| {1,5}[1-7][0-7]*)(?:\0 | \0)|[0-7]{7}[\0 ]")
_LINKS = {b"1": "a hard link", b"2": "a symbolic link"}
_DEVICES = {b"3": "a device", b"4": "a device", b"6": "a pipe"}


class TarInspector:
    name = "tar"

    def recognises(self, blob: Blob) -> bool:
        head = blob.head(_BLOCK)
        return len(head) == _BLOCK and (head[257:262] == b"ustar" or (head[0] != 0 and _checksum_fits(head)))

    def inspect(self, blob: Blob, scan: Scan) -> None:
        _Archive(blob, scan).judge()


class _Archive:
    def __init__(self, blob: Blob, scan: Scan) -> None:
        self._blob, self._scan, self._data = blob, scan, blob.data
        self._seen: set[str] = set()
        self._next: dict[str, str] = {}
        self._all: dict[str, str] = {}

    def judge(self) -> None:
        at = members = 0
        while at + _BLOCK <= len(self._data):
            header = bytes(self._data[at : at + _BLOCK])
            if not header.strip(b"\0"):
                self._rest(at)
                return
            members += 1
            size = _number(header[124:136])
            if not _checksum_fits(header) or size is None or members > _MAX_MEMBERS:
                text = "a header whose checksum or size is wrong: some readers stop here, others go on"
                self._scan.report(Verdict.BLOCK, "archive-deceptive", f"{self._blob.place}@{at}", text)
                self._scan.descend(self._blob, f"@{at}", self._data[at:])
                return
            if not _USUAL_CHECKSUM.fullmatch(header[148:156]):
                text = "a checksum in a form that no known program writes"
                self._scan.report(Verdict.REVIEW, "archive-deceptive", f"{self._blob.place}@{at}", text)
            at = self._member(header, at + _BLOCK, size)
        if at < len(self._data):
            self._rest(at)
        elif at > len(self._data) + _BLOCK:
            self._scan.report(Verdict.REVIEW, "size-lie", self._blob.place, "its last member is cut short")

    def _member(self, header: bytes, start: int, size: int) -> int:
        """Judge the member whose content is at `start`; where the next header is."""
        kind = header[156:157]
        if kind in b"xgLK" and kind:
            self._record(kind, bytes(self._data[start : start + min(size, _MAX_NAME_BYTES)]), size)
            return start + size + -size % _BLOCK
        values = self._all | self._next
        self._next = {}
        name = values.get("path", _own_name(header))
        place = f"{self._blob.place}!{shown(name)}"
        if "size" in values:
            real = int(values["size"]) if values["size"].isdigit() and len(values["size"]) < 16 else size
            if real != size and size:
                self._report("archive-deceptive", place, "its two headers differ in its size")
            size = real
        if is_outside(name) or (values.get("path") and is_outside(_own_name(header))):
            self._report("archive-traversal", place, "its name leads out of the folder that it is unpacked to")
        if kind in _LINKS or kind in _DEVICES:
            target = values.get("linkpath", _text(header[157:257]))
            what = _LINKS.get(kind) or _DEVICES[kind]
            self._report("archive-link", place, f"{what}{f' to {shown(target)!r}' if kind in _LINKS else ''}")
            return start + (size + -size % _BLOCK if kind == b"1" and size else 0)
        self._judge_name(name, place, kind)
        if start + size > len(self._data):
            self._report("size-lie", place, f"{size} bytes, of which the file has {max(0, len(self._data) - start)}")
        content = self._data[start : start + size]
        if kind == b"S" or any(key.startswith("GNU.sparse") for key in values):
            text = "a sparse member: its content is not what is written here"
            self._scan.report(Verdict.REVIEW, "archive-deceptive", place, text)
        if kind == b"5" and size:
            self._scan.report(Verdict.REVIEW, "hidden-payload", place, "a folder with content")
        elif kind not in (b"0", b"\0", b"5", b"7", b"S"):
            text = f"a member of a kind that is not known ({kind!r})"
            self._scan.report(Verdict.REVIEW, "unknown-format", place, text)
        if len(content):
            self._scan.descend(self._blob, shown(name), content)
        padding = bytes(self._data[start + size : start + size + -size % _BLOCK])
        if padding.strip(b"\0"):
            text = f"{len(padding)} bytes between its end and the next header"
            self._scan.report(Verdict.REVIEW, "hidden-payload", place, text)
            self._scan.descend(self._blob, f"{shown(name)}@padding", padding)
        return start + size + -size % _BLOCK

    def _judge_name(self, name: str, place: str, kind: bytes) -> None:
        plain = "/".join(part for part in name.split("/") if part not in ("", "."))
        if plain in self._seen and kind != b"5":
            self._report("archive-deceptive", place, "two members of one name: readers differ in which one they take")
        self._seen.add(plain)
        if name != shown(name):
            text = "control or direction characters in its name, or far too long"
            self._scan.report(Verdict.REVIEW, "archive-deceptive", place, text)

    def _record(self, kind: bytes, content: bytes, size: int) -> None:
        """A record that says something of the next member, or of all that follow."""
        if size > _MAX_NAME_BYTES:
            self._report("size-lie", self._blob.place, f"a name of {size} bytes")
        if kind == b"L":
            self._next["path"] = _text(content)
        elif kind == b"K":
            self._next["linkpath"] = _text(content)
        else:
            (self._all if kind == b"g" else self._next).update(self._pax(content))

    def _pax(self, content: bytes) -> dict[str, str]:
        values: dict[str, str] = {}
        at = 0
        while at < len(content) and content[at]:
            digits, space, _ = content[at : at + 8].partition(b" ")
            length = int(digits) if space and digits.isdigit() else 0
            record = content[at : at + length]
            key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
            if not length or not equals or record[-1:] != b"\n":
                self._report("archive-deceptive", self._blob.place, "a pax header that is not one")
                break
            if key in (b"path", b"size", b"linkpath") and key.decode() in values:
                self._report("archive-deceptive", self._blob.place, "a pax header that names its member twice")
            values[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
            at += length
        return values

    def _report(self, technique: str, place: str, text: str) -> None:
        self._scan.report(Verdict.BLOCK, technique, place, text)

    def _rest(self, at: int) -> None:
        """Behind the end there are empty blocks, and nothing else."""
        window = 1 << 20
        for start in range(at, len(self._data), window):
            part = bytes(self._data[start : start + window])
            if part.strip(b"\0"):
                start += len(part) - len(part.lstrip(b"\0"))
                start -= start % _BLOCK
                text = "content behind the end of the archive"
                self._scan.report(Verdict.REVIEW, "hidden-payload", f"{self._blob.place}@{start}", text)
                self._scan.descend(self._blob, f"@{start}", self._data[start:])
                return


def _own_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _number(field: bytes) -> int | None:
    """Octal digits, or GNU's base 256; None for neither, and for a negative one."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 and not any(field[1:5]) else None
    digits = field.strip(b" \0")
    return int(digits or b"0", 8) if all(digit in b"01234567" for digit in digits) else None


def _checksum_fits(header: bytes) -> bool:
    said = _number(header[148:156])
    return said is not None and said == sum(header[:148]) + 8 * 0x20 + sum(header[156:])
