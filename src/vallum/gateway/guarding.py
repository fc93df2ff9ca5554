"""Each application's guards, built once for each set of settings."""

from typing import Any

from vallum.guards import GuardRunner, Mode, build_runner
from vallum.inventory import Application, GuardSettings

__all__ = ["Guarding"]

_GUARDS = ("secrets", "pii", "unicode", "size", "deny")
_MAX_BUILT = 256  # one holds some megabytes of automata; applications that agree share one


class Guarding:
    def __init__(self) -> None:
        self._built: dict[Any, GuardRunner] = {}

    def input(self, application: Application) -> GuardRunner:
        return self._runner(application.guards.input)

    def output(self, application: Application) -> GuardRunner:
        return self._runner(application.guards.output)

    def _runner(self, settings: GuardSettings) -> GuardRunner:
        runner = self._built.get(settings)
        if runner is None:
            modes = {name: Mode(getattr(settings, name)) for name in _GUARDS}
            runner = build_runner(modes, deny_phrases=settings.deny_phrases, max_chars=settings.max_chars)
            if len(self._built) >= _MAX_BUILT:
                self._built.pop(next(iter(self._built)))
            self._built[settings] = runner
        return runner
