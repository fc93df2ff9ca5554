"""What the catalogue needs from outside: a store of blobs, and somebody who signs a report."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

__all__ = ["BlobStore", "SignReport"]


class BlobStore(Protocol):
    """What of `kernel.store.blobs.Blobs` is needed here."""

    def put_stream(self, name: str, chunks: Iterable[bytes]) -> None: ...

    def stream(self, name: str) -> Iterator[bytes]: ...

    def list(self, prefix: str = "") -> list[str]: ...

    def delete(self, name: str) -> None: ...


class SignReport(Protocol):
    """Signs what is said of a version: a DSSE envelope (JSON) around an in-toto statement."""

    def prepare(self) -> None:
        """Called outside of a transaction, some time before signing in one."""
        ...

    def __call__(self, name: str, sha256: str, predicate: Mapping[str, Any]) -> bytes: ...

    def verify(self, envelope: bytes, name: str) -> tuple[str, Mapping[str, Any]]:
        """The digest and the predicate that were signed of `name`. Raises of the IntegrityError family."""
        ...
