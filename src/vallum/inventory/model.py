"""Providers, models and applications, as their files declare them: the values and every rule about one of them.

An application is the unit of configuration: who owns it, what data it may carry, which models it may use, which
guards stand in its way, and how much it may spend. Nothing here holds a secret: a provider's key is a vault name.
"""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vallum.inventory.network import problem_with_url

__all__ = [
    "CLASSIFICATIONS",
    "Application",
    "Configuration",
    "GuardException",
    "GuardSettings",
    "Guards",
    "InputGuards",
    "Limits",
    "Model",
    "OutputGuards",
    "Provider",
    "Thresholds",
]

Classification = Literal["public", "internal", "confidential", "restricted"]
CLASSIFICATIONS: tuple[Classification, ...] = ("public", "internal", "confidential", "restricted")

GuardMode = Literal["off", "detect", "tokenize", "mask", "redact", "block"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$")]
Count = Annotated[int, Meta(ge=1, le=10**12)]


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Provider(_Declared, frozen=True):
    """Where models answer. `secret` names a vault entry; `extractive` is built in and quotes the demonstration.

    `releases` is this environment's own: predictive models, as its releases deploy them.
    """

    kind: Literal["openai", "anthropic", "extractive", "releases"]
    url: str = ""
    secret: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$|^$")] = ""
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    connect_timeout_seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    retries: Annotated[int, Meta(ge=0, le=5)] = 2
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 256
    failures_before_open: Annotated[int, Meta(ge=1, le=1000)] = 5
    open_seconds: Annotated[float, Meta(gt=0, le=3600)] = 15.0
    unsafe_plain_http: bool = False

    def problems(self) -> Iterator[str]:
        if self.kind in ("extractive", "releases"):
            if self.url or self.secret:
                yield "the built-in provider has neither url nor secret"
        elif problem := problem_with_url(self.url, plain_http=self.unsafe_plain_http):
            yield f"url: {problem}"


class Model(_Declared, frozen=True):
    """A name applications ask for, and where it leads. `classification` is the highest class of data it may see.

    Prices are in millionths of a currency unit per token, input and output.
    """

    provider: Name
    upstream_name: str = ""  # empty: the same name
    classification: Classification = "internal"
    fallbacks: tuple[Name, ...] = ()
    input_price: Annotated[int, Meta(ge=0)] = 0
    output_price: Annotated[int, Meta(ge=0)] = 0


class Limits(_Declared, frozen=True):
    """How much in how long; None leaves one out. `budget_per_day` is in millionths of a currency unit."""

    requests_per_minute: Count | None = None
    requests_per_day: Count | None = None
    tokens_per_minute: Count | None = None
    tokens_per_day: Count | None = None
    budget_per_day: Count | None = None
    concurrent: Count | None = None


class GuardException(_Declared, frozen=True):
    """Another mode for one kind of finding, in one channel, until a day (UTC). `*` is any kind or channel.

    A weaker mode than the guard's own needs an owner and an end.
    """

    guard: Name
    mode: GuardMode
    kind: str = "*"
    channel: Literal["*", "system", "user", "retrieved", "tool", "model"] = "*"
    owner: str = ""
    reason: str = ""
    expires: date | None = None


class PluginGuard(_Declared, frozen=True):
    """A guard that an installed package offers (entry points of the group `vallum.guards`)."""

    guard: Name
    mode: GuardMode = "detect"


Labels = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=1000)]


class TopicList(_Declared, frozen=True):
    """A subject that an application does not talk about: `least` of these words, or beginnings of words (`elect*`)."""

    name: Name
    words: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=41)], ...], Meta(min_length=1, max_length=1000)]
    least: Annotated[int, Meta(ge=1, le=100)] = 2


class Classifier(_Declared, frozen=True):
    """A guard that is somebody's classifier in ONNX: `toxicity`, say. `digest` is what `vallum guard digest` says."""

    name: Name
    onnx: Annotated[str, Meta(min_length=1, max_length=4096)]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    labels: Labels = ()  # of the model's, those that make a finding
    threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    mode: GuardMode = "detect"


class GuardSettings(_Declared, frozen=True):
    """The mode of each guard in one direction. Secrets are blocked unless a file says otherwise."""

    secrets: GuardMode = "block"
    pii: GuardMode = "redact"
    unicode: GuardMode = "redact"
    size: Literal["off", "detect", "block"] = "block"
    deny: GuardMode = "block"
    topics: Literal["off", "detect", "block"] = "block"
    topic_lists: Annotated[tuple[TopicList, ...], Meta(max_length=100)] = ()
    deny_phrases: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()
    max_chars: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000
    exceptions: Annotated[tuple[GuardException, ...], Meta(max_length=200)] = ()
    plugins: Annotated[tuple[PluginGuard, ...], Meta(max_length=50)] = ()
    classifiers: Annotated[tuple[Classifier, ...], Meta(max_length=20)] = ()
    budget_milliseconds: Annotated[int, Meta(ge=10, le=60_000)] = (
        10_000  # of one inspection; then its guards have failed
    )

    def problems(self, place: str) -> Iterator[str]:
        for number, exception in enumerate(self.exceptions, start=1):
            plugged = {p.guard: p.mode for p in self.plugins} | {c.name: c.mode for c in self.classifiers}
            mode = plugged.get(exception.guard) or getattr(self, exception.guard, None)
            where = f"{place}.exceptions, number {number}"
            if mode not in _STRICTNESS:
                yield f"{where}: there is no guard {exception.guard} here"
            elif _STRICTNESS.index(exception.mode) < _STRICTNESS.index(mode) and not (
                exception.owner and exception.expires
            ):
                yield f"{where}: {exception.mode} is weaker than {mode}, so it needs an owner and a day it expires"


