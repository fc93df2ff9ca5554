"""Data sets over the API: a source in with its contract, and rows out as Polars, pandas or Arrow."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from vallum.client.frames import frames_of
from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DATA_ROUTES", "RowStream", "rows_of", "take_in"]

_PIECE_BYTES = 1 << 20
_INTAKE = "/data-sets/{name}/intakes/{intake}"
_VERSION = "/data-sets/{name}/versions/{number}"

DATA_ROUTES: Mapping[str, tuple[str, str]] = {
    "begin_data_intake": ("POST", "/data-sets/{name}/intakes"),
    "send_data_source": ("PUT", _INTAKE + "/source"),
    "complete_data_intake": ("POST", _INTAKE + "/completion"),
    "release_statistic": ("POST", _VERSION + "/statistics"),
    "read_data_rows": ("GET", _VERSION + "/rows"),
    "export_data_rows": ("GET", _VERSION + "/export"),
}
"""The routes that this needs, by name: method, and path below `/api/v1`."""


class Performer(Protocol):
    def perform(self, name: str, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None) -> Any:
        """A route's answer as plain values; a file's body is given, and a download comes, as an iterator of bytes."""
        ...


def take_in(
    api: Performer,
    dataset: str,
    source: Path,
    contract: bytes,
    *,
    purpose: str = "",
    parents: Mapping[str, str] = MappingProxyType({}),
    evaluation: str = "",
    begun: Callable[[dict[str, Any]], None] = lambda intake: None,
    sent: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda size: None,
) -> dict[str, Any]:
    """A source as a version of `dataset`, which may have failed its gates: see its `state`.

    `parents` are the tables that the contract refers to and `evaluation` the set that must not leak into the source:
    governed versions, NAME/NUMBER, or data sets for their newest.
    `begun` hears of the intake first, `progress` of bytes as they are sent, `sent` when all are and judging begins.
    """
    try:
        agreed = contract.decode()
    except UnicodeDecodeError as e:
        raise Invalid("the contract is no UTF-8") from e
    body: dict[str, Any] = {"file_name": source.name, "contract": agreed, "purpose": purpose}
    body |= {"parents": dict(parents)} if parents else {}
    body |= {"evaluation": evaluation} if evaluation else {}
    intake = api.perform("begin_data_intake", path={"name": dataset}, body=body)
    begun(intake)
    at = {"name": dataset, "intake": intake["id"]}
    api.perform("send_data_source", path=at, body=_pieces(source, progress))
    sent()
    made: dict[str, Any] = api.perform("complete_data_intake", path=at)
    return made


class RowStream:
    """A version's rows on their way: `arrow` is the stream as it comes, the rest reads it to its end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def arrow(self) -> Iterator[bytes]:
        """Bytes of an Arrow IPC stream, for `pyarrow.ipc.open_stream` and others; cut off where the source failed."""
        return self._chunks

    def frames(self) -> "Iterator[pl.DataFrame]":
        """A frame at a time, as they arrive: memory stays at one. Raises Invalid when cut off."""
        return frames_of(self._chunks)

    def polars(self) -> "pl.DataFrame":
        import polars as pl

        raw = b"".join(self._chunks)
        if not raw.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00"):
            raise Invalid("the rows came without their end: read them again")
        return pl.read_ipc_stream(io.BytesIO(raw))

    def pandas(self) -> Any:
        """Needs pandas and pyarrow."""
        return self.polars().to_pandas()


def rows_of(
    api: Performer,
    dataset: str,
    number: int,
    *,
    purpose: str = "",
    columns: Sequence[str] = (),
    export: bool = False,
    mounted: Mapping[str, str] = MappingProxyType({}),
) -> RowStream:
    """Columns of personal data come masked without the version's purpose, or without a decision that has them. What is
    `mounted` says its `run`, and for how many `lease_seconds`."""
    path = {"name": dataset, "number": str(number)}
    query = {"purpose": purpose, "columns": ",".join(columns), **mounted}
    name = "export_data_rows" if export else "read_data_rows"
    return RowStream(iter(api.perform(name, path=path, query={k: v for k, v in query.items() if v})))


def _pieces(file: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE_BYTES):
                yield piece
                progress(len(piece))
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e
