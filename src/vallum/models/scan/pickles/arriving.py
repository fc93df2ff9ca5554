"""Where pickles may begin in a file that arrives in pieces, looked for on the way: it is known when the file is whole.

Finds every place that `starts_of` finds in the whole file, since whether a pattern matches somewhere is a matter of the
bytes that follow, and of no more than `LONGEST`. Patterns are matched in linear time, whatever the bytes are.
"""

from vallum.models.scan.pickles.starts import CANDIDATE, LONGEST, OLD_CANDIDATE, starts_of
from vallum.models.scan.port import Starts

__all__ = ["ArrivingStarts"]

_MAX_STARTS, _STARTS_PER_BYTE = 20_000, 1 / 65_536  # more are hostile: whoever scans looks for them, and has a budget
_COPIED_BYTES = 64 * 1024


class ArrivingStarts:
    """Not safe to share between threads."""

    def __init__(self) -> None:
        self._size = 0
        self._last = b""  # in which it is not known yet what begins
        self._new: list[int] = []
        self._old: list[int] = []
        self._are_too_many = False

    def see(self, piece: bytes) -> None:
        """The next bytes."""
        begin = self._size
        self._size += len(piece)
        if self._are_too_many:
            return
        if len(piece) < _COPIED_BYTES:
            self._last += piece
            known = max(len(self._last) - LONGEST, 0)
            self._search(self._last, self._size - len(self._last), known)
            self._last = self._last[known:]
        else:
            self._search(self._last + piece[:LONGEST], begin - len(self._last), len(self._last))
            self._search(piece, begin, len(piece) - LONGEST)
            self._last = piece[-LONGEST:]

    def starts(self) -> Starts | None:
        """Of all that was seen; None when there are too many to be told."""
        self._search(self._last, self._size - len(self._last), len(self._last))
        self._last = b""
        return None if self._are_too_many else Starts(self._size, self._new, self._old)

    def _search(self, data: bytes, begin: int, stop: int) -> None:
        """What begins in `data` before `stop`, which is `begin` bytes into the file."""
        most = _MAX_STARTS + self._size * _STARTS_PER_BYTE
        for pattern, found in ((CANDIDATE, self._new), (OLD_CANDIDATE, self._old)):
            for at in starts_of(pattern, memoryview(data), 0, much=len(data) >= _COPIED_BYTES):
                if at >= stop:
                    break
                found.append(begin + at)
                if len(found) > most:
                    self._are_too_many = True
                    return
