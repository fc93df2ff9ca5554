"""Guards that others wrote and an operator installed: entry points of the group `vallum.guards`.

An entry point names a function without arguments that returns a `Guard` or a `SegmentGuard`. It runs in the gateway's
process with the gateway's rights: install what you would install there.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from vallum.guards.port import Guard, SegmentGuard
from vallum.kernel.errors import Invalid

__all__ = ["GROUP", "load_plugin"]

GROUP = "vallum.guards"


@cache
def load_plugin(name: str) -> Guard | SegmentGuard:
    """One for the process. Raises Invalid for a name nobody installed, or what is no guard."""
    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        raise Invalid(
            f"no installed package offers a guard named {name}; there are {', '.join(sorted(known)) or 'none'}"
        )
    try:
        make: Callable[[], Any] = known[name].load()
        guard = make()
    except Exception as e:
        raise Invalid(f"the guard {name} cannot be loaded: {type(e).__name__}: {e}") from e
    is_guard = (hasattr(guard, "find") and hasattr(guard, "cursor")) or hasattr(guard, "find_in")
    if not is_guard or getattr(guard, "name", "") != name:
        raise Invalid(f"what is installed as the guard {name} is no guard of that name")
    return guard  # type: ignore[no-any-return]
