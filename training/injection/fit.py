"""From texts to models: two heads for each kind of channel, small enough to commit, and how their logits add up.

Of a user's text one head weighs the whole, another its windows. A document has the head for windows alone, which the
guard also gives its sentences, lines and cells: a head of their own, trained on them, told clean from injected worse.
"""

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, chain
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from corpus import Text
from vallum.guards.injection.features import MASK, features_of, tokenize
from vallum.guards.injection.guard import sides_of
from vallum.guards.injection.model import Evidence, LinearModel, write_tensors
from vallum.guards.injection.signs import SIGNS, find_signs
from vallum.guards.injection.store import build_model

__all__ = ["SIZES", "Head", "calibrate", "fit_heads", "linear_model", "model_file", "stack_features"]

LENGTH = {"user": 0.0, "data": 0.7}  # logits that a window must be worse by, in a text of twice the tokens
SIZES = {"user": (24, 64), "data": (12, 24, 48)}  # tokens in a window
HEADS = {"user": ("text", "window"), "data": ("window",)}
_WINDOWS_PER_TEXT = 4
_ATTACK_WINDOWS = 2
_REGULARISATION = 3.0
_TOLERANCE = 1e-3  # weights are rounded to a hundredth of the largest; more exact ones would be the same
_OFTEN = 100
_INT8 = 127


@dataclass(frozen=True, slots=True)
class Head:
    """int8 weights by feature; a logit is `scale` times their sum, plus `bias`."""

    weights: bytes
    scale: float
    bias: float


class _Bag:
    """Sparse rows: counts of features over the square root of the number of tokens, as the model divides.

    The same row is kept once, with how often it was added: texts come several times, and short ones are all windows.
    """

    def __init__(self) -> None:
        self._starts, self._columns, self._values, self._labels = [0], [], [], []
        self._times: list[int] = []
        self._places: dict[tuple[int, bytes], int] = {}

    def __len__(self) -> int:
        return sum(self._times)

    def add(self, features: Any, tokens: int, label: int) -> None:
        """`features` of so many tokens, as an array, token by token."""
        place = self._places.setdefault((label, blake2b(features.tobytes(), digest_size=16).digest()), len(self._times))
        if place < len(self._times):
            self._times[place] += 1
            return
        columns, counts = np.unique(features, return_counts=True)
        self._columns.append(columns)
        self._values.append((counts / np.sqrt(tokens)).astype(np.float32))
        self._starts.append(self._starts[-1] + len(columns))
        self._labels.append(label)
        self._times.append(1)

    def fit(self) -> Head:
        shape, times = (len(self._labels), MASK + 1), np.array(self._times, dtype=np.float64)
        rows = sp.csr_matrix((np.concatenate(self._values), np.concatenate(self._columns), self._starts), shape=shape)
        seen = np.bincount(rows.indices, weights=np.repeat(times, np.diff(self._starts)), minlength=shape[1])
        trust = np.sqrt(np.minimum(seen, _OFTEN) / _OFTEN)  # what was seen in few texts may weigh little
        model = LogisticRegression(C=_REGULARISATION, solver="liblinear", max_iter=300, tol=_TOLERANCE, random_state=0)
        model.fit(rows @ sp.diags(trust.astype(np.float32)), np.array(self._labels), sample_weight=times)
        return _head(model.coef_[0] * trust, float(model.intercept_[0]))


def fit_heads(
    texts: Iterable[Text], seed: int = 0, kinds: Sequence[str] = ("user", "data")
) -> dict[str, dict[str, Head]]:
    """Heads "text" and "window" for users, "window" for documents."""
    chance = random.Random(seed)
    bags = {kind: {head: _Bag() for head in heads} for kind, heads in HEADS.items()}
    for text in texts:
        tokens = tokenize(text.text)
        if not tokens:
            continue
        wanted = [row for row in _rows(text, len(tokens), chance) if row[0] in kinds]
        if not wanted:
            continue
        by_token = features_of(tokens)
        features = np.fromiter(chain.from_iterable(by_token), dtype=np.int32)
        begins = [0, *accumulate(map(len, by_token))]  # where each token's features begin
        for kind, head, low, high, label in wanted:
            bags[kind][head].add(features[begins[low] : begins[high]], high - low, label)
    made: dict[str, dict[str, Head]] = {}
    for kind in kinds:
        for name, bag in bags[kind].items():
            made.setdefault(kind, {})[name] = bag.fit()
            print(f"{kind} {name}: {len(bag)} examples", file=sys.stderr, flush=True)
    return made


