"""Which integers were seen, while they lie close together: a byte for each, in place of sorting them.

Keys of tables are mostly counted up, and then a byte a value is less than the values themselves. Exact, and told of no
bounds: what a file says of its columns is its writer's word. The window grows with what comes; past `MAX_SPAN` it gives
up, and what it saw goes on to a `Spool`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MAX_SPAN", "Window"]

MAX_SPAN = 1 << 25  # 32 MiB, as much as a spool holds before it writes a run


class Window:
    """A set of 64-bit integers with a count of all that came."""

    def __init__(self, max_span: int = MAX_SPAN) -> None:
        self._max_span = max_span
        self._low = 0
        self._seen: np.ndarray[Any, Any] | None = None
        self.count = 0

    def add(self, values: "np.ndarray[Any, Any]") -> bool:
        """Whether they fit; if not, none of them was added. `values` are int64."""
        import numpy as np

        if not len(values):
            return True
        low, high = int(values.min()), int(values.max())
        if not self._reaches(np, low, high) or self._seen is None:
            return False
        self._seen[values - self._low] = True
        self.count += len(values)
        return True

    def distinct(self) -> int:
        import numpy as np

        return 0 if self._seen is None else int(np.count_nonzero(self._seen))

    def values(self) -> "np.ndarray[Any, Any]":
        """Each value once, ascending."""
        import numpy as np

        if self._seen is None:
            return np.empty(0, np.int64)
        return np.flatnonzero(self._seen) + self._low

    def _reaches(self, np: Any, low: int, high: int) -> bool:
        """Grows to hold both, to twice of what is needed, so that growing stays rare."""
        if self._seen is not None:
            if self._low <= low and high < self._low + len(self._seen):
                return True
            low, high = min(low, self._low), max(high, self._low + len(self._seen) - 1)
        need = high - low + 1
        if need > self._max_span:
            return False
        span = min(self._max_span, 2 * need)
        start = low if self._seen is None or low == self._low else high + 1 - span
        start = max(start, -(1 << 63))
        seen = np.zeros(span, dtype=bool)
        if self._seen is not None:
            seen[self._low - start : self._low - start + len(self._seen)] = self._seen
        self._low, self._seen = start, seen
        return True
