"""Blobs: named bytes in a local folder or any S3, GCS or Azure bucket, behind one small face over obstore.

Leaves encryption to `keys`: what is put here is sealed before. A name is relative, with `/` between its parts.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import randbits
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, from_url

from vallum.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from vallum.kernel.store.growing import GrowingFile

__all__ = ["Blobs"]

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_MAX_NAME_CHARS = 512
_CHUNK_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20  # of a file; one that is still in the processor's cache is sealed or opened faster


class Blobs:
    """Thread-safe. Every method raises Unavailable when the store does not answer, Invalid for a name that is none."""

    def __init__(self, store: Any, folder: Path | None = None) -> None:
        """`folder` is where `store` keeps its blobs, if it is one."""
        self._store = store
        self._folder = folder

    @classmethod
    def open(cls, url: str, **options: Any) -> "Blobs":
        """`file:///folder` (made when absent), `memory:`, `s3://`, `gs://` or `az://`; credentials from the environment
        or `options`, as obstore names them. Raises Invalid for another URL."""
        try:
            if url == "memory:":
                return cls(MemoryStore())
            if url.startswith("file://"):
                folder = Path(url.removeprefix("file://"))
                if not folder.is_absolute():
                    raise Invalid("blobs.url: give the folder's whole path, as in file:///var/lib/vallum/blobs")
                return cls(LocalStore(folder, mkdir=True), folder)
            if not url.startswith(("s3://", "gs://", "az://")):
                raise Invalid("blobs.url: use file://, s3://, gs:// or az://")
            return cls(from_url(url, **options))
        except (BaseError, ValueError, OSError) as e:
            raise Invalid(f"blobs.url: the store cannot be opened: {type(e).__name__}") from e

    def put(self, name: str, data: bytes) -> None:
        """Whole or not at all; what was there is replaced."""
        try:
            obstore.put(self._store, _checked(name), data)
        except (BaseError, OSError) as e:
            raise _unavailable("write", name) from e

    def put_if_absent(self, name: str, data: bytes) -> None:
        """Raises Conflict when there is one already; of two at once, one wins."""
        try:
            obstore.put(self._store, _checked(name), data, mode="create")
        except AlreadyExistsError as e:
            raise Conflict(f"there is a blob {name} already") from e
        except (BaseError, OSError) as e:
            raise _unavailable("write", name) from e

    def put_stream(self, name: str, chunks: Iterable[bytes]) -> None:
        """As `put`, without holding the whole in memory."""
        try:
            if self._folder is None:
                obstore.put(self._store, _checked(name), iter(chunks))
            else:
                _write_whole(self._folder / _checked(name), chunks)
        except (BaseError, OSError) as e:
            raise _unavailable("write", name) from e

    def get(self, name: str) -> bytes:
        """Raises NotFound."""
        return b"".join(self.stream(name))

    def stream(self, name: str) -> Iterator[bytes]:
        """In chunks of up to some megabytes, all of one blob: one that is replaced meanwhile is Unavailable.

        Raises NotFound, before the first chunk. Of a bucket, larger ones are asked for range by range.
        """
        try:
            if self._folder is not None:
                yield from _read_whole(self._folder / _checked(name))
                return
            result = obstore.get(self._store, _checked(name))
            size, tag = result.meta["size"], result.meta["e_tag"]
            if size <= _CHUNK_BYTES:
                yield bytes(result.bytes())
                return
            del result  # and with it a connection, where there is one
            for at in range(0, size, _CHUNK_BYTES):
                wanted: Any = {"range": (at, min(at + _CHUNK_BYTES, size)), "if_match": tag}
                yield bytes(obstore.get(self._store, name, options=wanted).bytes())
        except FileNotFoundError as e:
            raise NotFound(f"there is no blob {name}") from e
        except (BaseError, OSError) as e:
            raise _unavailable("read", name) from e

    def exists(self, name: str) -> bool:
        try:
            obstore.head(self._store, _checked(name))
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as e:
            raise _unavailable("read", name) from e
        return True

    def list(self, prefix: str = "") -> list[str]:
        """The names below a folder `prefix`, in order."""
        try:
            pages = obstore.list(self._store, prefix=_checked(prefix) if prefix else None)
            return sorted(str(meta["path"]) for page in pages for meta in page)
        except (BaseError, OSError) as e:
            raise _unavailable("list", prefix) from e

    def delete(self, name: str) -> None:
        """No error when there is none."""
        try:
            obstore.delete(self._store, _checked(name))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as e:
            raise _unavailable("delete", name) from e


def _write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Beside its place, then there: as obstore does, whose own threads cost a third more for writing the same.

    No blob's name holds `#`, and what ends in `#` and a number obstore does not list.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}#{randbits(64)}")
    try:
        with GrowingFile(beside) as out:
            out.write_all(chunks)
        beside.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _read_whole(path: Path) -> Iterator[bytes]:
    """Raises OSError for a large one that is replaced, or removed, before its end. Obstore's own stream of a file comes
    in pieces of 8 KiB, at fifteen times the cost, and its ranges, by threads of its own, at twice."""
    with path.open("rb", buffering=0) as opened:
        own, at = os.fstat(opened.fileno()), 0
        while piece := opened.read(_PIECE_BYTES):
            at += len(piece)
            yield piece
            if _CHUNK_BYTES <= at < own.st_size and not os.path.samestat(own, path.stat()):
                raise OSError("replaced while it was read")


def _checked(name: str) -> str:
    """A name that means the same in a folder and a bucket, and cannot climb out of either."""
    if len(name) > _MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise Invalid("a blob's name is letters, digits, '.', '_' and '-', in parts divided by '/'")
    return name


def _unavailable(verb: str, name: str) -> Unavailable:
    return Unavailable(f"the blob store did not {verb} {name or 'its names'}: check that it is there and writable")
