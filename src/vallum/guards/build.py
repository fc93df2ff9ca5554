"""From an application's settings to a runner: explicit, ordered, and an unknown name stops start-up."""

from collections.abc import Mapping, Sequence

from vallum.guards.deny import DenyList
from vallum.guards.invisible import InvisibleText
from vallum.guards.pii import build_pii_guard
from vallum.guards.port import Guard, Mode
from vallum.guards.runner import GuardRunner
from vallum.guards.secrets import build_secrets_guard
from vallum.guards.size import Size
from vallum.kernel.errors import Invalid

__all__ = ["build_runner"]


def build_runner(modes: Mapping[str, Mode], *, deny_phrases: Sequence[str] = (), max_chars: int) -> GuardRunner:
    """Guards by name, `off` where unnamed. Raises Invalid for a name that is no guard's.

    A text that is too long has no part to take out: for `size`, redact is block.
    """
    guards: dict[str, Guard] = {
        "size": Size(max_chars),
        "secrets": build_secrets_guard(),
        "pii": build_pii_guard(),
        "unicode": InvisibleText(),
        "deny": DenyList(deny_phrases),
    }
    unknown = sorted(set(modes) - set(guards))
    if unknown:
        raise Invalid(f"there is no guard named {', '.join(unknown)}; there are {', '.join(guards)}")
    if modes.get("size") is Mode.REDACT:
        modes = {**modes, "size": Mode.BLOCK}
    return GuardRunner([(guard, modes.get(name, Mode.OFF)) for name, guard in guards.items()])
