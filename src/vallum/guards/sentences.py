"""Text in sentences, the same ones whether it comes whole or in pieces: what a recogniser of names needs around one."""

import re
from collections.abc import Callable, Iterator, Sequence

from vallum.guards.port import Finding

__all__ = ["SentenceCursor", "moved", "sentences"]

_END = re.compile(r"[.!?。！？](?=\s)|\n")
_MAX_CHARS = 1000  # a longer one is read in pieces, so that a stream need not be held back for it


def sentences(text: str, *, final: bool) -> Iterator[tuple[int, int]]:
    """Where each complete sentence stands; the last one too when nothing follows."""
    start = 0
    while start < len(text):
        match = _END.search(text, start, start + _MAX_CHARS)
        if match is not None and match.end() < len(text):
            end = match.end()
        elif len(text) - start > _MAX_CHARS:
            end = start + _MAX_CHARS
        elif final:
            end = len(text)
        else:
            return
        yield start, end
        start = end


class SentenceCursor:
    """Finds in each sentence as soon as it is complete; what is not is held back, a thousand characters at most."""

    def __init__(self, find: Callable[[str], Sequence[Finding]]) -> None:
        self._find = find
        self._done = 0

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        found: list[Finding] = []
        begin = self._done
        for start, end in sentences(text[begin - origin :], final=final):
            found += moved(self._find(text[begin - origin + start : begin - origin + end]), begin + start)
            self._done = begin + end
        return found, self._done


def moved(findings: Sequence[Finding], by: int) -> list[Finding]:
    return [
        Finding(f.guard, f.version, f.kind, f.start + by, f.end + by, f.score, f.explanation)
        for f in sorted(findings, key=lambda f: (f.start, -f.end, f.kind))
    ]
