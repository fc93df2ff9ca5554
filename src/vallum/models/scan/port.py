"""What an inspector is: it knows a format by its content, reads it without running anything, and reports.

Inspectors are pure: bytes in, findings out through the `Scan`. What they find inside (a member, a decompressed stream,
a decoded text) they hand to `Scan.descend`, which judges it as if it were a file of its own, to a bound of depth and
size. They never raise for bad input: what is malformed is a finding. Whatever does escape is one, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from vallum.models.scan.model import Verdict

__all__ = ["Blob", "Inspector", "RepositoryInspector", "Scan", "Starts"]


class Starts(NamedTuple):
    """Every place in a file of `size` bytes where a pickle may begin, by its header or (`old`) without, in order."""

    size: int
    new: Sequence[int]
    old: Sequence[int]


@dataclass(frozen=True, slots=True)
class Blob:
    """Some bytes and what they are called. `data` may be a mapped file: slice what is needed, copy nothing large.

    `name` is the last part of the path, for formats that have no mark of their own; it is a hint and never decides
    that something is harmless. `starts` is there when somebody who is trusted has looked for them already.
    """

    name: str
    place: str
    data: memoryview
    starts: Starts | None = None

    def head(self, size: int = 4096) -> bytes:
        return bytes(self.data[:size])

    def __len__(self) -> int:
        return len(self.data)


class Scan(Protocol):
    """Where findings and nested content go; one for each file."""

    def report(self, verdict: Verdict, technique: str, place: str, explanation: str) -> None: ...

    def descend(self, parent: Blob, member: str, data: bytes | memoryview) -> None:
        """Judge what is inside `parent` as a file of its own, at `place!member`. Past the bounds, that is a finding."""
        ...

    def vouch(self, path: str) -> None:
        """Another file says what all of that file's content is, which by itself is of no known format. Only for those
        who see all of a repository."""
        ...

    def may_go_on(self) -> bool:
        """Whether there is time left for this file. Whoever stops because there is none says so: it is no pass."""
        ...

    def may_unpack(self, size: int) -> bool:
        """Whether that many bytes more may be unpacked in this file; asks for them, and reports when not."""
        ...


class Inspector(Protocol):
    """One format. Several may recognise one file: a polyglot is read as everything it is."""

    name: str

    def recognises(self, blob: Blob) -> bool:
        """By content. Cheap: a few bytes at the start or end."""
        ...

    def inspect(self, blob: Blob, scan: Scan) -> None: ...


class RepositoryInspector(Protocol):
    """What only several files together show: an index, `auto_map`, code beside weights."""

    name: str

    def inspect_repository(self, files: Mapping[str, Blob], scan: Scan) -> None:
        """`files` by their path in the repository, with `/`."""
        ...
