"""7z archives: the header (packed or not), the folders that its coders unpack, and each member as a file of its own.

Answers payloads in a container that few scanners open, names that lead outside, links, two members of one name, bombs,
checksums that lie, and content that the header does not list. What only a password or a coder that is not here opens
is said, and is no pass.
"""

import stat
import zlib

from vallum.models.scan.formats.decompression import MAX_UNPACKED_BYTES, is_bomb
from vallum.models.scan.formats.member_names import is_outside, shown
from vallum.models.scan.formats.seven_zip_coders import ENCRYPTED, is_known, unpack_folder
from vallum.models.scan.formats.seven_zip_records import Folder, Malformed, Member, Streams, read_members, read_streams
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["SevenZipInspector"]

MARK = b"7z\xbc\xaf\x27\x1c"
_START = 32
_ENCODED = 0x17
_MAX_HEADER_BYTES = 16 << 20  # 20,000 members with long names
_UNIX, _REPARSE = 0x8000, 0x400
_MAX_ENCODINGS = 4


class SevenZipInspector:
    name = "7z"

    def recognises(self, blob: Blob) -> bool:
        return blob.head(6) == MARK

    def inspect(self, blob: Blob, scan: Scan) -> None:
        try:
            _Archive(blob, scan).judge()
        except Malformed as e:
            scan.report(Verdict.REVIEW, "malformed", blob.place, f"not a whole 7z archive: {e}")


