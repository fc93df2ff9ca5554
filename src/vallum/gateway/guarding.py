"""Each application's guards, built once for each set of settings."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from threading import Lock
from time import monotonic
from typing import Any

from vallum.gateway.judges import open_classifier, open_judge
from vallum.guards import (
    Channel,
    DenyList,
    Exempt,
    Groundedness,
    GuardRunner,
    Leakage,
    Mode,
    Structure,
    Topic,
    TopicGuard,
    build_runner,
    kinds_of,
)
from vallum.guards.build import GUARDS
from vallum.inventory import Application, GuardException, GuardSettings, InputGuards, OutputGuards
from vallum.kernel.errors import IntegrityError, Invalid, Unavailable

__all__ = ["Guarding", "guard_names", "problems"]

_GUARDS = ("secrets", "pii", "unicode", "size", "deny", "topics")
_OUTPUT_GUARDS = ("links", "markup", "code", "refusal", "repetition")
_log = logging.getLogger("vallum.gateway")
_NOT_BUILT = "this application's guards cannot be built; the log of the gateway says why"
_TRY_AGAIN_SECONDS = 10
_WARMED = 16  # at some hundred milliseconds each, where they differ
_MAX_BUILT = 256  # one holds some megabytes of automata; applications that agree share one


class Guarding:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()  # of `build`: the first requests of an application come together
        self._built: dict[Any, GuardRunner] = {}
        self._seen: dict[int, tuple[InputGuards | OutputGuards, GuardRunner]] = {}
        self._failed: dict[Any, float] = {}  # until when it is not tried again: making it costs as much each time

    def warm(self, applications: Iterable[Application]) -> None:
        """Build what the first requests need before they come; what cannot be built refuses those requests itself."""
        for application in islice(applications, _WARMED):
            with suppress(Unavailable):
                self.build(application)

    def is_built(self, application: Application) -> bool:
        guards = application.guards
        return self._known(guards.input) is not None and self._known(guards.output) is not None

    def build(self, application: Application) -> None:
        """What a request would have to wait for. Raises Unavailable."""
        with self._lock:
            self._runner(application.guards.input)
            self._runner(application.guards.output)

    def input(self, application: Application) -> GuardRunner:
        return self._runner(application.guards.input)

    def output(
        self, application: Application, instructions: Sequence[str] = (), passages: Sequence[str] = ()
    ) -> GuardRunner:
        """`instructions` are the request's own, which the answer should not repeat; `passages` what it is made from."""
        settings = application.guards.output
        runner = self._runner(settings)
        leakage, groundedness = Mode(settings.leakage), Mode(settings.groundedness)
        if (instructions or settings.canaries) and runner.runs(Leakage.name, leakage):
            runner = runner.with_guard(Leakage(instructions, settings.canaries), leakage)
        if passages and runner.runs(Groundedness.name, groundedness):
            runner = runner.with_guard(Groundedness(passages), groundedness)
        return runner

    def judges_structure(self, application: Application) -> bool:
        settings = application.guards.output
        return self._runner(settings).runs(Structure.name, Mode(settings.structure))

    def structure(self, application: Application, schema: Mapping[str, Any]) -> GuardRunner:
        """What holds the answers to one request to its schema.

        Raises Invalid for a schema that cannot be checked, Unavailable without the library for it.
        """
        settings = application.guards.output
        try:
            guard = Structure(schema)
        except ImportError as e:
            raise Unavailable("the guard structure needs the extra: pip install 'vallum[structure]'") from e
        seconds = settings.budget_milliseconds / 1000
        guards = [(guard, Mode(settings.structure))]
        return GuardRunner(guards, exceptions=_exceptions(settings), budget_seconds=seconds, waits=True)

    def _known(self, settings: InputGuards | OutputGuards) -> GuardRunner | None:
        """By the very object first: comparing settings costs more than looking at a request."""
        seen = self._seen.get(id(settings))
        if seen is not None and seen[0] is settings:
            return seen[1]
        runner = self._built.get(settings)
        if runner is not None:
            if len(self._seen) >= _MAX_BUILT:
                self._seen.clear()
            self._seen[id(settings)] = settings, runner
        return runner

    def _runner(self, settings: InputGuards | OutputGuards) -> GuardRunner:
        runner = self._known(settings)
        if runner is None:
            if monotonic() < self._failed.get(settings, 0.0):
                raise Unavailable(_NOT_BUILT)
            try:
                runner = _build(settings)
            except (Invalid, IntegrityError, Unavailable) as e:  # nothing a client could change: a plug-in not here
                _log.error("an application's guards cannot be built, and it is refused: %s", e)
                self._failed[settings] = monotonic() + _TRY_AGAIN_SECONDS
                raise Unavailable(_NOT_BUILT) from e
            if len(self._built) >= _MAX_BUILT:
                self._built.pop(next(iter(self._built)))
            self._built[settings] = runner
        return runner


