"""Says that a stored version is not as it was signed, whoever ran into it: an entry of kind `alert`, for monitoring.

Once an hour for a version and what is wrong with it: a model of a thousand files is one finding, not a thousand.
"""

import logging
from threading import Lock

from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock
from vallum.kernel.errors import IntegrityError, VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.values import AssetRef, Subject

__all__ = ["DamageAlarm"]

_log = logging.getLogger("vallum.models")

_AGAIN_SECONDS = 3600
_MAX_TOLD = 10_000


class DamageAlarm:
    """Thread-safe. Never raises: whatever is wrong is refused all the same."""

    def __init__(self, gate: Gate, clock: Clock, subject: Subject) -> None:
        """`subject` is Vallum itself."""
        self._gate, self._clock, self._subject = gate, clock, subject
        self._lock = Lock()
        self._told: dict[tuple[str, str], float] = {}

    def __call__(self, version: str, error: IntegrityError) -> None:
        """Not inside a transaction of one's own: it writes."""
        key, now = (version, error.code), self._clock.now().timestamp()
        with self._lock:
            if now - self._told.get(key, 0.0) < _AGAIN_SECONDS:
                return
            if len(self._told) >= _MAX_TOLD:
                self._told.clear()
            self._told[key] = now
        context = {"error": error.code, "found": str(error)[:1000]}
        try:
            asset = AssetRef("ModelVersion", version)
            with self._gate.change(self._subject, Action.VERSION_DAMAGED, asset, context, kind="alert"):
                pass
        except VallumError as e:
            _log.error("%s is not as it was signed, and that could not be recorded: %s", version, e)
