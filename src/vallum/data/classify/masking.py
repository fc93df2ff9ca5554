"""Texts without what was found in them: each span becomes its kind in brackets, and the rest stays."""

from collections.abc import Iterable, Sequence

from vallum.data.classify.kinds import category_of, class_of
from vallum.data.classify.spans import UNREADABLE, SpanClassifier
from vallum.guards.port import Finding

__all__ = ["mask_spans"]

_UNREADABLE = "[unreadable]"


def mask_spans(finder: SpanClassifier, texts: Sequence[str], of: Sequence[str] = ()) -> list[str]:
    """`of` names categories or classes that are masked; all without. A text that cannot be judged is left out whole."""
    masked = list(texts)
    for at, findings in finder.find_all(texts):
        masked[at] = _masked(texts[at], findings, of)
    return masked


def _masked(text: str, findings: Iterable[Finding], of: Sequence[str]) -> str:
    made, done = list[str](), 0
    for finding in sorted(findings, key=lambda f: (f.start, -f.end)):
        if finding.kind == UNREADABLE:
            return _UNREADABLE
        told = {category_of(finding.kind, finding.guard).value, class_of(finding.kind, finding.guard)}
        if (of and not told & set(of)) or finding.end <= done:
            continue
        if finding.start >= done:
            made += [text[done : finding.start], f"[{finding.kind.upper()}]"]
        done = finding.end  # of two that overlap, the rest of the second goes with the first
    return "".join([*made, text[done:]])
