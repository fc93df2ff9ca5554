"""Scanning a file or repository: every file by every format that its content is, and what is inside likewise.

Default deny: what no inspector knows is `review`, an error or a bound reached is `review`, and only what was understood
and found fit is `pass`. Answers content that hides behind an extension (names decide nothing), polyglots (read as
everything they are), nesting (followed to a bound), and scanners that are made to fail (a failure is a finding).
"""

import mmap
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time

from vallum.models.scan.model import FileReport, Finding, Report, Verdict
from vallum.models.scan.port import Blob, Inspector, RepositoryInspector, Starts

__all__ = ["files_of", "scan_file", "scan_path", "together", "with_vouched"]

_MAX_DEPTH = 8
_MAX_UNPACKED_BYTES = 512 << 20  # of one file's nested content, all together
_MAX_MEMBERS = 20_000
_MAX_FINDINGS = 1_000
_MAX_FILES = 100_000
# Of the processor, until no more is begun; what then ends what was begun stays within 2 s for 10 MB, linear above.
_SECONDS_PER_MB = 0.15
_SECONDS = 1.7
_OF_A_CACHE = re.compile(r"(?:\.\./)+blobs/[0-9a-f]{40,64}")


def scan_path(
    path: Path, inspectors: Sequence[Inspector], repository_inspectors: Sequence[RepositoryInspector] = ()
) -> Report:
    """Raises OSError for a path that cannot be read at all; one file that cannot be is a finding."""
    files = files_of(path)
    reports = [scan_file(name, file, inspectors) for name, file in files.items()]
    return together(path, files, reports, inspectors, repository_inspectors)


def files_of(path: Path) -> dict[str, Path]:
    """Every file below, by its path there, in order; a file by itself is its own repository. Raises OSError."""
    if not path.is_dir():
        path.lstat()
        return {path.name: path}
    found = {entry.relative_to(path).as_posix(): entry for entry in _walk(path)}
    return dict(sorted(found.items()))


def scan_file(name: str, file: Path, inspectors: Sequence[Inspector], starts: Starts | None = None) -> FileReport:
    """One file by itself; `starts` are of those very bytes. Never raises."""
    scan, size = _Scan(inspectors), 0
    try:
        blob = _open(name, file, scan)
        if blob is not None:
            size = len(blob)
            scan.file(replace(blob, starts=starts) if starts is not None and starts.size == size else blob)
    except OSError as e:
        scan.report(Verdict.REVIEW, "scanner-error", name, f"it cannot be read: {e.strerror}")
    return FileReport(name, size, tuple(scan.formats), tuple(scan.findings))


def together(
    path: Path,
    files: Mapping[str, Path],
    reports: Sequence[FileReport],
    inspectors: Sequence[Inspector],
    repository_inspectors: Sequence[RepositoryInspector],
) -> Report:
    """The files' reports, and what only all of them together show."""
    scan = _Scan(inspectors)
    if len(files) > _MAX_FILES:
        scan.report(
            Verdict.REVIEW, "limit", str(path), f"more than {_MAX_FILES} files: they are not looked at together"
        )
    elif repository_inspectors:
        blobs = {}
        for name, file in files.items():
            with suppress(OSError):  # which its own report says
                blob = _open(name, file, _Scan(inspectors))
                if blob is not None:
                    blobs[name] = blob
        for inspector in repository_inspectors:
            scan.guarded(partial(inspector.inspect_repository, blobs, scan), str(path), inspector.name)
    reports = with_vouched(reports, scan.vouched)
    findings = [finding for report in reports for finding in report.findings]
    return Report(str(path), tuple(reports), (*findings, *scan.findings), tuple(sorted(scan.vouched)))


def with_vouched(reports: Sequence[FileReport], vouched: Collection[str]) -> list[FileReport]:
    """Without the finding that a file's content is of no known format, where another file says what it is."""
    return [
        replace(report, findings=tuple(one for one in report.findings if not _is_explained(one, report.path)))
        if report.path in vouched
        else report
        for report in reports
    ]


def _is_explained(finding: Finding, path: str) -> bool:
    return finding.technique == "unknown-format" and finding.place == path


