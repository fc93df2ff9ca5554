"""Random texts from a grammar file: `= name` begins a rule, each line below it is one alternative, {name} expands."""

import random
import re
from pathlib import Path

__all__ = ["Grammar"]

_SLOT = re.compile(r"\{([a-z_0-9]+|[A-Z][a-z]+)\}")
_MAX_DEPTH = 30


class Grammar:
    """Raises ValueError for a slot without a rule."""

    def __init__(self, file: Path) -> None:
        self._rules: dict[str, list[str]] = {}
        rule: list[str] = []
        for line in file.read_text().splitlines():
            if line.startswith("= "):
                rule = self._rules.setdefault(line[2:].strip(), [])
            elif not line.startswith("# ") or rule:
                rule.append(line)
        for name, alternatives in self._rules.items():
            while len(alternatives) > 1 and not alternatives[-1]:
                alternatives.pop()  # the empty lines that part one rule from the next
            for slot in _SLOT.findall("\n".join(alternatives)):
                if slot not in self._rules:
                    raise ValueError(f"{file.name}: {name} names {slot}, which has no rule")

    def expand(self, name: str, random: random.Random) -> str:
        return self._expand("{" + name + "}", random, 0).replace("\\n", "\n")

    def _expand(self, text: str, random: random.Random, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise ValueError(f"the grammar does not end: {text[:60]}")
        return _SLOT.sub(lambda m: self._expand(random.choice(self._rules[m[1]]), random, depth + 1), text)
