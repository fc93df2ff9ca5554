"""Files of models between the network, the blob store and a private folder: each byte is read once, and sealed before
it is stored.

Every upload has a key of its own, sealed under the purpose `artifacts`; its files are streams (`kernel.keys.streaming`)
under that key, bound to the model's name, the version's number and the file's path, so that no blob opens in another's
place. Erasing that key erases them all. The plaintext that the scanner needs is spooled as it arrives, in a folder for
this user alone; what this very process has not spooled, or what is gone, is opened from its blob again.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from stat import S_ISREG
from tempfile import mkdtemp
from threading import Lock, Thread
from time import time
from typing import Any, NamedTuple, Protocol

from vallum.kernel.errors import Invalid, NotFound, Unavailable
from vallum.kernel.keys import SealBroken, decrypt_stream, encrypt_stream
from vallum.kernel.store.beside import Beside
from vallum.kernel.store.growing import GrowingFile
from vallum.models.registry.model import ModelFile, VersionDamaged
from vallum.models.scan.pickles.arriving import ArrivingStarts
from vallum.models.scan.port import Starts

__all__ = ["Artifacts", "BlobStore", "Place", "StoredFile", "sweep_spool"]

_PIECE_BYTES = 1 << 20  # what is given to clients, and copied, at once
_SEALED_BYTES = 256 * 1024  # of a chunk of the stream: what is given to the store at once, and still lies in the cache
_LARGE_BYTES = 32 << 20  # some milliseconds to remove
_SPOOLED_SECONDS = 3600  # plaintext of an upload that nobody completes lies no longer; its blobs stay for the day


class BlobStore(Protocol):
    """What of `kernel.store.blobs.Blobs` is needed here."""

    def put_stream(self, name: str, chunks: Iterable[bytes]) -> None: ...

    def stream(self, name: str) -> Iterator[bytes]: ...

    def list(self, prefix: str = "") -> list[str]: ...

    def delete(self, name: str) -> None: ...


class Place(NamedTuple):
    """What a file is bound to: it opens nowhere else."""

    model: str
    number: int
    path: str

    @property
    def aad(self) -> bytes:
        """Names hold no NUL, so no two places read alike."""
        return b"\x00".join((b"model_files", self.model.encode(), b"%d" % self.number, self.path.encode()))

    def part(self, begin: int) -> bytes:
        """Of a part that begins there: it opens at no other place of the file, and for no whole file."""
        return b"\x00".join((self.aad, b"part", b"%d" % begin))


class StoredPart(NamedTuple):
    begin: int
    size: int
    blob: str


class StoredFile(NamedTuple):
    """In one blob, or in one for each of its parts."""

    file: ModelFile
    blob: str
    parts: tuple[StoredPart, ...] = ()

    @property
    def blobs(self) -> tuple[str, ...]:
        return tuple(part.blob for part in self.parts) or (self.blob,)


class _Written(NamedTuple):
    """Which file it is, and when it was last changed in any way: nobody sets the latter back who is not root."""

    device: int
    inode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "_Written | None":
        """None when it is gone, or is no file any more."""
        try:
            found = path.lstat()
        except FileNotFoundError:
            return None
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns) if S_ISREG(found.st_mode) else None


class _Spooled(NamedTuple):
    """Plaintext that this process has written down whole; and where in it pickles may begin, where that is known."""

    written: _Written | None
    starts: Starts | None

    def is_still(self, path: Path) -> bool:
        return self.written is not None and self.written == _Written.of(path)


class LaidOut(NamedTuple):
    """A model's folder; and in which of its files it is known where pickles may begin, by their paths in it."""

    folder: Path
    starts_in: dict[str, Starts]