class _Scan:
    """One file's: its findings, and how much of its bounds is used up."""

    def __init__(self, inspectors: Sequence[Inspector]) -> None:
        self._inspectors = inspectors
        self.findings: list[Finding] = []
        self.vouched: set[str] = set()
        self.formats: list[str] = []
        self._depth = 0
        self._members = 0
        self._unpacked = 0
        self._until = float("inf")

    def file(self, blob: Blob) -> None:
        self._until = process_time() + max(_SECONDS, _SECONDS_PER_MB * len(blob) / 1e6)
        self._judge(blob)

    def report(self, verdict: Verdict, technique: str, place: str, explanation: str) -> None:
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(Finding(verdict, technique, place, explanation))

    def descend(self, parent: Blob, member: str, data: bytes | memoryview) -> None:
        place = f"{parent.place}!{member}"
        self._members += 1
        if self._depth >= _MAX_DEPTH:
            text = "nested deeper than models are, out of sight of whoever looks at it"
            self.report(Verdict.BLOCK, "limit", place, text)
            return
        if self._members > _MAX_MEMBERS or not self.may_go_on():
            self.report(Verdict.REVIEW, "limit", place, "too many members, or too slow to look at all")
            return
        self._depth += 1
        try:
            self._judge(Blob(member.rsplit("/", 1)[-1], place, memoryview(data)))
        finally:
            self._depth -= 1

    def vouch(self, path: str) -> None:
        self.vouched.add(path)

    def may_go_on(self) -> bool:
        return process_time() < self._until

    def may_unpack(self, size: int) -> bool:
        if self._unpacked + size > _MAX_UNPACKED_BYTES:
            self.report(Verdict.REVIEW, "limit", "", f"unpacks to more than {_MAX_UNPACKED_BYTES >> 20} MiB")
            return False
        self._unpacked += size
        return True

    def guarded(self, work: Callable[[], None], place: str, name: str) -> None:
        """One inspector's failure is a finding, and no reason for another not to look."""
        try:
            work()
        except (MemoryError, RecursionError) as e:
            self.report(Verdict.REVIEW, "limit", place, f"{name}: {type(e).__name__}")
        except Exception as e:  # noqa: BLE001  the one place: whatever an input does to an inspector, it does not pass
            self.report(Verdict.REVIEW, "scanner-error", place, f"{name} failed: {type(e).__name__}")

    def _judge(self, blob: Blob) -> None:
        known = False
        for inspector in self._inspectors:
            if not inspector.recognises(blob):
                continue
            known = True
            if self._depth == 0:
                self.formats.append(inspector.name)
            self.guarded(partial(inspector.inspect, blob, self), blob.place, inspector.name)
        if not known and len(blob):
            self.report(Verdict.REVIEW, "unknown-format", blob.place, "its content is of no format that is known here")


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, followlinks=False):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in links)
        for name in sorted([*names, *links]):
            yield Path(root) / name


def _leads_out(name: str, target: str) -> bool:
    """`name` is the link's path in the repository. The hub's cache links to its own store of contents: not out."""
    if _OF_A_CACHE.fullmatch(target):
        return False
    if os.path.isabs(target) or "\0" in target:
        return True
    depth = name.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _open(name: str, file: Path, scan: _Scan) -> Blob | None:
    """A link, a device or a pipe is not followed: it is a finding."""
    mode = file.lstat().st_mode
    if stat.S_ISLNK(mode):
        target = os.readlink(file)
        if _leads_out(name, target):
            text = f"a symbolic link out of the repository, to `{target[:200]}`"
            scan.report(Verdict.BLOCK, "archive-link", name, text)
        else:
            text = "a symbolic link: where it leads is not part of the repository"
            scan.report(Verdict.REVIEW, "archive-link", name, text)
        return None
    if not stat.S_ISREG(mode):
        scan.report(Verdict.BLOCK, "archive-link", name, "neither a file nor a folder")
        return None
    with file.open("rb") as opened:
        if os.fstat(opened.fileno()).st_size == 0:
            return Blob(file.name, name, memoryview(b""))
        return Blob(file.name, name, memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)))
