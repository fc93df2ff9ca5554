"""What each guard answers: a sentence for people, and the ids other systems know it by.

Sources: OWASP Top 10 for LLM Applications 2025; MITRE ATLAS.
"""

from dataclasses import dataclass

from vallum.guards.port import Finding

__all__ = ["Reference", "reference"]


@dataclass(frozen=True, slots=True)
class Reference:
    explanation: str
    owasp: tuple[str, ...]
    atlas: tuple[str, ...]


_BY_KIND = {
    ("injection", "prompt_injection"): Reference(
        "the user's text reads like an order to drop the application's rules",
        ("LLM01:2025",),
        ("AML.T0051.000", "AML.T0054"),
    ),
    ("injection", "indirect_injection"): Reference(
        "text that was only to be read gives the model orders", ("LLM01:2025",), ("AML.T0051.001",)
    ),
    ("leakage", "system_prompt"): Reference(
        "the answer repeats the application's own instructions", ("LLM07:2025",), ("AML.T0056",)
    ),
    ("leakage", "canary"): Reference(
        "a marker that must never leave the instructions stands in the answer", ("LLM07:2025",), ("AML.T0056",)
    ),
}
_BY_GUARD = {
    "secrets": Reference("a credential, or something with its exact form", ("LLM02:2025",), ("AML.T0055", "AML.T0057")),
    "pii": Reference("a number or address that points at a person", ("LLM02:2025",), ("AML.T0057",)),
    "unicode": Reference("characters that a model reads and a person does not see", ("LLM01:2025",), ("AML.T0068",)),
    "size": Reference("more text than this application takes", ("LLM10:2025",), ("AML.T0029",)),
    "deny": Reference("a phrase that this application does not allow", ("LLM02:2025",), ()),
    "links": Reference(
        "a URL that would carry data to a host nobody allowed", ("LLM05:2025",), ("AML.T0077", "AML.T0057")
    ),
    "markup": Reference("markup that a browser would run", ("LLM05:2025",), ("AML.T0077",)),
    "code": Reference("a command or call that does harm where it is run", ("LLM05:2025", "LLM06:2025"), ("AML.T0050",)),
    "refusal": Reference("the model declines", (), ()),
    "repetition": Reference("the same text over and over", ("LLM10:2025",), ("AML.T0034",)),
    "groundedness": Reference("a statement that the passages do not support", ("LLM09:2025",), ()),
}
_UNKNOWN = Reference("found by a guard that is not one of Vallum's", (), ())


def reference(finding: Finding) -> Reference:
    """What a finding means; its own explanation, where it has one, says more."""
    return _BY_KIND.get((finding.guard, finding.kind)) or _BY_GUARD.get(finding.guard, _UNKNOWN)