class Artifacts:
    """Safe to share between threads."""

    def __init__(self, blobs: BlobStore, spool: Path) -> None:
        """`spool` is made when needed. It wants a file system for this service alone, encrypted or in memory."""
        self._blobs = blobs
        self._spool = spool
        self._lock = Lock()
        self._spooled: dict[str, _Spooled] = {}  # by their blobs

    def take(self, key: bytes, place: Place, blob: str, chunks: Iterable[bytes]) -> ModelFile:
        """Hash, search, spool and seal what arrives, in one read of it; nothing is left when anything fails.

        Raises Unavailable when there is no room or the store does not answer; and whatever `chunks` raises.
        """
        digest = hashlib.sha256()
        size = self._take(key, place.aad, blob, chunks, digest, ArrivingStarts())
        return ModelFile(place.path, digest.hexdigest(), size)

    def take_part(self, key: bytes, place: Place, begin: int, blob: str, chunks: Iterable[bytes], digest: Any) -> int:
        """As `take`, of the bytes from `begin` on; `digest` goes on with them. Returns how many there are."""
        return self._take(key, place.part(begin), blob, chunks, digest, None)

    def _take(
        self, key: bytes, aad: bytes, blob: str, chunks: Iterable[bytes], digest: Any, arriving: ArrivingStarts | None
    ) -> int:
        size = 0
        spooled = self._spool_of(blob)

        def told() -> Iterator[bytes]:
            """Hashing takes as long as all else together."""
            nonlocal size
            for chunk in chunks:
                with _no_room():  # said here, or the store would call it its own
                    out.write(chunk)
                if arriving is not None:
                    arriving.see(chunk)
                size += len(chunk)
                hashing.add(chunk)
                yield chunk

        try:
            with _no_room(), Beside(digest.update) as hashing:
                with _created(spooled) as out:
                    self._blobs.put_stream(blob, encrypt_stream(key, told(), aad, chunk_bytes=_SEALED_BYTES))
                written = _Written.of(spooled)
        except BaseException:
            spooled.unlink(missing_ok=True)
            self.drop([blob])
            raise
        starts = None if arriving is None else arriving.starts()
        with self._lock:
            self._spooled[blob] = _Spooled(written, starts)
        return size

    def open(self, key: bytes, place: Place, stored: StoredFile) -> Iterator[bytes]:
        """A file's bytes in pieces, each authentic and in its place; the file is whole when this ends without raising.

        Raises VersionDamaged when the blob is gone, altered, cut, another's, or not what its digest says.
        """
        digest, size = hashlib.sha256(), 0
        for part in stored.parts or (None,):
            for piece in self._pieces(key, place, stored.blob) if part is None else self.open_part(key, place, part):
                digest.update(piece)
                size += len(piece)
                yield piece
        if (digest.hexdigest(), size) != (stored.file.sha256, stored.file.size):
            raise VersionDamaged(f"{place.path} of {place.model}/{place.number} is not what was uploaded")

    def open_part(self, key: bytes, place: Place, part: StoredPart) -> Iterator[bytes]:
        """Raises VersionDamaged, as `open` does."""
        return self._pieces(key, place, part.blob, part.begin)

    def _pieces(self, key: bytes, place: Place, blob: str, begin: int | None = None) -> Iterator[bytes]:
        aad = place.aad if begin is None else place.part(begin)
        try:
            yield from _joined(decrypt_stream(key, self._blobs.stream(blob), aad))
        except (NotFound, SealBroken) as e:
            why = "is gone" if isinstance(e, NotFound) else "was altered"
            raise VersionDamaged(f"{place.path} of {place.model}/{place.number} {why} in the blob store") from e

    def write(self, key: bytes, model: str, number: int, stored: Sequence[StoredFile], folder: Path) -> None:
        """Every file below `folder`, for its owner to read. Raises as `open` does, and Unavailable without room."""
        with _no_room():
            for one in stored:
                with _created(folder / one.file.path, 0o400) as out:
                    for piece in self.open(key, Place(model, number, one.file.path), one):
                        out.write(piece)

    @contextmanager
    def laid_out(self, key: bytes, model: str, number: int, stored: Sequence[StoredFile]) -> Iterator[LaidOut]:
        """All files as the model's folder, to be scanned; gone after the block, large ones a moment later. Raises as
        `write` does.

        What was spooled is taken for what was hashed only while it is the very file that was written then. What
        changed before the block is opened from its blobs instead; what changed inside of it raises Unavailable behind
        it: nobody knows which bytes were scanned.
        """
        with _no_room():
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Path(mkdtemp(prefix="scan-", dir=self._spool))
        try:
            absent = []
            starts_in = {}
            for one in stored:
                with self._lock:
                    known = [self._spooled.pop(blob, None) for blob in one.blobs]
                spooled = [self._spool_of(blob) for blob in one.blobs]
                if all(was and was.is_still(path) for was, path in zip(known, spooled, strict=True)):
                    with _no_room():
                        path = folder / one.file.path
                        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                        spooled[0].rename(path)
                        _append(path, spooled[1:])
                    if not one.parts and known[0] and known[0].starts is not None:
                        starts_in[one.file.path] = known[0].starts
                else:
                    absent.append(one)
            self.write(key, model, number, absent, folder)
            laid = {path: _Written.of(path) for path in (folder / one.file.path for one in stored)}
            sizes = {folder / one.file.path: one.file.size for one in stored}
            yield LaidOut(folder, starts_in)
            if any(was is None or was.size != sizes[path] or was != _Written.of(path) for path, was in laid.items()):
                raise Unavailable("a file of the model was changed while it was scanned; nothing was decided")
        finally:
            _remove(folder, sum(one.file.size for one in stored))

    def drop(self, blobs: Iterable[str]) -> None:
        """What cannot be deleted now is left for `drop_all_but`: without its key it is noise."""
        for blob in blobs:
            with self._lock:
                self._spooled.pop(blob, None)
            self._spool_of(blob).unlink(missing_ok=True)
            with suppress(Unavailable):
                self._blobs.delete(blob)

    def drop_all_but(self, upload: str, kept: Iterable[str]) -> None:
        """Blobs of an upload that nothing names: of files that came twice, or whose sender left. Raises Unavailable."""
        for blob in set(self._blobs.list(f"models/{upload}")) - set(kept):
            self._blobs.delete(blob)

    def _spool_of(self, blob: str) -> Path:
        return self._spool / blob.replace("/", "-")


def sweep_spool(spool: Path) -> None:
    """Remove plaintext that was left: of uploads not completed within the hour, of processes that died."""
    past = time() - _SPOOLED_SECONDS
    for path in spool.glob("*") if spool.is_dir() else ():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime > past:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _remove(folder: Path, size: int) -> None:
    """Nobody waits for a file system to let go of gigabytes; a process that ends does."""
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    if size < _LARGE_BYTES:
        remove()
    else:
        Thread(target=remove, name="removing").start()


def _append(path: Path, others: Sequence[Path]) -> None:
    """Each is gone when it is there: no two copies of a large model lie on the disk at once."""
    for other in others:
        with path.open("ab") as out, other.open("rb") as given:
            shutil.copyfileobj(given, out, _PIECE_BYTES)
        other.unlink()


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """In larger pieces: each one given on costs as much as some hundred kilobytes."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _created(path: Path, mode: int = 0o600) -> GrowingFile:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return GrowingFile(path, mode)


@contextmanager
def _no_room() -> Iterator[None]:
    try:
        yield
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as e:
        raise Invalid("a path in the model is both a file and a folder, or lies there already") from e
    except OSError as e:
        raise Unavailable(f"the model's files cannot be written here: {e.strerror or type(e).__name__}") from e
