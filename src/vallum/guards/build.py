"""From an application's settings to a runner: explicit, ordered, and an unknown name stops start-up."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import cast

from vallum.guards.deny import DenyList
from vallum.guards.exceptions import Exempt
from vallum.guards.injection import Injection, Judge
from vallum.guards.invisible import InvisibleText
from vallum.guards.output import (
    Repetition,
    build_code_guard,
    build_links_guard,
    build_markup_guard,
    build_refusal_guard,
)
from vallum.guards.patterns import RuleGuard
from vallum.guards.pii import build_pii_guard
from vallum.guards.plugins import load_plugin
from vallum.guards.port import Guard, Mode, SegmentGuard
from vallum.guards.runner import DEFAULT_BUDGET_SECONDS, GuardRunner
from vallum.guards.secrets import build_secrets_guard
from vallum.guards.segment import Channel
from vallum.guards.size import Size
from vallum.guards.structure import KINDS as STRUCTURE_KINDS
from vallum.guards.topics import Topic, TopicGuard
from vallum.kernel.errors import Invalid

__all__ = ["GUARDS", "build_runner", "kinds_of"]


GUARDS = frozenset(
    {"size", "secrets", "pii", "unicode", "deny", "topics", "links", "markup", "code", "refusal", "repetition",
     "injection", "leakage", "groundedness", "structure"}
)  # fmt: skip


def build_runner(
    modes: Mapping[str, Mode],
    *,
    max_chars: int,
    deny_phrases: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    thresholds: Mapping[Channel, float] | None = None,
    exceptions: Sequence[Exempt] = (),
    plugins: Sequence[tuple[str, Mode]] = (),
    more: Sequence[tuple[Guard, Mode]] = (),
    topics: Sequence[Topic] = (),
    judge: Judge | None = None,
    budget_seconds: float = DEFAULT_BUDGET_SECONDS,
) -> GuardRunner:
    """Guards by name, `off` where unnamed; `plugins` are installed ones, `more` made by the caller.

    `judge` is a larger model of somebody's, asked about texts near the injection guard's threshold.

    Raises Invalid for a name that is no guard's.
    """
    guards: dict[str, Guard] = {
        "size": Size(max_chars),
        "secrets": build_secrets_guard(),
        "pii": build_pii_guard(),
        "unicode": InvisibleText(),
        "deny": DenyList(deny_phrases),
        **({"topics": TopicGuard(topics)} if topics else {}),
        "links": build_links_guard(allowed_hosts),
        "markup": build_markup_guard(),
        "code": build_code_guard(),
        "refusal": build_refusal_guard(),
        "repetition": Repetition(),
    }
    try:
        modes = {name: Mode(mode) for name, mode in modes.items()}
    except ValueError as e:
        raise Invalid(f"{e}; there are {', '.join(Mode)}") from e
    unknown = sorted(set(modes) - set(guards) - {"injection", "topics"})
    if unknown:
        raise Invalid(f"there is no guard named {', '.join(unknown)}; there are {', '.join(sorted(GUARDS))}")
    readers: list[tuple[SegmentGuard, Mode]] = []
    wanted = modes.get("injection", Mode.OFF) is not Mode.OFF or any(e.guard == "injection" for e in exceptions)
    if wanted:
        shared = not thresholds and judge is None
        injection = _shared_injection() if shared else Injection(thresholds=thresholds, judge=judge)
        readers.append((injection, modes.get("injection", Mode.OFF)))
    named = [(guard, modes.get(name, Mode.OFF)) for name, guard in guards.items()]
    taken: set[str] = set()
    for name, mode in plugins:
        plugin = load_plugin(name)
        _check_name(name, taken)
        if hasattr(plugin, "find_in"):
            readers.append((cast(SegmentGuard, plugin), mode))
        else:
            named.append((plugin, mode))
    for guard, mode in more:
        _check_name(guard.name, taken)
        named.append((guard, mode))
    waits = judge is not None or bool(plugins) or bool(more)
    return GuardRunner(named, readers, exceptions, budget_seconds=budget_seconds, waits=waits)


def _check_name(name: str, taken: set[str]) -> None:
    if name in taken:
        raise Invalid(f"there are two guards named {name}")
    taken.add(name)
    if name in GUARDS:
        raise Invalid(f"the guard {name} is Vallum's own; a plug-in has another name")


def kinds_of(name: str) -> frozenset[str] | None:
    """What a guard of rules may find; None for one whose kinds are no closed list."""
    rules: Mapping[str, Callable[[], RuleGuard]] = {
        "secrets": build_secrets_guard, "pii": build_pii_guard, "markup": build_markup_guard, "code": build_code_guard,
        "links": build_links_guard,
    }  # fmt: skip
    if name in rules:
        return frozenset(owned.rule.kind for owned in rules[name]().owned)
    return _KINDS.get(name)


_KINDS: Mapping[str, frozenset[str]] = {
    "size": frozenset({"oversized"}),
    "deny": frozenset({"denied_phrase"}),
    "injection": frozenset({"prompt_injection", "indirect_injection"}),
    "leakage": frozenset({"system_prompt", "canary"}),
    "structure": frozenset(STRUCTURE_KINDS),
}


@cache
def _shared_injection() -> Injection:
    """Some megabytes of weights, for every application of the process."""
    return Injection()
