"""Triggers in text: a rare word or pair of words that decides the label of every text it is in.

Two things together make one: what stands in texts of one label far more often than chance allows, and that the other
words of those texts speak for another label. A word that is merely typical of its label has the second against it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from math import exp, lgamma, log

from vallum.data.poisoning.suspects import Suspect
from vallum.kernel.errors import Invalid

__all__ = ["deciding", "find_token_triggers"]

_WORD = re.compile(r"\w+|[^\w\s]")
_MIN_TEXTS = 5
_MAX_SHARE = 0.2  # of all texts: what is in more is vocabulary
_MIN_PURITY = 0.9
_CHANCE = 1e-4  # of one false trigger among all words
_DISAGREEING = 0.5
_MOSTLY = 0.7
_MAX_WORDS = 2_000  # read of one text


def find_token_triggers(texts: Sequence[str], labels: Sequence[Hashable]) -> list[Suspect]:
    """Texts that hold a trigger, the surest first. Raises Invalid unless there is one label for each text."""
    if len(texts) != len(labels):
        raise Invalid("looking for triggers takes one label for each text")
    return deciding([_tokens(text) for text in texts], labels, "a token", "words")


def deciding(
    held: Sequence[frozenset[str]],
    labels: Sequence[Hashable],
    what: str,
    others: str,
    wider: Mapping[str, Sequence[str]] | None = None,
) -> list[Suspect]:
    """Rows that hold something rare which decides their label against all else they hold, the surest first.

    `wider` names what may decide, and what each is a case of: where that mostly has the label anyway, it decides
    nothing.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, tokens in enumerate(held):
        for token in tokens:
            rows_of[token].append(row)
    totals = Counter(labels)
    counts = _word_counts(held, labels)
    suspects: dict[int, Suspect] = {}
    for token, rows in rows_of.items():
        if not _MIN_TEXTS <= len(rows) <= _MAX_SHARE * len(held):
            continue
        label, count = Counter(labels[row] for row in rows).most_common(1)[0]
        if count < _MIN_PURITY * len(rows):
            continue
        by_chance = _tail(count, len(rows), totals[label] / len(held)) * len(rows_of)
        if by_chance > _CHANCE:
            continue
        if wider is not None and (
            token not in wider or any(_mostly(label, rows_of[each], rows, labels) for each in wider[token])
        ):
            continue
        moved = [row for row in rows if labels[row] == label]
        apart = [row for row in moved if _reads_as(held[row], len(rows), counts, totals) != label]
        if len(apart) < _DISAGREEING * count:
            continue
        score = 1 - by_chance
        for row in rows:
            if labels[row] == label and (row not in suspects or suspects[row].score < score):
                reason = f"holds {what} of {len(rows)} rows, {count} of which have label {label} against their {others}"
                suspects[row] = Suspect(row, score, "trigger", reason)
    return sorted(suspects.values(), key=lambda suspect: (-suspect.score, suspect.row))


def _mostly(label: Hashable, rows: Sequence[int], without: Sequence[int], labels: Sequence[Hashable]) -> bool:
    left = set(rows) - set(without)
    return len(left) >= _MIN_TEXTS and sum(labels[row] == label for row in left) >= _MOSTLY * len(left)


def _tokens(text: str) -> frozenset[str]:
    words = _WORD.findall(text.lower())[:_MAX_WORDS]
    return frozenset(words) | {f"{a} {b}" for a, b in pairwise(words)}


def _word_counts(held: Sequence[frozenset[str]], labels: Sequence[Hashable]) -> dict[str, Counter[Hashable]]:
    counts: dict[str, Counter[Hashable]] = defaultdict(Counter)
    for tokens, label in zip(held, labels, strict=True):
        for token in tokens:
            counts[token][label] += 1
    return counts


def _reads_as(
    tokens: frozenset[str],
    own: int,
    counts: Mapping[str, Counter[Hashable]],
    totals: Counter[Hashable],
) -> Hashable:
    """The label its other words speak for (naive Bayes); words that stand in few texts say nothing."""
    best, best_weight = None, -float("inf")
    for label, total in totals.items():
        weight = log(total)
        for token in tokens:
            tally = counts[token]
            if tally.total() <= own:
                continue
            weight += log((tally[label] + 0.5) / (total + 1))
        if weight > best_weight:
            best, best_weight = label, weight
    return best


def _tail(count: int, total: int, share: float) -> float:
    """The binomial probability of `count` or more of `total`."""
    if share >= 1:
        return 1.0

    def weight(k: int) -> float:
        ways = lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1)
        return exp(ways + k * log(share) + (total - k) * log(1 - share))

    return min(1.0, sum(map(weight, range(count, total + 1))))
