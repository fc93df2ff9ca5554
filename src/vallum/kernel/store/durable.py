"""Durable work: functions that go on after a crash where they stopped, and schedules, on DBOS Transact.

A workflow's steps are remembered as they finish, so that starting again repeats none of them. What is remembered is
JSON, never pickles: nothing that is read back from the database can run. On SQLite the memory is a file of its own
beside the records; on PostgreSQL a schema of its own in the same database.

DBOS is imported when one is opened: only the process that does background work pays for it.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from vallum.kernel.errors import Invalid, Unavailable, VallumError

__all__ = ["Durable"]

P = ParamSpec("P")
R = TypeVar("R")

_APPLICATION = "vallum"
_VERSION = "1"  # of the workflows' shape: a recovery never runs steps of another shape


class Durable:
    """One process's durable work. Register everything, then `start`; there is one to a process."""

    def __init__(self, records_url: str) -> None:
        """`records_url` as `Records` takes it."""
        from dbos import DBOS

        self._dbos = DBOS
        self._schedules: list[Any] = []  # DBOS's ScheduleInput, a dictionary
        self._started = False
        try:
            DBOS(
                config={
                    "name": _APPLICATION,
                    "system_database_url": _system_url(records_url),
                    "serializer": _json_serializer(),
                    "application_version": _VERSION,
                    "enable_otlp": False,
                    "log_level": "WARNING",
                    "console_log_level": "WARNING",
                    "max_executor_threads": 4,
                }
            )
        except Exception as e:
            raise Unavailable(f"durable work cannot be opened: {type(e).__name__}") from e

    def workflow(self, name: str, work: Callable[P, R]) -> Callable[P, R]:
        """`work`, gone on with after a crash. What it takes and returns is JSON; what it does, it does in steps."""
        return self._dbos.workflow(name=name)(work)

    def step(self, name: str, work: Callable[P, R]) -> Callable[P, R]:
        """`work`, done once in a workflow: when it has returned, it is not done again."""
        return self._dbos.step(name=name)(work)

    def schedule(self, name: str, cron: str, work: Callable[[], None]) -> None:
        """Do `work` at each time `cron` names (UTC; six fields begin with seconds), in one process of all."""

        def scheduled(at: datetime, context: Any) -> None:
            work()

        scheduled.__qualname__ = scheduled.__name__ = f"schedule_{name}"
        workflow = self._dbos.workflow(name=f"schedule/{name}")(scheduled)
        self._schedules.append({"schedule_name": name, "workflow_fn": workflow, "schedule": cron, "context": None})

    def start(self) -> None:
        """Go on with what was interrupted, and begin the schedules. Raises Invalid for a cron that is none."""
        try:
            self._dbos.launch()
            self._started = True
            if self._schedules:
                self._dbos.apply_schedules(self._schedules)
        except VallumError:
            raise
        except Exception as e:
            if "cron" in str(e).lower():
                raise Invalid(f"a schedule cannot be read: {e}") from e
            raise Unavailable(f"durable work cannot start: {type(e).__name__}") from e

    def run(self, workflow: Callable[..., R], key: str, *arguments: Any) -> R:
        """The result of one run; a second call with the same `key` waits for the first and gives its result."""
        from dbos import SetWorkflowID

        with SetWorkflowID(key):
            return workflow(*arguments)

    def stop(self) -> None:
        self._dbos.destroy(destroy_registry=True)


def _system_url(records_url: str) -> str:
    if records_url.startswith("sqlite:///"):
        path = Path(records_url.removeprefix("sqlite:///"))
        return f"sqlite:///{path.with_name('durable.db')}"
    return records_url


def _json_serializer() -> Any:
    from dbos import Serializer

    class JsonSerializer(Serializer):
        def name(self) -> str:
            return "vallum_json"

        def serialize(self, data: Any) -> str:
            return json.dumps(data, default=_encode)

        def deserialize(self, serialized_data: str) -> Any:
            return json.loads(serialized_data, object_hook=_decode)

    return JsonSerializer()


def _encode(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, Exception):
        return {"$error": type(value).__name__}  # the message may hold what a step worked on
    raise TypeError(f"durable work remembers JSON, not {type(value).__name__}")


def _decode(value: dict[str, Any]) -> Any:
    if value.keys() == {"$time"}:
        return datetime.fromisoformat(value["$time"])
    if value.keys() == {"$error"}:
        return Unavailable(f"an earlier run of this work failed with {value['$error']}")
    return value
