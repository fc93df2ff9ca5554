"""Orders to a model inside what it is to learn from or to read, through the guard for prompt injection.

A document that a model will retrieve is judged as retrieved text. In a fine-tuning example, what a user or a tool says
is judged as such, and what the model is taught to answer as retrieved text: an answer that gives orders teaches them.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from vallum.data.poisoning.suspects import Suspect
from vallum.guards import Channel, Verdict

__all__ = ["find_instructions", "find_instructions_in_examples"]

_CHANNELS: Mapping[str, Channel] = {
    "user": Channel.USER,
    "human": Channel.USER,
    "prompt": Channel.USER,
    "tool": Channel.TOOL,
    "function": Channel.TOOL,
}
_TRUSTED = ("system", "developer")  # orders are what it is for; who may write it is another question


class InjectionJudge(Protocol):
    """What is needed of `vallum.guards.Injection`."""

    def judge(self, text: str, channel: Channel | str = ...) -> Verdict: ...


def find_instructions(documents: Sequence[str], guard: InjectionJudge) -> list[Suspect]:
    """Documents that hold an order to whatever model reads them, the surest first."""
    found = [_judged(row, text, Channel.RETRIEVED, guard, "the document") for row, text in enumerate(documents)]
    return _sorted(found)


def find_instructions_in_examples(
    examples: Sequence[Sequence[tuple[str, str]]], guard: InjectionJudge
) -> list[Suspect]:
    """`examples` are conversations: pairs of a role and what it says. The worst of a conversation counts."""
    found = []
    for row, turns in enumerate(examples):
        judged = [
            _judged(row, text, _CHANNELS.get(role.lower(), Channel.RETRIEVED), guard, f"turn {number} ({role[:20]})")
            for number, (role, text) in enumerate(turns)
            if role.lower() not in _TRUSTED
        ]
        found.append(max((each for each in judged if each is not None), key=lambda s: s.score, default=None))
    return _sorted(found)


def _judged(row: int, text: str, channel: Channel, guard: InjectionJudge, what: str) -> Suspect | None:
    verdict = guard.judge(text, channel)
    if not verdict.is_attack:
        return None
    why = verdict.findings[0].explanation if verdict.findings else "reads like an order"
    return Suspect(row, min(1.0, verdict.score), "instruction", f"{what}: {why}")


def _sorted(found: Sequence[Suspect | None]) -> list[Suspect]:
    return sorted((each for each in found if each is not None), key=lambda s: (-s.score, s.row))
