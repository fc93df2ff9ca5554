"""What serving needs from elsewhere: which model a name leads to now, and the bytes of it that were verified."""

from pathlib import Path
from typing import Protocol

import msgspec

from vallum.models.runtime.model import ServingConfiguration

__all__ = ["Deployment", "Deployments"]


class Deployment(msgspec.Struct, frozen=True):
    """One version of a model as one release runs it in one environment. `digest` is hex, of the signed manifest."""

    environment: str
    product: str
    release: str
    model: str
    version: int
    digest: str
    serving: ServingConfiguration


class Deployments(Protocol):
    """Safe to call from any thread. Each raises Unavailable when it cannot say."""

    def current(self, environment: str, model: str, key: str) -> Deployment | None:
        """What answers for a model now; None when nothing does. The same `key` meets the same side of a canary.

        Asked for each request, so it answers from memory.
        """
        ...

    def shadow(self, environment: str, model: str, key: str) -> Deployment | None:
        """What hears this request, too, and whose answer nobody gets; None for most. From memory, as `current`."""
        ...

    def deployed(self, environment: str, model: str) -> tuple[Deployment, ...]:
        """All that answer or hear requests for a model now, the one that runs before the one on trial. From memory."""
        ...

    def observe(self, deployment: Deployment, *, failed: bool, seconds: float, findings: int = 0) -> None:
        """Count one answer, for whoever decides about a trial. `failed` is the model's fault, never the request's."""
        ...

    def checkout(self, deployment: Deployment, folder: Path) -> None:
        """Write the model's verified files below an empty private folder. Raises of the IntegrityError family, or
        Conflict for a version that must not run, and then leaves nothing behind."""
        ...