_STRICTNESS = ("off", "detect", "tokenize", "mask", "redact", "block")
Score = Annotated[float, Meta(gt=0, le=1)]


class Thresholds(_Declared, frozen=True):
    """From which score on the injection guard finds something; None is the one fixed on development data."""

    user: Score | None = None
    retrieved: Score | None = None
    tool: Score | None = None


class InjectionJudge(_Declared, frozen=True):
    """A larger model asked about texts near the threshold: `url` takes {"text", "channel"} and answers {"score"}.

    Or `onnx`, a folder with model.onnx, tokenizer.json and config.json, and its `digest` (`vallum guard digest`).
    """

    url: str = ""
    onnx: str = ""
    digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    labels: Labels = ()  # of the model's, those that say attack
    timeout_milliseconds: Annotated[int, Meta(ge=10, le=30_000)] = 1000
    unsafe_plain_http: bool = False

    def problems(self) -> Iterator[str]:
        if bool(self.url) == bool(self.onnx):
            yield "give url or onnx, one of them"
        elif self.url and (problem := problem_with_url(self.url, plain_http=self.unsafe_plain_http)):
            yield f"url: {problem}"
        elif self.onnx and not self.digest:
            yield "digest: a model is loaded only when it is the one that was meant: vallum guard digest FOLDER"


class InputGuards(GuardSettings, frozen=True):
    """What stands between a request and a provider."""

    injection: GuardMode = "detect"
    injection_thresholds: Thresholds = Thresholds()
    injection_judge: InjectionJudge | None = None

    def problems(self, place: str) -> Iterator[str]:
        yield from super().problems(place)
        if self.injection_judge is not None:
            yield from (f"{place}.injection_judge: {problem}" for problem in self.injection_judge.problems())


class OutputGuards(GuardSettings, frozen=True):
    """What stands between an answer and its reader.

    `links` lets through hosts in `allowed_hosts` and below them. `leakage` looks for the request's own instructions
    and for `canaries`, strings that stand in them for this.
    """

    links: GuardMode = "detect"
    leakage: GuardMode = "detect"
    canaries: Annotated[tuple[Annotated[str, Meta(min_length=8, max_length=200)], ...], Meta(max_length=100)] = ()
    markup: GuardMode = "off"
    code: GuardMode = "off"
    refusal: Literal["off", "detect"] = "off"
    structure: Literal["off", "detect", "block"] = "off"  # the answer keeps the JSON Schema that the request names
    groundedness: Literal["off", "detect"] = "off"
    repetition: GuardMode = "off"
    allowed_hosts: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()


class Guards(_Declared, frozen=True):
    input: InputGuards = InputGuards()
    output: OutputGuards = OutputGuards()


class Application(_Declared, frozen=True):
    """Who may ask which models, guarded and limited how. `limits_per_key` holds for each key by itself."""

    owner: Annotated[str, Meta(min_length=1, max_length=200)]
    models: tuple[Name, ...] = ()
    classification: Classification = "internal"
    enabled: bool = True
    guards: Guards = Guards()
    limits: Limits = Limits(requests_per_minute=600, concurrent=64)
    limits_per_key: Limits = Limits()
    limits_per_model: dict[str, Limits] = {}
    when_counters_fail: Literal["refuse", "local"] = "refuse"
    keep_content_days: Annotated[int, Meta(ge=0, le=36_500)] = 30  # 0: contents are not kept, only their digests

    def problems(self) -> Iterator[str]:
        yield from self.guards.input.problems("guards.input")
        yield from self.guards.output.problems("guards.output")
        for name in self.limits_per_model:
            if name not in self.models:
                yield f"limits_per_model.{name}: the application may not use that model"


class Configuration(_Declared, frozen=True):
    """Everything that files declare, by name."""

    providers: dict[str, Provider] = {}
    models: dict[str, Model] = {}
    applications: dict[str, Application] = {}

    def problems(self) -> Iterator[str]:
        """What does not fit together. Each declaration by itself is valid already."""
        for name, provider in self.providers.items():
            yield from (f"providers.{name}: {problem}" for problem in provider.problems())
        for name, model in self.models.items():
            if model.provider not in self.providers:
                yield f"models.{name}.provider: there is no provider {model.provider}"
            for fallback in model.fallbacks:
                yield from (f"models.{name}.fallbacks: {p}" for p in self._fallback_problems(name, model, fallback))
        for name, application in self.applications.items():
            yield from (f"applications.{name}.{problem}" for problem in application.problems())
            for model_name in application.models:
                yield from (f"applications.{name}.models: {p}" for p in self._use_problems(application, model_name))

    def _fallback_problems(self, name: str, model: Model, fallback: str) -> Iterator[str]:
        other = self.models.get(fallback)
        if other is None:
            yield f"there is no model {fallback}"
        elif fallback == name:
            yield "a model cannot stand in for itself"
        elif CLASSIFICATIONS.index(other.classification) < CLASSIFICATIONS.index(model.classification):
            yield f"{fallback} may see {other.classification} data only, {name} up to {model.classification}"

    def _use_problems(self, application: Application, model_name: str) -> Iterator[str]:
        model = self.models.get(model_name)
        if model is None:
            yield f"there is no model {model_name}"
        elif CLASSIFICATIONS.index(model.classification) < CLASSIFICATIONS.index(application.classification):
            yield (
                f"{model_name} may see data up to {model.classification}, this application carries "
                f"{application.classification}"
            )
