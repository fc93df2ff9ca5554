"""The linear model: weights of hashed n-grams, summed over a whole text and over every window of it.

A window's score is the sum of its tokens' weights over the square root of their number, so that thirty words of
attack in a long document weigh what they weigh alone. Sums over windows are differences of running sums: the cost
is one pass, whatever the windows. Weights of two heads stand packed in one integer, and one addition sums both.
"""

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from math import sqrt
from typing import Any
from zlib import crc32

from vallum.guards.injection.features import (
    BITS,
    MASK,
    MAX_TOKEN_CHARS,
    SKIP,
    fold,
    parted_tokens,
    shorten,
    token_pattern,
    unit_features,
)
from vallum.kernel.errors import IntegrityError

__all__ = ["DocumentModel", "Evidence", "LinearModel", "parts_of", "read_tensors", "strangeness", "write_tensors"]

_MAX_KNOWN_TOKENS = 20_000
_LONG_TOKENS = 12_000  # some 60 kB of prose
_LONG_WINDOWS, _LONG_SHARE = 96, 16  # windows of a long text that are weighed in full: so many, or this part of all
_USUAL_WINDOW = 24
_STEPS = 8  # a window overlaps the next by seven eighths
_HIGH = 32  # bits that the low head's sum may take; a million tokens of the largest weight fit
_HALF, _LOW = 1 << (_HIGH - 1), (1 << _HIGH) - 1
_MAX_HEADER_BYTES = 1 << 20


