"""A text that arrives in pieces: nothing leaves that may still become part of a finding.

Each guard says how far it has decided; what lies behind the least of these leaves, redacted. A clean text is delayed
by at most WINDOW_CHARS, for no rule begins further back than that without something recognisable in it. For every
way to split a text, what leaves is what inspecting the whole would have let through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from vallum.guards.port import Counted, Finding, Mode
from vallum.guards.replacement import Tokens
from vallum.guards.runner import FAILED, GuardRunner, Judged
from vallum.guards.segment import Channel

__all__ = ["Released", "StreamInspector"]

MAX_HELD_CHARS = 32_768  # a private key or token is far smaller; what grows past it is refused, never released
_GATHER_CHARS = 32  # half the window: reading a few words at a time costs a third of reading each piece
_MANY_HELD_CHARS = 1024
_SCAN_EVERY_SHARE = 8  # of a long held text, the part that must be new before it is worth reading again
_CONTEXT_CHARS = 12  # of what has left, since guards look at the characters before a candidate


@dataclass(frozen=True, slots=True)
class Released:
    """`text` may leave. After `blocked`, nothing more does."""

    text: str
    blocked: bool
    findings: tuple[Counted, ...] = ()

    def __repr__(self) -> str:
        return f"Released({len(self.text)} characters, blocked={self.blocked}, {self.findings})"


_BLOCKED = Released("", True)
_NOTHING = Released("", False)


class StreamInspector:
    """One text of one answer. Not for threads."""

    def __init__(self, runner: GuardRunner) -> None:
        self._runner = runner
        self._cursors = runner.cursors()
        self._buffer = ""  # a little of what has left, then what is held
        self._origin = 0  # where the buffer begins in the whole text
        self._released = 0  # up to where the whole text has left
        self._pending: list[Judged] = []  # decided, and not yet left
        self._tokens = Tokens()  # of nobody: in an answer there is no one to give a value back to
        self._blocked = False
        self._unread = 0  # characters that arrived since the buffer was last read

    def feed(self, text: str) -> Released:
        if self._blocked:
            return _BLOCKED
        if not self._cursors:
            return Released(text, False)
        self._buffer += text
        self._unread += len(text)
        if self._origin + len(self._buffer) - self._released < _GATHER_CHARS:
            return _NOTHING
        if self._unread < (len(self._buffer) - _MANY_HELD_CHARS) // _SCAN_EVERY_SHARE:
            return _NOTHING  # something long has begun: reading it anew for each piece would cost its square
        self._unread = 0
        return self._advance(final=False)

    def finish(self) -> Released:
        """The text has ended: what was held is judged as it stands."""
        if self._blocked:
            return _BLOCKED
        return self._advance(final=True) if self._cursors else Released("", False)

    def _advance(self, *, final: bool) -> Released:
        settled = self._origin + len(self._buffer)
        found: list[Finding] = []
        for name, cursor in self._cursors:
            started = monotonic()
            try:
                findings, position = cursor.advance(self._buffer, self._origin, final=final)
                self._runner.check_time(started)
            except Exception:  # noqa: BLE001  fail closed: what cannot be judged is not released
                return self._block([(Finding(name, "", FAILED, self._released, settled), Mode.BLOCK)])
            found += findings
            settled = min(settled, position)
        judged = [(f, mode) for f in found if (mode := self._runner.mode_of(f, Channel.MODEL)) is not Mode.OFF]
        if any(mode is Mode.BLOCK for _, mode in judged):
            return self._block(judged)
        self._pending += [(f, _without_caller(mode)) for f, mode in judged if mode.changes]
        return self._release(settled, judged)

    def _release(self, settled: int, judged: Sequence[Judged]) -> Released:
        if self._pending:
            for finding, _ in sorted(self._pending, key=lambda judged: judged[0].start, reverse=True):
                if finding.start < settled < finding.end:
                    settled = finding.start
        held_from = max(self._released, settled)
        text = self._buffer[self._released - self._origin : held_from - self._origin]
        if self._pending:
            leaving = [(f, mode) for f, mode in self._pending if f.start < settled]
            text = self._runner.replace(text, leaving, self._tokens, self._released)
            self._pending = [(f, mode) for f, mode in self._pending if f.start >= settled]
        self._released = held_from
        if self._origin + len(self._buffer) - held_from > MAX_HELD_CHARS:
            return self._block([*judged, (Finding("stream", "1", FAILED, held_from, held_from), Mode.BLOCK)])
        keep_from = max(self._origin, held_from - _CONTEXT_CHARS)
        self._buffer = self._buffer[keep_from - self._origin :]
        self._origin = keep_from
        return Released(text, False, self._runner.count(judged) if judged else ())

    def _block(self, judged: Sequence[Judged]) -> Released:
        self._blocked = True
        self._buffer = ""
        return Released("", True, self._runner.count(judged))


def _without_caller(mode: Mode) -> Mode:
    return Mode.REDACT if mode is Mode.TOKENIZE else mode
