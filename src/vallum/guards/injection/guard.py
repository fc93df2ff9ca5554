"""Prompt injection and jailbreaks: one text and where it came from, to one score.

The text and each of its other readings are weighed by the channel's linear model; the worst reading counts. Signs in
the structure add to it. What this is not: a proof. It reads words, so an order in words it has never seen anything
like, or one that only the application's purpose makes wrong, goes by. Limit what an application may do, too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log2
from typing import Protocol

from vallum.guards.injection.model import Evidence, LinearModel
from vallum.guards.injection.signs import find_signs
from vallum.guards.injection.store import Calibration, load_models
from vallum.guards.injection.views import View, views
from vallum.guards.plain import UNSEEN
from vallum.guards.port import Finding
from vallum.guards.segment import Channel, Segment
from vallum.kernel.errors import Invalid

__all__ = ["Injection", "Judge", "Verdict", "sides_of"]

NAME = "injection"
MAX_CHARS = 2_000_000
_DATA = (Channel.RETRIEVED, Channel.TOOL)
_JOINED = "\n"


class Judge(Protocol):
    """A larger model, of whoever brings one, that is asked about texts near the threshold only."""

    def logit(self, text: str, channel: Channel) -> float:
        """Above 0 for an attack. Where it raises, the text counts as one."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """`score` is from 0 to 1 and an attack from `threshold` on. `findings` are empty below it."""

    score: float
    threshold: float
    findings: tuple[Finding, ...]

    @property
    def is_attack(self) -> bool:
        return self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class _Reading:
    logit: float
    view: View
    evidence: Evidence | None
    signs: Sequence[str]


class Injection:
    """Pure and thread-safe. Models load on construction, verified; one instance serves a whole process."""

    name = NAME

    def __init__(self, *, thresholds: Mapping[Channel, float] | None = None, judge: Judge | None = None) -> None:
        """`thresholds` (0 to 1, by channel) replace those fixed on development data.

        Raises IntegrityError when the model files are not those that were signed.
        """
        models = load_models()
        self.version = models.version
        self._heads: Mapping[str, LinearModel] = models.heads
        self._calibration: Mapping[str, Calibration] = models.calibration
        self._thresholds = {c: float(models.thresholds[_kind(c)]) for c in Channel} | dict(thresholds or {})
        self._judge = judge

    def score(self, text: str, channel: Channel | str = Channel.USER) -> float:
        """From 0 to 1: how much the text reads like an attack where it came from."""
        return self.judge(text, channel).score

    def threshold(self, channel: Channel | str = Channel.USER) -> float:
        return self._thresholds[_channel(channel)]

    def judge(self, text: str, channel: Channel | str = Channel.USER) -> Verdict:
        """Raises Invalid for an unknown channel. A text over 2,000,000 characters is an attack unread."""
        return self._judge_text(text, _channel(channel), _Questions(self._judge))

    def _judge_text(self, text: str, channel: Channel, questions: "_Questions", *, is_joined: bool = False) -> Verdict:
        """What a judge cleared is not an attack because of what it is joined with: the judge is asked about both."""
        threshold = self._thresholds[channel]
        if len(text) > MAX_CHARS:
            reason = f"longer than {MAX_CHARS} characters, which nobody looked at"
            return Verdict(1.0, threshold, (self._finding(text, channel, 0, len(text), 1.0, reason),))
        worst = self._worst(text, channel)
        score = _sigmoid(worst.logit)
        if self._is_grey(score, threshold) or (is_joined and score >= threshold and questions.has_cleared):
            score = questions.ask(worst, channel, score)
            questions.has_cleared |= score < threshold
        if score < threshold:
            return Verdict(score, threshold, ())
        start, end = _place(worst)
        return Verdict(score, threshold, (self._finding(text, channel, start, end, score, _explain(worst)),))

    def judge_all(self, segments: Sequence[Segment]) -> list[Verdict]:
        """Each segment by itself; and what stands in several of one channel, read on end, in the last of them."""
        questions = _Questions(self._judge)
        verdicts = [self._judge_one(segment, questions) for segment in segments]
        for channel in {segment.channel for segment in segments}:
            said = [i for i, s in enumerate(segments) if s.channel is channel and not s.is_field]
            places = [i for i in said if not verdicts[i].findings]
            places = _last_of(places, segments)
            if len(places) < 2:
                continue
            joined = self._judge_text(
                _JOINED.join(segments[i].text for i in places), channel, questions, is_joined=True
            )
            if joined.findings:
                last = places[-1]
                reason = "read together with the parts before it: " + joined.findings[0].explanation
                found = self._finding(segments[last].text, channel, 0, len(segments[last].text), joined.score, reason)
                verdicts[last] = Verdict(joined.score, joined.threshold, (found,))
        return verdicts

    def _judge_one(self, segment: Segment, questions: "_Questions") -> Verdict:
        if len(segment.text) < _LEAST:
            return Verdict(0.0, self._thresholds[segment.channel], ())
        return self._judge_text(segment.text, segment.channel, questions)

    def find_in(self, segments: Sequence[Segment]) -> Sequence[Sequence[Finding]]:
        """What the runner asks for. Trusted text is not judged: an application may give its model orders."""
        found: list[Sequence[Finding]] = [()] * len(segments)
        places = [i for i, s in enumerate(segments) if not s.trusted and s.channel in _JUDGED]
        for place, verdict in zip(places, self.judge_all([segments[i] for i in places]), strict=True):
            found[place] = verdict.findings
        return found

    def find(self, text: str, channel: Channel | str = Channel.USER) -> Sequence[Finding]:
        return self.judge(text, channel).findings

    def _worst(self, text: str, channel: Channel) -> _Reading:
        whole = View("", text, 0, len(text))
        others = views(text)
        one_word = _WORD.fullmatch(text) or (_CAMEL.fullmatch(text) and any(v.kind == "joined_words" for v in others))
        is_read = not one_word and not _mostly_unseen(text)
        worst = self._read(whole, channel) if is_read else _Reading(_NOTHING, whole, None, ())
        for view in others:
            reading = self._read(view, channel)
            if reading.logit > worst.logit:
                worst = reading
        return worst

    def _read(self, view: View, channel: Channel) -> _Reading:
        kind = _kind(channel)
        evidence = self._heads[kind].weigh(view.text)
        weights = self._calibration[kind]
        if evidence is None:
            return _Reading(_NOTHING, view, None, ())
        low, high = sides_of(kind, evidence, weights.length)
        logit = weights.bias + weights.high * high + weights.low * low
        if kind == "user" and evidence.tokens > _DILUTED_TOKENS:
            logit = max(logit, self._excerpt_logit(view.text, evidence, weights))
        signs = find_signs(view.text)
        logit += sum(weights.signs.get(sign, 0.0) for sign in signs)
        return _Reading(logit, view, evidence, signs)

    def _excerpt_logit(self, text: str, evidence: Evidence, weights: Calibration) -> float:
        """The worst window of a long text by itself: an order does not become harmless by what stands around it."""
        start, end = evidence.place(text)
        excerpt = self._heads["user"].weigh(text[start:end])
        if excerpt is None:
            return _NOTHING
        low, high = sides_of("user", excerpt, 0.0)
        return weights.bias + weights.high * high + weights.low * low - _EXCERPT_DISCOUNT

    def _is_grey(self, score: float, threshold: float) -> bool:
        return abs(score - threshold) < _GREY

    def _finding(self, text: str, channel: Channel, start: int, end: int, score: float, explanation: str) -> Finding:
        kind = "indirect_injection" if channel in _DATA else "prompt_injection"
        return Finding(NAME, self.version, kind, start, max(end, min(start + 1, len(text))), score, explanation)


class _Questions:
    """What a judge was asked about one request: the same text once, and so many texts at most."""

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge
        self._known: dict[tuple[str, Channel], float] = {}
        self.has_cleared = False

    def ask(self, worst: _Reading, channel: Channel, score: float) -> float:
        """The score with what the judge says; as it was, without one. More texts than it is asked about are attacks."""
        if self._judge is None:
            return score
        text = _around(worst)
        if (text, channel) not in self._known:
            if len(self._known) >= _MAX_QUESTIONS:
                return 1.0
            self._known[text, channel] = self._logit(self._judge, text, channel)
        logit = self._known[text, channel]
        return _sigmoid((worst.logit + logit) / 2) if isfinite(logit) else 1.0

    def _logit(self, judge: Judge, text: str, channel: Channel) -> float:
        try:
            return float(judge.logit(text, channel))
        except Exception:  # noqa: BLE001  a judge that cannot say lets nothing through
            return inf


_MAX_QUESTIONS = 8  # of one request; a judge may take a second for each
_DILUTED_TOKENS = 128
_EXCERPT_DISCOUNT = 2.0  # the more windows a text has, the likelier one of them is bad by chance
_NOTHING = -60.0  # the logit of a text without a word
_JUDGED = (Channel.USER, Channel.RETRIEVED, Channel.TOOL)
_WORD = re.compile(r"\s*[!-~]{1,32}\s*")  # one word, or the name of something, orders nothing; what it decodes to may
_CAMEL = re.compile(r"[A-Za-z0-9]{33,}")  # which words it holds, another reading says
_LEAST = 8  # characters; a shorter text by itself orders nothing, and is read with those beside it
_GREY = 0.2
_JUDGED_CHARS = 8000
_MAX_JOINED = 20_000  # characters of segments that are read on end; an order in pieces is no book


def _last_of(places: list[int], segments: Sequence[Segment]) -> list[int]:
    """As many of the last as are read on end."""
    chars = 0
    for number, place in enumerate(reversed(places)):
        chars += len(segments[place].text)
        if chars > _MAX_JOINED:
            return places[len(places) - number :]
    return places


def sides_of(kind: str, evidence: Evidence, length: float) -> tuple[float, float]:
    """The milder and the worse logit of a user's text; of a document its worst part and its worst window.

    The more windows there are, the worse the worst of them is by chance: each doubling takes `length` off. And a window
    says less where all of the document reads like it, as letters full of requests do; up to a bound, since whoever
    hides an order chooses what stands around it. It says more where the document has a word for a machine that reads
    it: few documents do, and most orders to one name it; and where its words stand nowhere else in the document, which
    is about something else. The same goes for the parts.
    """
    if kind == "user":
        low, high = sorted((evidence.text, evidence.window))
        return low, high
    tokens = min(max(evidence.tokens, _SHORT_TOKENS), _LONG_TOKENS)
    named = _NAMED if evidence.names_reader else 0.0
    more = named + _STRANGE * evidence.strange - length * log2(tokens / _USUAL_TOKENS) - _likeness(evidence)
    return evidence.text + more, evidence.window + more


def _likeness(evidence: Evidence) -> float:
    if evidence.rest is None:
        return 0.0
    others = evidence.tokens - (evidence.last - evidence.first)
    return _CONTRAST * min(1.0, others / _ENOUGH_TOKENS) * (min(evidence.rest, _MOST_REST) - _USUAL_REST)


_NAMED = 1.0
_STRANGE = 6.0  # logits between a place whose words are all of the rest and one of which none is
_CONTRAST = 0.5
_USUAL_REST, _MOST_REST = -5.0, -1.0  # logits: what the rest of a document has, and what it may count for
_ENOUGH_TOKENS = 48
_SHORT_TOKENS, _USUAL_TOKENS, _LONG_TOKENS = 12, 128, 2048  # beyond that, more text buys no more


def _kind(channel: Channel) -> str:
    return "data" if channel in _DATA else "user"


def _channel(channel: Channel | str) -> Channel:
    try:
        return Channel(channel)
    except ValueError as e:
        raise Invalid(f"there is no channel {channel!r}; there are {', '.join(Channel)}") from e


def _place(reading: _Reading) -> tuple[int, int]:
    if not reading.view.kind and reading.evidence is not None:
        return reading.evidence.place(reading.view.text)
    return reading.view.start, reading.view.end


def _mostly_unseen(text: str) -> bool:
    """Whether every few characters one is not seen: then the text is what is seen of it, which is another reading."""
    return not text.isascii() and len(UNSEEN.findall(text)) * _FEW > len(text)


_FEW = 4


def _around(reading: _Reading) -> str:
    """What a judge reads of a text: as much as it can, around the place that looks worst."""
    text = reading.view.text
    if len(text) <= _JUDGED_CHARS or reading.evidence is None:
        return text[:_JUDGED_CHARS]
    start, end = reading.evidence.place(text)
    start = max(0, min((start + end - _JUDGED_CHARS) // 2, len(text) - _JUDGED_CHARS))
    return text[start : start + _JUDGED_CHARS]


def _explain(reading: _Reading) -> str:
    said = ["reads like an order to the model"]
    if reading.view.kind:
        said.append(f"once decoded ({reading.view.kind.replace('+', ', then ')})")
    if reading.signs:
        said.append("with signs: " + ", ".join(sign.replace("_", " ") for sign in reading.signs))
    return " ".join(said)


def _sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-max(-60.0, min(60.0, logit))))
