"""Models that applications bring: a judge for texts near the injection guard's threshold, classifiers as guards.

What a judge does not answer in time counts as an attack (see `vallum.guards.injection`).
"""

from datetime import timedelta
from functools import lru_cache
from math import log
from pathlib import Path

import msgspec
from pyreqwest.client import SyncClient, SyncClientBuilder

from vallum.guards import Channel, Guard, Judge
from vallum.guards.classifier import ClassifierGuard, OnnxClassifier
from vallum.inventory import Classifier, InjectionJudge
from vallum.kernel.errors import Unavailable

__all__ = ["HttpJudge", "open_classifier", "open_judge"]

_MAX_ANSWER_BYTES = 65_536
_LEAST = 1e-6
_NEEDS_EXTRA = "a classifier from a file needs the extra: pip install 'vallum[onnx]'"


class _Question(msgspec.Struct):
    text: str
    channel: Channel


class _Answer(msgspec.Struct):
    """`score` is from 0 to 1: how much the text is an attack."""

    score: float


class HttpJudge:
    """`POST {"text", "channel"}` to a URL, which answers `{"score"}`. Waits: not for an event loop's thread."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url
        builder = SyncClientBuilder().user_agent("vallum-judge").timeout(timedelta(seconds=timeout_seconds))
        self._client: SyncClient = builder.follow_redirects(False).no_proxy().build()

    def logit(self, text: str, channel: Channel) -> float:
        """Raises Unavailable for an answer that is none."""
        body = msgspec.json.encode(_Question(text, channel))
        request = self._client.post(self._url).header("content-type", "application/json").body_bytes(body)
        with request.build_streamed() as response:
            raw = bytes(response.body_reader.read(_MAX_ANSWER_BYTES) or b"")
            if response.status != 200:
                raise Unavailable(f"the judge answered {response.status}")
        score = msgspec.json.decode(raw, type=_Answer).score
        if not 0 <= score <= 1:
            raise Unavailable("the judge's score is not from 0 to 1")
        score = min(max(score, _LEAST), 1 - _LEAST)
        return log(score / (1 - score))


@lru_cache(maxsize=16)
def open_classifier(declared: Classifier) -> Guard:
    """One for the process. Raises as `open_judge` does."""
    try:
        model = OnnxClassifier(Path(declared.onnx), declared.digest, declared.labels)
    except ImportError as e:
        raise Unavailable(_NEEDS_EXTRA) from e
    return ClassifierGuard(declared.name, model, declared.threshold)


@lru_cache(maxsize=16)
def open_judge(declared: InjectionJudge) -> Judge:
    """One for the process. Raises Invalid, IntegrityError, or Unavailable without the library for it."""
    if declared.url:
        return HttpJudge(declared.url, declared.timeout_milliseconds / 1000)
    try:
        return OnnxClassifier(Path(declared.onnx), declared.digest, declared.labels)
    except ImportError as e:
        raise Unavailable(_NEEDS_EXTRA) from e
