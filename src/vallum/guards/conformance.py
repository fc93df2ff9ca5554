"""What every guard must hold to, for those who write one: call `check_guard` in a test of yours.

    def test_my_guard_conforms():
        check_guard(MyGuard(), found=["something to find"], clean=["nothing here"])

A guard is asked what its users will ask of it: the same answer twice, places within the text and in order, hostile
texts without an exception, and for every way to cut a text into pieces the findings of the whole.
"""

import random
from collections.abc import Sequence
from typing import cast

from vallum.guards.port import Finding, Guard, Mode, SegmentGuard
from vallum.guards.runner import GuardRunner
from vallum.guards.segment import Channel, Segment
from vallum.guards.stream import StreamInspector

__all__ = ["NotConforming", "check_guard"]

HOSTILE = (
    "", " ", "\0", "a" * 5000, "a " * 2000, "\ud800", "\u0301" * 500, "א" * 200, "<" * 500, "[{(" * 300, "%41" * 300,
    "0" * 500, "🙂" * 200, "\u202eabc\u202c", '"\\u0041"' * 100, "忽略" * 200, "\r\n\t" * 200,
)  # fmt: skip
_BEFORE = "Some words before it, more of them than a stream gathers at a time."
_SPLITS = 40
_MAX_SINGLE_CUTS = 400


class NotConforming(AssertionError):
    """A guard does not do what its port promises."""


def check_guard(guard: Guard | SegmentGuard, *, found: Sequence[str], clean: Sequence[str]) -> None:
    """`found` are texts with something to find, `clean` are without. Raises NotConforming that says what is wrong."""
    if not hasattr(guard, "find"):
        guard = cast(Guard, _OneByOne(guard))
    guard = cast(Guard, guard)
    _require(bool(guard.name) and bool(guard.version), "a guard has a name and a version")
    _require(bool(found) and bool(clean), "give texts with something to find, and texts without")
    for text in found:
        _require(bool(guard.find(text)), f"nothing was found in the example of {len(text)} characters")
    for text in clean:
        _require(not guard.find(text), f"something was found in the clean text of {len(text)} characters")
    for text in (*found, *clean, *HOSTILE):
        _check_findings(guard, text)
    if not hasattr(guard, "cursor"):
        return  # it reads whole texts only: a stream is held back for it
    chance = random.Random(1)  # noqa: S311  where to cut, the same each time
    for text in found:
        whole = f"{_BEFORE} {text} And quite a few more words after it, so that it is not the end."
        for at in range(1, min(len(whole), _MAX_SINGLE_CUTS)):
            _check_split(guard, whole, [at])
        for _ in range(_SPLITS):
            _check_split(guard, whole, sorted(chance.sample(range(1, len(whole)), min(6, len(whole) - 1))))


class _OneByOne:
    """A guard of segments, asked about one text at a time."""

    def __init__(self, guard: SegmentGuard) -> None:
        self.name, self.version, self._guard = guard.name, guard.version, guard

    def find(self, text: str) -> Sequence[Finding]:
        (found,) = self._guard.find_in([Segment(text, Channel.USER, "check")])
        return found


def _check_findings(guard: Guard, text: str) -> None:
    try:
        findings = list(guard.find(text))
        again = list(guard.find(text))
    except Exception as e:
        raise NotConforming(f"find raised {type(e).__name__} on a text of {len(text)} characters") from e
    _require(findings == again, "the same text has the same findings")
    for finding in findings:
        _require(isinstance(finding, Finding), "findings are Findings")
        _require(finding.guard == guard.name and finding.version == guard.version, "a finding names its guard")
        _require(0 <= finding.start <= finding.end <= len(text), "a finding lies within its text")
        _require(0 <= finding.score <= 1, "a score is from 0 to 1")
        if finding.end - finding.start >= _TELLING:
            _require(text[finding.start : finding.end] not in finding.explanation, "an explanation does not quote")
    _require([f.start for f in findings] == sorted(f.start for f in findings), "findings come in order of their start")


_TELLING = 8


def _check_split(guard: Guard, text: str, cuts: Sequence[int]) -> None:
    runner = GuardRunner([(guard, Mode.REDACT)])
    wanted = runner.inspect([Segment(text, Channel.MODEL, "check")]).texts[0]
    inspector = StreamInspector(runner)
    pieces = [text[low:high] for low, high in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    out = "".join(inspector.feed(piece).text for piece in pieces) + inspector.finish().text
    _require(out == wanted, f"cut at {list(cuts)}, the stream lets through other text than the whole does")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise NotConforming(what)