def _build(settings: InputGuards | OutputGuards) -> GuardRunner:
    common: dict[str, Any] = {
        "deny_phrases": settings.deny_phrases, "max_chars": settings.max_chars, "exceptions": _exceptions(settings),
        "plugins": [(plugin.guard, Mode(plugin.mode)) for plugin in settings.plugins],
        "more": [(open_classifier(c), Mode(c.mode)) for c in settings.classifiers],
        "topics": [Topic(topic.name, topic.words, topic.least) for topic in settings.topic_lists],
        "budget_seconds": settings.budget_milliseconds / 1000,
    }  # fmt: skip
    if isinstance(settings, OutputGuards):
        modes = _modes(settings, (*_GUARDS, *_OUTPUT_GUARDS))
        return build_runner(modes, allowed_hosts=settings.allowed_hosts, **common)
    declared = settings.injection_thresholds
    thresholds = {Channel.USER: declared.user, Channel.RETRIEVED: declared.retrieved, Channel.TOOL: declared.tool}
    return build_runner(
        _modes(settings, (*_GUARDS, "injection")),
        judge=None if settings.injection_judge is None else open_judge(settings.injection_judge),
        thresholds={channel: score for channel, score in thresholds.items() if score is not None},
        **common,
    )


def _modes(settings: GuardSettings, names: tuple[str, ...]) -> dict[str, Mode]:
    return {name: Mode(getattr(settings, name)) for name in names}


def _exceptions(settings: GuardSettings) -> list[Exempt]:
    return [Exempt(e.guard, Mode(e.mode), e.kind, e.channel, e.expires) for e in settings.exceptions]


def guard_names(application: Application | None) -> frozenset[str]:
    """Every guard there is for an application: Vallum's, plug-ins and classifiers."""
    if application is None:
        return GUARDS
    both = (application.guards.input, application.guards.output)
    return GUARDS.union(*({p.guard for p in s.plugins} | {c.name for c in s.classifiers} for s in both))


def problems(application: Application) -> Iterator[str]:
    """What in an application's guards could not be built, or would never match: said when it is planned."""
    for place, settings in (("guards.input", application.guards.input), ("guards.output", application.guards.output)):
        for number, exception in enumerate(settings.exceptions, start=1):
            yield from (f"{place}.exceptions, number {number}: {p}" for p in _problems_of(exception, settings))
        named = [plugin.guard for plugin in settings.plugins] + [each.name for each in settings.classifiers]
        for name, count in Counter(named).items():
            if name in GUARDS:
                yield f"{place}: {name} is a guard of Vallum's; give the plug-in or classifier another name"
            if count > 1:
                yield f"{place}: {name} is declared {count} times"
        topics = Counter(topic.name for topic in settings.topic_lists)
        twice = sorted(name for name, count in topics.items() if count > 1)
        yield from (f"{place}.topic_lists: {name} is declared more than once" for name in twice)
        try:
            DenyList(settings.deny_phrases)
            TopicGuard([Topic(topic.name, topic.words, topic.least) for topic in settings.topic_lists])
        except Invalid as e:
            yield f"{place}: {e}"
    settings = application.guards.input
    if settings.injection_judge is not None and settings.injection == "off":
        yield "guards.input.injection_judge: the guard injection is off, so nobody would ask it"


def _problems_of(exception: GuardException, settings: GuardSettings) -> Iterator[str]:
    kinds = kinds_of(exception.guard)
    if exception.guard == TopicGuard.name:
        kinds = frozenset(f"topic_{topic.name}" for topic in settings.topic_lists)
    if exception.kind != "*" and kinds is not None and exception.kind not in kinds:
        near = get_close_matches(exception.kind, kinds, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        yield f"{exception.guard} has no kind {exception.kind}{meant}"