def _rows(text: Text, count: int, chance: random.Random) -> Iterator[tuple[str, str, int, int, int]]:
    """What a text of so many tokens is shown as: to which head of which kind, from where to where, with which label."""
    if not text.data:
        yield "user", "text", 0, count, text.label
        if text.label == 0 and chance.random() < _PASTED * _AS_DOCUMENT.get(text.source, 1.0):
            yield "data", "window", 0, count, 0
    elif text.label == 0 and chance.random() < _PASTED and text.source not in _NEVER_PASTED:
        yield "user", "text", 0, count, 0
    is_shown = not text.is_kept_back
    for low, high, label in _labelled(text, count, chance):
        if is_shown:
            yield "data" if text.data else "user", "window", low, high, label
        if not text.data and label == 0 and chance.random() < _AS_DOCUMENT.get(text.source, 1.0):
            yield "data", "window", low, high, 0


# How many of a user's harmless texts are harmless in a document, too: personas and set-ups are orders to a model, a
# request that nobody sent is what an order in a document often is, and most of what plays on the words of attacks
# plays on them as only somebody who talks to a model would.
_AS_DOCUMENT = {
    **dict.fromkeys(
        (
            "banking77", "clinc150", "cyberseceval-frr", "cyberseceval-instruct", "cyberseceval-sysprompt",
            "deepset-train", "fastchat-bench", "gsm8k", "llm-warden-train", "made-benign-ordinary",
            "made-benign-setup", "nq-open", "prompts.chat", "read-harmless", "self-instruct", "tau-bench",
            "written-harmless_twins", "written-prompts",
        ), 0.0,
    ),
    "generated-hard-negative": 0.3,
    "made-benign-trigger": 0.3,
}  # fmt: skip
_PASTED = 0.2  # of the harmless texts of one kind of channel that are shown, whole, to the other
_NEVER_PASTED = (  # for documents alone
    "written-papers", "package-documents", "read-documents", "made-answers", "locked-documents",
)  # fmt: skip


def _labelled(text: Text, count: int, chance: random.Random) -> Iterable[tuple[int, int, int]]:
    """Windows whose label is known: all of a harmless text, the marked part of an attack, an attack that fits whole."""
    sizes = SIZES["data" if text.data else "user"]
    if text.label and text.span is None:
        if not text.data and count <= sizes[-1]:
            yield 0, count, 1
        return
    span = _span(text)
    for size in sizes:
        places = _windows(count, size)
        if span is not None:
            first, last = span
            enough = min(8, max(1, round((last - first) * 0.6)))
            places = [(a, b) for a, b in places if min(b, last) - max(a, first) >= enough]
        wanted = _ATTACK_WINDOWS if text.label else _WINDOWS_PER_TEXT
        for low, high in chance.sample(places, min(len(places), wanted)):
            yield low, high, text.label


def _span(text: Text) -> tuple[int, int] | None:
    """Where an attack stands in its text, in tokens."""
    if not text.label or text.span is None:
        return None
    first = len(tokenize(text.text[: text.span[0]]))
    return first, first + len(tokenize(text.text[slice(*text.span)]))


def _windows(count: int, size: int) -> list[tuple[int, int]]:
    if count <= size:
        return [(0, count)]
    return [(a, a + size) for a in range(0, count - size, size // 4)] + [(count - size, count)]


def _head(learned: Any, bias: float) -> Head:
    scale = float(np.abs(learned).max()) / _INT8
    return Head(np.round(learned / scale).astype(np.int8).tobytes(), scale, bias)


def linear_model(kind: str, heads: dict[str, Head]) -> LinearModel:
    return build_model(kind, model_file(kind, heads))


def model_file(kind: str, heads: dict[str, Head]) -> bytes:
    scales = {name: {"scale": head.scale, "bias": head.bias} for name, head in heads.items()}
    tensors = {name: head.weights for name, head in heads.items()}
    return write_tensors(tensors, {"heads": scales, "sizes": SIZES[kind]})


def stack_features(kind: str, evidence: Evidence | None, text: str) -> list[float]:
    """What the logit of a text is made of. A document is judged by its worst place: most of it is innocent."""
    high = low = 0.0
    if evidence is not None:
        low, high = sides_of(kind, evidence, LENGTH[kind])
    signs = find_signs(text)
    return [high, low, *(float(sign in signs) for sign in SIGNS)]


def calibrate(kind: str, rows: Sequence[Sequence[float]], labels: Sequence[int]) -> dict[str, Any]:
    """How the logits of the heads and the signs add up to one, fitted on texts that the heads have not seen."""
    model = LogisticRegression(C=1.0, max_iter=1000).fit(np.array(rows), np.array(labels))
    high, low, *signs = (float(w) for w in model.coef_[0])
    weights = {name: round(max(0.0, w), 4) for name, w in zip(SIGNS, signs, strict=True)}
    return {
        "bias": round(float(model.intercept_[0]), 4), "high": round(high, 4), "low": round(low, 4), "signs": weights,
        "length": LENGTH[kind],
    }  # fmt: skip
