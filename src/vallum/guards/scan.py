"""Guards on their own: a text and its channel in, one verdict out. What `vallum guard` and notebooks use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from vallum.guards.catalogue import reference
from vallum.guards.injection import Injection
from vallum.guards.invisible import InvisibleText
from vallum.guards.output import (
    Repetition,
    build_code_guard,
    build_links_guard,
    build_markup_guard,
    build_refusal_guard,
)
from vallum.guards.pii import build_pii_guard
from vallum.guards.port import Finding
from vallum.guards.secrets import build_secrets_guard
from vallum.guards.segment import Channel
from vallum.kernel.errors import Invalid

__all__ = ["SCANNERS", "Scan", "scanner"]

_RULES_THRESHOLD = 0.5  # rules are sure: 1 with a finding, 0 without


@dataclass(frozen=True, slots=True)
class Scan:
    score: float
    threshold: float
    findings: tuple[Finding, ...]

    @property
    def is_flagged(self) -> bool:
        return self.score >= self.threshold

    def to_json(self) -> dict[str, Any]:
        return {
            "score": round(self.score, 4), "threshold": self.threshold,
            "verdict": "flagged" if self.is_flagged else "clean",
            "findings": [_finding(finding) for finding in self.findings],
        }  # fmt: skip


def _finding(finding: Finding) -> dict[str, Any]:
    known = reference(finding)
    return {
        "guard": finding.guard, "version": finding.version, "kind": finding.kind, "span": [finding.start, finding.end],
        "score": round(finding.score, 4), "explanation": finding.explanation or known.explanation,
        "owasp": list(known.owasp), "atlas": list(known.atlas),
    }  # fmt: skip


Scanner = Callable[[str, Channel], Scan]


def _by_rules(*finders: Callable[[str], Sequence[Finding]]) -> Scanner:
    def scan(text: str, channel: Channel) -> Scan:
        found = sorted((f for find in finders for f in find(text)), key=lambda f: (f.start, f.end, f.guard, f.kind))
        return Scan(1.0 if found else 0.0, _RULES_THRESHOLD, tuple(found))

    return scan


def _injection() -> Scanner:
    guard = Injection()

    def scan(text: str, channel: Channel) -> Scan:
        verdict = guard.judge(text, channel)
        return Scan(verdict.score, verdict.threshold, verdict.findings)

    return scan


def _output() -> Scanner:
    """Secrets and personal data among what an answer must not hold."""
    guards = (build_links_guard(), build_markup_guard(), build_code_guard(), Repetition(), build_secrets_guard())
    return _by_rules(*(guard.find for guard in (*guards, build_pii_guard())))


SCANNERS: Mapping[str, Callable[[], Scanner]] = {
    "injection": _injection,
    "pii": lambda: _by_rules(build_pii_guard().find),
    "secrets": lambda: _by_rules(build_secrets_guard().find),
    "output": _output,
    "links": lambda: _by_rules(build_links_guard().find),
    "markup": lambda: _by_rules(build_markup_guard().find),
    "code": lambda: _by_rules(build_code_guard().find),
    "repetition": lambda: _by_rules(Repetition().find),
    "unicode": lambda: _by_rules(InvisibleText().find),
    "refusal": lambda: _by_rules(build_refusal_guard().find),
}


@cache
def scanner(name: str) -> Scanner:
    """Raises Invalid for an unknown name."""
    try:
        return SCANNERS[name]()
    except KeyError:
        raise Invalid(f"there is no guard named {name}; there are {', '.join(SCANNERS)}") from None
