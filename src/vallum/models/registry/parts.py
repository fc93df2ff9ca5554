"""Large files that arrive in parts: who lost the connection goes on after the last part that was acknowledged.

Each part is sealed by itself, under the upload's key, bound to its model, version, path and where in the file it
begins; a part is acknowledged with the SHA-256 of the file up to its end. So a sender knows whether what lies here is
what lies there, and hashes are made once: the last part's is the file's. `join` makes the file of them, when digest
and size are what the sender says. Answers parts of another upload, swapped, dropped or sent twice, and by others.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Row, func, select, union

from vallum.kernel.errors import Invalid
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import Subject
from vallum.models.registry.artifacts import Artifacts, Place, StoredPart
from vallum.models.registry.model import (
    MAX_FILES,
    ModelFile,
    PartOutOfStep,
    UploadDigestDiffers,
    UploadPart,
    UploadTooLarge,
    check_file_path,
)
from vallum.models.registry.records import files, parts
from vallum.models.registry.uploads import Uploads, bounded, key_of, may_send, mine_of, room_of

__all__ = ["Parts", "ReceivedPart"]

_MAX_PARTS = 4096  # of an upload, or as many of these as it may have bytes: each part costs a look at those before
_LEAST_PART_BYTES = 32 << 20
_MAX_RUNNING = 1024  # unfinished digests that are kept; without one, parts are read back from their blobs


@dataclass(frozen=True, slots=True)
class ReceivedPart:
    """A part that arrived whole and is stored, and not yet acknowledged."""

    upload: str
    path: str
    part: UploadPart
    blob: str


class Parts:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        artifacts: Callable[[], Artifacts],
        uploads: Uploads,
        max_upload_bytes: int,
    ) -> None:
        self._records = records
        self._keyring = keyring
        self._artifacts = artifacts
        self._uploads = uploads
        self._max_upload_bytes = max_upload_bytes
        self._lock = Lock()
        self._running: OrderedDict[str, Any] = OrderedDict()  # by the blob of the last part that is in it

    def receive(
        self, model: str, upload: str, by: Subject, path: str, begin: int, chunks: Iterable[bytes]
    ) -> ReceivedPart:
        """Store what arrives from `begin` on; acknowledged by `keep`. Not in a transaction: it takes its time.

        Raises NotFound, UploadBusy, PartOutOfStep, UploadTooLarge, Invalid, Unavailable; and what `chunks` raises.
        """
        check_file_path(path)
        with self._records.read() as conn:
            row = may_send(mine_of(conn, model, upload, by))
            room = self._max_upload_bytes - room_of(conn, upload)
            before = self._of(conn, upload, path)
            count, others = self._counted(conn, upload, path)
        _require_next(before, begin)
        most = max(_MAX_PARTS, self._max_upload_bytes // _LEAST_PART_BYTES)
        if count >= most or others >= MAX_FILES:
            raise UploadTooLarge(f"an upload has at most {MAX_FILES} files and {most} parts: send larger ones")
        key, blob = key_of(self._keyring, row), f"models/{upload}/{new_id('blb')}"
        place = Place(model, int(row.number), path)
        digest = self._digest_so_far(key, place, before)
        pieces = bounded(chunks, room, self._max_upload_bytes)
        size = self._artifacts().take_part(key, place, begin, blob, pieces, digest)
        if not size:
            self._artifacts().drop([blob])
            raise Invalid("a part holds at least one byte of its file")
        with self._lock:
            self._running[blob] = digest
            while len(self._running) > _MAX_RUNNING:
                self._running.popitem(last=False)
        return ReceivedPart(upload, path, UploadPart(begin, size, digest.hexdigest()), blob)

    def keep(self, conn: Connection, received: ReceivedPart) -> UploadPart:
        """Acknowledge it. Raises UploadBusy when the upload is over, PartOutOfStep when somebody was quicker."""
        self._uploads.touch(conn, received.upload)  # and nobody else keeps one of it until this is committed
        part = received.part
        _require_next(self._of(conn, received.upload, received.path), part.begin)
        conn.execute(
            upsert(conn, parts).values(
                upload=received.upload, path=received.path, begin=part.begin, size=part.size, sha256=part.sha256,
                blob=received.blob,
            )
        )  # fmt: skip
        return part

    def join(
        self, conn: Connection, model: str, upload: str, by: Subject, path: str, said: tuple[str, int]
    ) -> ModelFile:
        """Make the file of its parts. `said` is its SHA-256 and size as the sender has them.

        Raises NotFound, UploadBusy, and UploadDigestDiffers, after which its parts are still there to be removed.
        """
        mine_of(conn, model, upload, by)
        self._uploads.touch(conn, upload)
        arrived = self._of(conn, upload, path)
        last = arrived[-1] if arrived else None
        there = (last.sha256, last.begin + last.size) if last is not None else ("", 0)
        if there != said:
            raise UploadDigestDiffers(
                f"{path}: {there[1]} bytes arrived, and they are not those of the file that was named: "
                "remove it from the upload, and send it again"
            )
        found = {"sha256": there[0], "size": there[1], "blob": ""}
        values = {"upload": upload, "path": path, **found}
        conn.execute(
            upsert(conn, files).values(values).on_conflict_do_update(index_elements=["upload", "path"], set_=found)
        )
        return ModelFile(path, *there)

    def _counted(self, conn: Connection, upload: str, path: str) -> tuple[int, int]:
        """How many parts there are, and how many files, whole or not, beside `path`."""
        count = conn.execute(select(func.count()).select_from(parts).where(parts.c.upload == upload)).scalar_one()
        named = select(files.c.path).where(files.c.upload == upload)
        both = union(named, select(parts.c.path).where(parts.c.upload == upload)).subquery()
        others = conn.execute(select(func.count()).select_from(both).where(both.c.path != path)).scalar_one()
        return int(count), int(others)

    def _of(self, conn: Connection, upload: str, path: str) -> list[Row[Any]]:
        c = parts.c
        return list(conn.execute(select(parts).where(c.upload == upload, c.path == path).order_by(c.begin)))

    def _digest_so_far(self, key: bytes, place: Place, before: list[Row[Any]]) -> Any:
        """Of the parts that are here: as it was kept, or by reading back what came after that."""
        at, digest = 0, hashlib.sha256()
        with self._lock:
            for index in range(len(before), 0, -1):
                kept = self._running.get(before[index - 1].blob)
                if kept is not None:
                    at, digest = index, kept.copy()
                    break
        for row in before[at:]:
            for piece in self._artifacts().open_part(key, place, StoredPart(int(row.begin), int(row.size), row.blob)):
                digest.update(piece)
        return digest


def _require_next(before: list[Row[Any]], begin: int) -> None:
    end = int(before[-1].begin + before[-1].size) if before else 0
    if begin != end:
        raise PartOutOfStep(f"the next part of this file begins at byte {end}: read the upload, and go on from there")
