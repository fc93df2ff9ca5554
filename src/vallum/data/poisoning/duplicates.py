"""Floods of near-duplicates: many texts that say nearly the same, to weigh more than they should.

MinHash (Broder, 1997) over runs of five words, in bands; what falls together in a band is compared by its whole
signature. Deterministic: the hash functions are fixed. Work grows linearly with the texts. Needs numpy.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from zlib import crc32

from vallum.data.poisoning.disagreement import libraries
from vallum.data.poisoning.suspects import Suspect
from vallum.kernel.errors import Invalid

__all__ = ["near_duplicates"]

_PERMUTATIONS = 64
_BANDS = 16
_RUN = 5
_PRIME = (1 << 31) - 1  # products of two residues stay within 64 bits
_MAX_WORDS = 5_000  # read of one text
_MAX_COMPARED = 20  # of a band's texts; in a flood, each is near one of the first
_WORD = re.compile(r"\w+")


def near_duplicates(texts: Sequence[str], *, similarity: float = 0.7, flood: int = 5) -> list[Suspect]:
    """Every text but the first of each group of at least `flood` that are alike; the largest groups first.

    `similarity` is the share of five-word runs two texts have in common, as MinHash estimates it (its standard error
    is at most 0.063).
    """
    if not 0 < similarity <= 1 or flood < 2:
        raise Invalid("similarity is above 0 and at most 1, and a flood two texts or more")
    np, _ = libraries()
    chance = np.random.default_rng(20260101)
    factors = chance.integers(1, _PRIME, _PERMUTATIONS, dtype=np.int64)
    offsets = chance.integers(0, _PRIME, _PERMUTATIONS, dtype=np.int64)
    signatures = np.empty((len(texts), _PERMUTATIONS), dtype=np.int64)
    for row, text in enumerate(texts):
        runs = np.array(_runs(text), dtype=np.int64) % _PRIME
        signatures[row] = ((runs[:, None] * factors + offsets) % _PRIME).min(0)
    parents = list(range(len(texts)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for band in np.split(signatures, _BANDS, axis=1):
        together: dict[bytes, list[int]] = defaultdict(list)
        for row, part in enumerate(np.ascontiguousarray(band)):
            together[part.tobytes()].append(row)
        for rows in together.values():
            for place, row in enumerate(rows[1:], 1):
                for other in rows[: min(place, _MAX_COMPARED)]:
                    if root(other) == root(row):
                        break
                    if (signatures[row] == signatures[other]).mean() >= similarity:
                        parents[root(row)] = root(other)
                        break
    groups: dict[int, list[int]] = defaultdict(list)
    for row in range(len(texts)):
        groups[root(row)].append(row)
    floods = sorted((g for g in groups.values() if len(g) >= flood), key=lambda g: (-len(g), g[0]))
    return [
        Suspect(
            row,
            1 - 1 / len(group),
            "near_duplicate",
            f"one of {len(group)} texts that say nearly the same as row {group[0]}",
        )
        for group in floods
        for row in group[1:]
    ]


def _runs(text: str) -> list[int]:
    words = _WORD.findall(text.lower())[:_MAX_WORDS]
    if len(words) <= _RUN:
        return [crc32(" ".join(words).encode("utf-8", "surrogatepass"))]
    return [
        crc32(" ".join(words[at : at + _RUN]).encode("utf-8", "surrogatepass")) for at in range(len(words) - _RUN + 1)
    ]
