"""Reading an export of OSV: a zip (`PyPI/all.zip`) or a folder, one JSON document an advisory, streamed one by one.

Nothing is written to the file system, whatever a member is called. Answers zip bombs (bounded by what is read, not
by what a header promises), members outside, links, encrypted ones, the same advisory twice, and an export
that is cut short: one document that cannot be read refuses the whole, because a database with holes says "clear".
"""

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from vallum.models.dependencies.advisories import Advisory, parse_advisory
from vallum.models.dependencies.model import AdvisoriesRefused

__all__ = ["read_export"]

MAX_ADVISORIES = 1_000_000  # of all ecosystems together there are some 600 000
MAX_DOCUMENT_BYTES = 16 << 20
MAX_EXPORT_BYTES = 8 << 30  # unpacked, all together
_NAME = re.compile(r"(?:[\w.-]+/)?[\w.:-]{1,200}\.json", re.ASCII)


def read_export(path: Path) -> Iterator[Advisory]:
    """Every advisory once, in the order of the export. Raises AdvisoriesRefused, at the latest at the end."""
    seen: set[str] = set()
    total = 0
    documents = _from_folder(path) if path.is_dir() else _from_zip(path)
    for name, raw in documents:
        total += len(raw)
        if total > MAX_EXPORT_BYTES:
            raise AdvisoriesRefused(f"{path.name} unpacks to more than {MAX_EXPORT_BYTES >> 30} GiB")
        try:
            advisory = parse_advisory(raw)
        except AdvisoriesRefused as e:
            raise AdvisoriesRefused(f"{path.name}: {name[:200]!r}: {e}") from e
        if advisory.id in seen:
            raise AdvisoriesRefused(f"{path.name}: {advisory.id} is there twice")
        seen.add(advisory.id)
        yield advisory
    if not seen:
        raise AdvisoriesRefused(f"{path.name} holds no advisories")


def _from_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MAX_ADVISORIES:
                raise AdvisoriesRefused(f"{path.name} has more than {MAX_ADVISORIES} members")
            for member in members:
                _hold_member(path, member)
                with archive.open(member) as opened:
                    raw = opened.read(MAX_DOCUMENT_BYTES + 1)
                if len(raw) > MAX_DOCUMENT_BYTES:
                    raise AdvisoriesRefused(f"{path.name}: a member is larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
                yield member.filename, raw
    except OSError as e:
        raise AdvisoriesRefused(f"{path.name} cannot be read: {e.strerror or 'it is damaged'}") from e
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as e:
        raise AdvisoriesRefused(f"{path.name} is no zip that is whole") from e


def _hold_member(path: Path, member: zipfile.ZipInfo) -> None:
    if not _NAME.fullmatch(member.filename) or ".." in member.filename:
        raise AdvisoriesRefused(f"{path.name}: a member is called {member.filename[:100]!r}: this is no export of OSV")
    if member.flag_bits & 0x1:
        raise AdvisoriesRefused(f"{path.name}: a member is encrypted")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise AdvisoriesRefused(f"{path.name}: a member is a link")


def _from_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        names = sorted(entry.name for entry in os.scandir(path) if entry.name.endswith(".json"))
        if len(names) > MAX_ADVISORIES:
            raise AdvisoriesRefused(f"{path.name} has more than {MAX_ADVISORIES} files")
        for name in names:
            # A link, a pipe or a device is none of the files that an export has, and reading one may never end.
            descriptor = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as opened:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise AdvisoriesRefused(f"{path.name}: {name[:100]!r} is no file")
                raw = opened.read(MAX_DOCUMENT_BYTES + 1)
            if len(raw) > MAX_DOCUMENT_BYTES:
                raise AdvisoriesRefused(f"{path.name}: a file is larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
            yield name, raw
    except OSError as e:
        raise AdvisoriesRefused(f"{path.name} cannot be read: {e.strerror}") from e
