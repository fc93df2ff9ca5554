"""What the pipeline asks of a provider: one answer, or the bytes of a stream as they come."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from vallum.gateway.protocols import WireProtocol
from vallum.guards import Counted
from vallum.kernel.keys import Lease

__all__ = ["Call", "Leases", "Upstream", "UpstreamAnswer", "UpstreamStream"]


def _nobody_asks(_: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one model of one provider. `document` is what the guards let through.

    What a provider of Vallum's own finds out goes into `findings` and `context`, and so into the entry, whether or not
    there is an answer.
    """

    protocol: WireProtocol
    document: dict[str, Any]
    model_name: str  # the provider's own name for it
    headers: Mapping[str, str]  # the client's, of those that may travel on
    subject: str = ""
    side_key: str = ""  # which side of a trial it meets: the same key, the same side
    entry_id: str = ""
    findings: list[Counted] = field(default_factory=list)
    context: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """`judged` is told once how many findings the guards had in it."""

    status: int
    body: bytes
    retry_after: str | None = None
    judged: Callable[[int], None] = _nobody_asks


@dataclass(frozen=True, slots=True)
class UpstreamStream:
    """When `refused` is None, `chunks` are the stream's bytes; else the provider answered with an error."""

    chunks: AsyncIterator[bytes]
    refused: UpstreamAnswer | None = None


class Leases(Protocol):
    """The vault's secrets, by name and consumer. Both raise NotFound and SecretRefused."""

    async def current(self, name: str, consumer: str) -> Lease:
        """The version in use."""
        ...

    async def other(self, name: str, consumer: str) -> Lease | None:
        """A former version that is still readable."""
        ...


class Upstream(Protocol):
    """Raises UpstreamFailed when there is no answer to have."""

    async def call(self, call: Call) -> UpstreamAnswer: ...

    def stream(self, call: Call) -> AbstractAsyncContextManager[UpstreamStream]: ...

    async def close(self) -> None: ...