class _Archive:
    def __init__(self, blob: Blob, scan: Scan) -> None:
        self._blob, self._scan, self._data = blob, scan, blob.data
        self._covered = [(0, _START)]

    def judge(self) -> None:
        header = self._header()
        if header is None:
            return
        streams, members = read_members(header)
        self._names(members)
        self._folders(streams, [member for member in members if member.has_stream])
        self._gaps()

    def _header(self) -> bytes | None:
        start = bytes(self._data[:_START])
        if len(start) < _START:
            raise Malformed("it ends in the middle")
        if start[6]:
            self._scan.report(Verdict.REVIEW, "malformed", self._blob.place, "a version that no reader knows")
        offset, size, crc = (int.from_bytes(start[a:b], "little") for a, b in ((12, 20), (20, 28), (28, 32)))
        if zlib.crc32(start[12:]) != int.from_bytes(start[8:12], "little"):
            self._scan.report(Verdict.REVIEW, "malformed", self._blob.place, "its first header has another checksum")
        at = _START + offset
        if size > _MAX_HEADER_BYTES or at + size > len(self._data):
            raise Malformed("a header that is not in the file, or far too long")
        header = bytes(self._data[at : at + size])
        self._covered.append((at, at + size))
        if zlib.crc32(header) != crc:
            self._scan.report(Verdict.REVIEW, "malformed", self._blob.place, "its header has another checksum")
        for _ in range(_MAX_ENCODINGS):
            if not header or header[0] != _ENCODED:
                return header or b"\x01\0"  # an archive without members has no header at all
            unpacked = self._unpacked_header(header)
            if unpacked is None:
                return None
            header = unpacked
        raise Malformed("a header packed again and again")

    def _unpacked_header(self, header: bytes) -> bytes | None:
        streams, _ = read_streams(header, 1)
        if len(streams.folders) != 1:
            raise Malformed("a packed header that is not one")
        folder = streams.folders[0]
        if folder.size > _MAX_HEADER_BYTES:
            raise Malformed("a header that unpacks to far too much")
        if self._is_closed(folder, f"{self._blob.place}@header"):
            return None
        return bytes(self._unpack(folder, streams, 0, f"{self._blob.place}@header"))

    def _names(self, members: list[Member]) -> None:
        seen: set[str] = set()
        for member in members:
            place = self._place(member)
            if is_outside(member.name):
                text = "its name leads out of the folder that it is unpacked to"
                self._scan.report(Verdict.BLOCK, "archive-traversal", place, text)
            if member.name != shown(member.name):
                text = "control or direction characters in its name, or far too long"
                self._scan.report(Verdict.REVIEW, "archive-deceptive", place, text)
            if member.is_anti:
                text = "an entry that deletes what is there already when it is unpacked"
                self._scan.report(Verdict.BLOCK, "archive-deceptive", place, text)
            plain = "/".join(part for part in member.name.split("/") if part not in ("", "."))
            if plain in seen and not member.is_folder:
                text = "two members of one name: readers differ in which one they take"
                self._scan.report(Verdict.BLOCK, "archive-deceptive", place, text)
            seen.add(plain)
            mode = member.attributes >> 16 if member.attributes & _UNIX else 0
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR) or member.attributes & _REPARSE:
                self._scan.report(Verdict.BLOCK, "archive-link", place, "a link or device, and not a file")

    def _folders(self, streams: Streams, members: list[Member]) -> None:
        if sum(len(parts) for parts in streams.parts) != len(members):
            text = "its header names another number of members than it has streams"
            self._scan.report(Verdict.BLOCK, "archive-deceptive", self._blob.place, text)
        stream = at = 0
        for folder, parts in zip(streams.folders, streams.parts, strict=True):
            own, at = members[at : at + len(parts)], at + len(parts)
            place = self._place(own[0]) if own else self._blob.place
            first, stream = stream, stream + folder.packed_streams
            for start, size in streams.packed[first:stream]:
                self._covered.append((_START + start, _START + start + size))
            if self._is_closed(folder, place):
                continue
            packed = sum(size for _, size in streams.packed[first:stream])
            if is_bomb(min(packed, len(self._data)), folder.size):
                text = f"{packed} bytes that unpack to {folder.size}"
                self._scan.report(Verdict.BLOCK, "archive-bomb", place, text)
            elif folder.size > MAX_UNPACKED_BYTES or not self._scan.may_unpack(sum(folder.sizes)):
                text = f"it unpacks to {folder.size} bytes, too many to look at"
                self._scan.report(Verdict.REVIEW, "limit", place, text)
            else:
                self._members(self._unpack(folder, streams, first, place), parts, own)

    def _is_closed(self, folder: Folder, place: str) -> bool:
        if any(coder.method == ENCRYPTED for coder in folder.coders):
            self._scan.report(Verdict.REVIEW, "encrypted", place, "only a password opens it")
        elif folder.chain is None or not is_known(folder.coders):
            shown_methods = ", ".join(coder.method.hex() for coder in folder.coders)
            text = f"packed by coders that are not read here ({shown_methods})"
            self._scan.report(Verdict.REVIEW, "unknown-format", place, text)
        else:
            return False
        return True

    def _unpack(self, folder: Folder, streams: Streams, number: int, place: str) -> memoryview:
        if number >= len(streams.packed) or folder.chain is None:
            raise Malformed("a folder without a packed stream")
        start, size = streams.packed[number]
        self._covered.append((_START + start, _START + start + size))
        if _START + start + size > len(self._data):
            self._scan.report(Verdict.REVIEW, "size-lie", place, "its packed content is longer than the file")
        packed = self._data[_START + start : _START + start + size]
        unpacked = unpack_folder(packed, [(folder.coders[index], folder.sizes[index]) for index in folder.chain])
        if unpacked.error or (folder.crc is not None and zlib.crc32(unpacked.data) != folder.crc):
            text = f"its content is not what the archive says of it{': ' + unpacked.error if unpacked.error else ''}"
            self._scan.report(Verdict.BLOCK, "archive-deceptive", place, text)
        return memoryview(unpacked.data)

    def _members(self, data: memoryview, parts: list[tuple[int, int | None]], members: list[Member]) -> None:
        at = 0
        for number, (size, crc) in enumerate(parts):
            member = members[number] if number < len(members) else Member(f"@{number}")
            content, at = data[at : at + size], at + size
            if crc is not None and zlib.crc32(content) != crc:
                text = "its content is not what the archive says of it"
                self._scan.report(Verdict.BLOCK, "archive-deceptive", self._place(member), text)
            self._scan.descend(self._blob, shown(member.name), content)
        if at < len(data):
            text = f"{len(data) - at} bytes that belong to no member"
            self._scan.report(Verdict.REVIEW, "hidden-payload", self._blob.place, text)
            self._scan.descend(self._blob, "@rest", data[at:])

    def _place(self, member: Member) -> str:
        return f"{self._blob.place}!{shown(member.name)}"

    def _gaps(self) -> None:
        """What lies between the streams and behind the header, which the header does not tell of."""
        at = 0
        for start, stop in [*sorted(self._covered), (len(self._data), len(self._data))]:
            gap = self._data[at : min(start, len(self._data))]
            if start > at and len(gap):
                text = f"{len(gap)} bytes that belong to no member"
                self._scan.report(Verdict.REVIEW, "hidden-payload", f"{self._blob.place}@{at}", text)
                self._scan.descend(self._blob, f"@{at}", gap)
            at = max(at, stop)