class ModelMalformed(IntegrityError):
    """The file is not a model of this release."""

    code = "guard_model_malformed"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Logits: of the whole text (of a document: of its most telling part, see `parts_of`), and of its most telling
    window; and the first token of the place that tells most, and the one behind its last.

    `rest` is what a window of the rest of the text has on average; None where that is too long to have been weighed.
    `names_reader` says whether the text has a word for a machine that reads it. `strange` is how little the most
    telling part has to do with the rest of a document (see `strangeness`); 0 for a user's text, and for one too long.
    """

    text: float
    window: float
    rest: float | None
    first: int
    last: int
    tokens: int
    names_reader: bool
    strange: float = 0.0

    def place(self, text: str) -> tuple[int, int]:
        """Where the window stands in the text that was weighed, in characters."""
        folded = fold(text)
        if len(folded) != len(text) or (self.first == 0 and self.last == self.tokens):
            return 0, len(text)  # folding moved characters, or all of it is the place
        window = list(islice(token_pattern(folded).finditer(folded), self.first, self.last))
        return window[0].start(), window[-1].end()


@dataclass(frozen=True, slots=True)
class _Head:
    scale: float
    bias: float


class LinearModel:
    """Two heads over the same n-grams. Thread-safe: what it remembers about tokens may be worked out twice."""

    def __init__(
        self, text: Sequence[int], window: Sequence[int], heads: Mapping[str, Mapping[str, float]], sizes: Sequence[int]
    ) -> None:
        """`text` and `window` are int8 weights by feature, `heads` their scales and biases. Raises ModelMalformed."""
        if len(text) != MASK + 1 or len(window) != MASK + 1 or not sizes:
            raise ModelMalformed(f"a head has {1 << BITS} weights")
        self._weights = array("q", ((t << _HIGH) + w for t, w in zip(text, window, strict=True)))
        self._text = _Head(heads["text"]["scale"], heads["text"]["bias"])
        self._window = _Head(heads["window"]["scale"], heads["window"]["bias"])
        self._sizes = tuple(sizes)
        self._known: dict[str, tuple[bytes, int, int]] = {}

    def weigh(self, text: str) -> Evidence | None:
        """None for a text without tokens."""
        tokens, ends = self._tokens(fold(text))
        if not tokens:
            return None
        count = len(tokens)
        if count > _LONG_TOKENS:
            return self._weigh_long(tokens)
        sums = self._running_sums(tokens)
        best, first, last = self._scan(sums, count)
        whole, low, high = max((self._text_logit(sums, low, high), low, high) for low, high in self._parts(ends))
        strange = self._strange(tokens, sums, (low, high) if high - low < count else (first, last))
        if whole > best and high - low < count:
            meets = low < last and first < high
            first, last = (min(first, low), max(last, high)) if meets else (low, high)
        rest = self._rest(sums, first, last)
        return Evidence(whole, best, rest, first, last, count, _names_reader(tokens), strange)

    def _tokens(self, folded: str) -> tuple[list[str], list[int]]:
        """The tokens of a folded text, and where something in it ends."""
        tokens = token_pattern(folded).findall(folded)
        return tokens, [0, len(tokens)]

    def _parts(self, ends: Sequence[int]) -> Sequence[tuple[int, int]]:
        """What the head of the text weighs, each from a token to the one behind its last."""
        return [(0, ends[-1])]

    def _strange(self, tokens: Sequence[str], sums: Sequence[int], place: tuple[int, int]) -> float:
        return 0.0

    def _text_logit(self, sums: list[int], low: int, high: int) -> float:
        return self._text.scale * ((sums[high] - sums[low] + _HALF) >> _HIGH) / sqrt(high - low) + self._text.bias

    def _weigh_long(self, tokens: list[str]) -> Evidence:
        """The windows that look worst word by word, each weighed in full: a long text is no way to make us slow.

        A document this long is judged by its worst window alone, so the logit of the text is that of the window.
        """
        known = self._known
        units = [(known.get(token) or self._unit(token))[2] for token in tokens]
        sums = [0, *accumulate(units)]
        size = max(self._sizes)
        starts = [*range(0, len(tokens) - size, size // 2), len(tokens) - size]
        values = [_low(sums[at + size] - sums[at]) for at in starts]
        keep = max(_LONG_WINDOWS, len(starts) // _LONG_SHARE)
        worst = float("-inf"), 0, 0
        for _, at in sorted(zip(values, starts, strict=True), reverse=True)[:keep]:
            logit, first, last = self._scan(self._running_sums(tokens[at : at + size]), size)
            worst = max(worst, (logit, at + first, at + last))
        logit, first, last = worst
        return Evidence(logit, logit, None, first, last, len(tokens), _names_reader(tokens))

    def _running_sums(self, tokens: list[str]) -> list[int]:
        known, weights, mask, skip = self._known, self._weights, MASK, SKIP
        one = two = before = 0
        running = 0
        sums = [0]
        for number, token in enumerate(tokens):
            unit = known.get(token) or self._unit(token)
            raw, crc, weight = unit
            if number:
                pair = crc32(raw, one)
                weight += weights[pair & mask]
                if number > 1:
                    weight += weights[crc32(raw, two) & mask] + weights[crc32(raw, before ^ skip) & mask]
                two = pair
            running += weight
            sums.append(running)
            before, one = one, crc
        return sums

    def _scan(self, sums: list[int], count: int) -> tuple[float, int, int]:
        """The best window: its logit, and its first and last token."""
        best, first, last = float("-inf"), 0, count
        for size in self._sizes:
            size = min(size, count)
            step = max(1, size // _STEPS)
            values = [
                ((high - low + _HALF) & _LOW) - _HALF for low, high in zip(sums[::step], sums[size::step], strict=False)
            ]
            values.append(_low(sums[-1] - sums[count - size]))  # the one that ends the text
            most = max(values)
            place = values.index(most)
            at = count - size if place == len(values) - 1 else place * step
            logit = self._window.scale * most / sqrt(size) + self._window.bias
            if logit > best:
                best, first, last = logit, at, at + size
            if size == count:
                break
        return best, first, last

    def _rest(self, sums: list[int], first: int, last: int) -> float:
        """Of the text without its tokens `first` to `last`: what a window of it has on average."""
        others = len(sums) - 1 - (last - first)
        total = _low(sums[-1]) - _low(sums[last] - sums[first])
        return self._window.scale * total / max(others, 1) * sqrt(_USUAL_WINDOW) + self._window.bias

    def _unit(self, token: str) -> tuple[bytes, int, int]:
        short = shorten(token)
        raw = b" " + short.encode("utf-8", "replace")
        unit = (raw, crc32(raw), sum(self._weights[f] for f in unit_features(short)))
        if len(token) <= MAX_TOKEN_CHARS:  # a longer one is seldom met again, and could be anything
            if len(self._known) >= _MAX_KNOWN_TOKENS:
                self._known.clear()
            self._known[token] = unit
        return unit


class DocumentModel(LinearModel):
    """One head, for windows and for the parts of a document: an order may be a sentence, a line or a cell of a table.

    In Evidence, the logit of the text is that of the part that tells most.
    """

    def __init__(self, window: Sequence[int], heads: Mapping[str, Mapping[str, float]], sizes: Sequence[int]) -> None:
        """As LinearModel, with the window's head alone."""
        super().__init__(window, window, {"text": heads["window"], "window": heads["window"]}, sizes)

    def _tokens(self, folded: str) -> tuple[list[str], list[int]]:
        return parted_tokens(folded)

    def _parts(self, ends: Sequence[int]) -> Sequence[tuple[int, int]]:
        return parts_of(ends)

    def _strange(self, tokens: Sequence[str], sums: Sequence[int], place: tuple[int, int]) -> float:
        return strangeness(tokens, place, self._suspects(sums))

    def _suspects(self, sums: Sequence[int]) -> list[tuple[int, int]]:
        """The windows of the smallest size that do not read harmless: what stands in them vouches for nothing."""
        size = min(self._sizes[0], len(sums) - 1)
        scale, bias = self._window.scale / sqrt(size), self._window.bias
        places = range(0, len(sums) - size, max(1, size // _STEPS))
        return [(at, at + size) for at in places if scale * _low(sums[at + size] - sums[at]) + bias > _VOUCHES]


def parts_of(ends: Sequence[int]) -> list[tuple[int, int]]:
    """Parts of a text that may each be an order, given where something in it ends: alone, and with the one before.

    A text that has none of a fit length is one by itself.
    """
    pairs = [*pairwise(ends), *zip(ends, ends[2:], strict=False)]
    return [(low, high) for low, high in pairs if _LEAST_PART <= high - low <= _MOST_PART] or [(0, ends[-1])]


def strangeness(tokens: Sequence[str], place: tuple[int, int], suspects: Sequence[tuple[int, int]]) -> float:
    """From -0.5 to 0.5: how few words of a place stand elsewhere in its document, where that reads harmless.

    What an author writes is about the same thing all through; what somebody else put there is not. Words that stand
    elsewhere only in `suspects` count for nothing, so that an order said twice is no less strange. 0 for a place
    without words, and little where there is little else to compare it with.
    """
    first, last = place
    words = [token for token in tokens[first:last] if len(token) >= _WORD_CHARS and token[0].isalpha()]
    others = len(tokens) - (last - first)
    if not words or not others:
        return 0.0
    known: set[str] = set()
    at = 0
    for low, high in sorted([*suspects, place]):
        if low > at:
            known.update(tokens[at:low])
        at = max(at, high)
    known.update(tokens[at:])
    new = sum(word not in known for word in words)
    return (new / len(words) - 0.5) * min(1.0, others / _ENOUGH_OTHERS)


_WORD_CHARS, _ENOUGH_OTHERS = 4, 64  # letters of what says what a text is about; tokens
_VOUCHES = -1.0  # the logit up to which a window reads harmless

_LEAST_PART, _MOST_PART = 4, 64  # tokens: fewer order nothing by themselves, and of more the windows tell
_READER_WORDS = (
    "ai ais llm llms gpt chatgpt claude gemini copilot copilots siri alexa chatbot chatbots bot bots robot robots"
    " assistant assistants agent agents model models machine machines ki ia modell modelle maschine maschinen"
    " assistent assistenten assistente assistenti asistente asistentes agente agenten agentes"
)
_READERS = frozenset(_READER_WORDS.split())


def _names_reader(tokens: Sequence[str]) -> bool:
    return not _READERS.isdisjoint(tokens)


def _low(packed: int) -> int:
    """The low head's part of a sum."""
    return ((packed + _HALF) & _LOW) - _HALF


def read_tensors(raw: bytes) -> tuple[dict[str, memoryview], dict[str, Any]]:
    """The int8 tensors of a safetensors file, and its `__metadata__` as JSON values. Raises ModelMalformed.

    Source: the safetensors format; only flat I8 tensors are read.
    """
    size = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or size > min(_MAX_HEADER_BYTES, len(raw) - 8):
        raise ModelMalformed("the model's header is cut off")
    body = memoryview(raw)[8 + size :]
    try:
        header = json.loads(raw[8 : 8 + size])
        metadata = {name: json.loads(value) for name, value in header.pop("__metadata__", {}).items()}
        tensors = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if entry["dtype"] != "I8" or entry["shape"] != [end - start] or not 0 <= start <= end <= len(body):
                raise ModelMalformed(f"the tensor {name} is not a flat list of bytes")
            tensors[name] = body[start:end].cast("b")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ModelMalformed("the model's header is not one of safetensors") from e
    return tensors, metadata


def write_tensors(tensors: Mapping[str, bytes], metadata: Mapping[str, Any]) -> bytes:
    """The opposite of `read_tensors`, the same bytes for the same content."""
    header: dict[str, Any] = {"__metadata__": {name: json.dumps(v, sort_keys=True) for name, v in metadata.items()}}
    offset = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "I8", "shape": [len(data)], "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + b"".join(tensors.values())
