"""Sets of 64-bit keys larger than memory, as sorted runs on disk.

Polars' distinct count holds a hash table of all keys; here memory stays at a few buffers whatever the number of keys.
Keys are assumed spread over the whole range (hashes, or integers through `spread`), so that equal ranges of values
hold about equally many: each range is merged in memory by itself. Files lie in a private folder and hold hashes under
a key of this process, or, for integers, a bijection of the values: treat them as the data.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RUN_KEYS", "Spool", "spread"]

RUN_KEYS = 1 << 22  # 32 MiB a run: long enough for sorting to be the cost, short enough to be nothing beside a scan
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so a bijection modulo 2**64; its top bits mix all lower ones


def spread(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """64-bit integers to keys over the whole range: equal keys for equal values, and no others."""
    import numpy as np

    mixed = values.view(np.uint64) * np.uint64(_MULTIPLIER)  # wraps
    # the low bits of a product depend on low bits alone, and ranges are cut at the top: fold the top into the bottom
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(_MULTIPLIER)
    return mixed


class Spool:
    """A multiset of keys. `add` as they come, then `repeats`, `repeated_keys` or `shared_keys`. Close it."""

    def __init__(self, folder: Path | None = None, run_keys: int = RUN_KEYS) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="vallum-spool-", dir=folder))
        self._run_keys = run_keys
        self._pending: list[np.ndarray[Any, Any]] = []
        self._waiting = 0
        self._runs: list[Path] = []
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.clear()
        self._pending.clear()
        shutil.rmtree(self._folder)

    def add(self, keys: "np.ndarray[Any, Any]") -> None:
        self._pending.append(keys)
        self._waiting += len(keys)
        self.count += len(keys)
        if self._waiting >= self._run_keys:
            self._flush()

    def repeats(self) -> int:
        """How many keys equal one that was added before: all, less the distinct ones."""
        return sum(int((part[1:] == part[:-1]).sum()) for part in self.ranges())

    def repeated_keys(self, most: int) -> "np.ndarray[Any, Any]":
        """Up to `most` distinct keys that were added more than once."""
        import numpy as np

        found, have = [np.empty(0, np.uint64)], 0
        for part in self.ranges():
            equal = part[1:][part[1:] == part[:-1]]
            if len(equal):
                found.append(np.unique(equal)[: most - have])
                have += len(found[-1])
            if have >= most:
                break
        return np.concatenate(found)

    def shared(self, other: "Spool", most: int) -> "tuple[int, np.ndarray[Any, Any]]":
        """How many keys of this spool (repeats counted) the other holds too, and up to `most` of those keys."""
        import numpy as np

        slices = self._slices(max(self.count, other.count))
        total, have, found = 0, 0, [np.empty(0, np.uint64)]
        for mine, theirs in zip(self.ranges(slices), other.ranges(slices), strict=True):
            if not len(mine) or not len(theirs):
                continue
            at = np.searchsorted(theirs, mine)
            hit = theirs[np.minimum(at, len(theirs) - 1)] == mine
            total += int(hit.sum())
            if have < most:
                found.append(np.unique(mine[hit])[: most - have])
                have += len(found[-1])
        return total, np.concatenate(found)

    def distinct(self) -> int:
        return self.count - self.repeats()

    def ranges(self, slices: int | None = None) -> "Iterator[np.ndarray[Any, Any]]":
        """The keys in ascending order, one range of values after another, each sorted."""
        import numpy as np

        self._flush()
        number = slices or self._slices(self.count)
        edges = [np.uint64(i * (1 << 64) // number) for i in range(1, number)]
        cuts = [_cuts(np, path, edges) for path in self._runs]
        for at in range(number):
            parts = [
                np.fromfile(path, np.uint64, cut[at + 1] - cut[at], offset=8 * cut[at])
                for path, cut in zip(self._runs, cuts, strict=True)
            ]
            merged = np.concatenate(parts) if parts else np.empty(0, np.uint64)
            if len(parts) > 1:
                merged.sort()
            yield merged

    def _slices(self, keys: int) -> int:
        return max(1, -(-keys // self._run_keys))

    def _flush(self) -> None:
        import numpy as np

        if not self._pending:
            return
        run = np.concatenate(self._pending)
        run.sort()
        self._pending, self._waiting = [], 0
        path = self._folder / f"{len(self._runs)}.keys"
        run.tofile(path)
        if len(run):
            self._runs.append(path)


def _cuts(np: Any, path: Path, edges: "list[np.uint64]") -> list[int]:
    """Where the edges lie in a run. Its map is let go at once: each page looked at, and those around it, count as
    memory of the process for as long as the map lives, which over all runs is most of the keys.
    """
    run = np.memmap(path, np.uint64, "r")
    return [0, *(int(np.searchsorted(run, edge)) for edge in edges), len(run)]
