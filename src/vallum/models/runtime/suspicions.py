"""Who is suspected of copying a model: each subject's capital, kept where limits are counted, so over all workers.

A capital is folded one request after another, whichever worker has the request: the one that finds that another was
quicker takes what that one put, and folds into it. So the detector says what it would say in one process, and its
budget of false alarms is the subject's and not each worker's.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import msgspec

from vallum.kernel.errors import Unavailable
from vallum.kernel.store.counters import Counters
from vallum.models.runtime.extraction import Baseline, Capital
from vallum.models.runtime.model import Extraction

__all__ = ["Suspicion", "Suspicions"]

_LOOKS_A_REQUEST = 8  # rows of one request; which of them is chosen by chance, so that it stays a fair sample
_MAX_SUBJECTS = 1024  # that one worker remembers itself; the counters remember the others
_KEPT_SECONDS = 30 * 86_400  # after the last query
_TRIES = 1_000  # each that is lost is a request of this subject that another worker has folded meanwhile

Vectors = Callable[[Sequence[int]], Sequence[Sequence[float]]]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Capital).decode


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`kind` is `unlike_reference` or `around_own_queries`; `is_new` for the request that raised it."""

    kind: str
    is_new: bool


@dataclass(slots=True)
class _Known:
    """What stands in the counters, as this worker saw it last."""

    text: str | None = None
    capital: Capital = field(default_factory=Capital)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Suspicions:
    """For one event loop."""

    def __init__(self, random: Random, counters: Counters) -> None:
        self._random = random
        self._counters = counters
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def see(
        self,
        subject: str,
        model: str,
        baseline: Baseline,
        rows: int,
        vectors: Vectors,
        settings: Extraction,
        now: float,
    ) -> Suspicion | None:
        """Whether the subject is suspected, these rows counted. `vectors` gives rows by their numbers; `model` names
        one version of one model; `now` is the time of day in seconds, by which suspicion ends on every machine.

        Raises Unavailable when the counters do not answer: a detector that cannot look lets nothing pass.
        """
        key = f"extraction/{len(subject)}/{subject}/{model}"  # names may hold slashes: with the length, no two are one
        known = self._remembered(key)
        many = rows > _LOOKS_A_REQUEST
        looked_at = vectors(sorted(self._random.sample(range(rows), _LOOKS_A_REQUEST)) if many else range(rows))
        async with known.turn:
            for _ in range(_TRIES):
                if known.capital.kind and now < known.capital.suspected_until:
                    return Suspicion(known.capital.kind, False)
                capital = Capital() if known.capital.kind else known.capital
                known.capital = Capital()  # folded into below; what was not put is nobody's
                is_new = any(capital.look(baseline, row) for row in looked_at)
                if is_new:
                    capital.suspected_until = now + settings.hours * 3600
                after = _encode(capital).decode()
                kept = max(_KEPT_SECONDS, settings.hours * 3600)
                put, known.text = await self._swap(known, key, after, kept)
                known.capital = capital if put else _read(known.text)
                if put:
                    return Suspicion(capital.kind, True) if is_new else None
        raise Unavailable("too many workers count this application's queries at once: try again shortly")

    async def _swap(self, known: _Known, key: str, after: str, seconds: int) -> tuple[bool, str | None]:
        try:
            return await self._counters.swap(key, known.text, after, seconds)
        except BaseException:
            known.text = None  # whether it was put nobody knows: what stands there is read anew
            raise

    def _remembered(self, key: str) -> _Known:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
            if len(self._known) > _MAX_SUBJECTS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known


def _read(text: str | None) -> Capital:
    """One that nobody here can read is begun anew."""
    try:
        return Capital() if text is None else _decode(text)
    except msgspec.MsgspecError:
        return Capital()
