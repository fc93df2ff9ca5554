"""Publishing the log: C2SP tiles and the checkpoint to the blob store, and the newest checkpoint outside the database.

The outside copy is what shows a truncation: whoever can rewrite the database cannot thereby rewrite it. Publishing
is idempotent, so several replicas may do it at once. A database behind its own published head is refused.
"""

import os
from pathlib import Path

from vallum.kernel.errors import IntegrityError, NotFound
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.ledger.merkle import verify_consistency
from vallum.kernel.ledger.note import Checkpoint, NoteVerifier, parse_checkpoint, verify_note
from vallum.kernel.ledger.ports import PublishedFiles
from vallum.kernel.ledger.tiles import render_bundle, tile_path
from vallum.kernel.ledger.tree import TILE_HASHES, StoredTree
from vallum.kernel.ledger.witness import NotWitnessed, Witnessing, check_witnessed
from vallum.kernel.store.records import Records

__all__ = ["LedgerRolledBack", "Publisher"]


class LedgerRolledBack(IntegrityError):
    """The database is not a continuation of a checkpoint that was published from it."""

    code = "ledger_rolled_back"


class Publisher:
    """One log's publisher. `run_once` is safe to call at any time and from any replica."""

    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        files: PublishedFiles,
        checkpoint_file: Path,
        witnessing: Witnessing | None = None,
    ) -> None:
        self._ledger = ledger
        self._records = records
        self._files = files
        self._checkpoint_file = checkpoint_file
        self._witnessing = witnessing
        self._verifier = NoteVerifier.parse(ledger.verifier_key)

    def check(self) -> None:
        """Hold the database to the outside checkpoint. Raises LedgerRolledBack."""
        outside = self.outside_checkpoint()
        if outside is not None:
            self._check_continues(self._parse(outside))

    def outside_checkpoint(self) -> bytes | None:
        try:
            return self._checkpoint_file.read_bytes()
        except FileNotFoundError:
            return None

    def run_once(self) -> int:
        """Publish what is new; the size published. Raises LedgerRolledBack and then publishes nothing."""
        self.check()
        published_note = self._published()
        published = self._parse(published_note) if published_note is not None else None
        if published is not None:
            self._check_continues(published)
        with self._records.read() as conn:
            note = self._ledger.head(conn).encode()
            size = self._parse(note).size
            start = published.size if published is not None else 0
            if published_note is not None and size == start and self._is_witnessed(published_note):
                return size
            self._put_tiles(StoredTree(conn), start, size)
            for number in range(start // TILE_HASHES, -(-size // TILE_HASHES)):
                high = min((number + 1) * TILE_HASHES, size)
                bundle = list(self._ledger.canonical_entries(conn, number * TILE_HASHES, high))
                self._files.put(tile_path("entries", number, len(bundle)), render_bundle(bundle))
        note = self._cosigned(note, size)
        self._files.put("checkpoint", note)
        _replace_durably(self._checkpoint_file, note)
        return size

    def _is_witnessed(self, note: bytes) -> bool:
        """Whether there is nothing to ask the witnesses for; a head that lacked a quorum is asked for again."""
        if self._witnessing is None:
            return True
        try:
            check_witnessed(note, self._witnessing.policy)
        except NotWitnessed:
            return False
        return True

    def _cosigned(self, note: bytes, size: int) -> bytes:
        """With whatever cosignatures came: an unwitnessed head still shows a rollback of this database."""
        if self._witnessing is None or size == 0:
            return note

        def prove(old_size: int) -> list[bytes]:
            with self._records.read() as conn:
                return self._ledger.prove_consistency(conn, old_size, size)

        return self._witnessing.cosign(note, size, prove)

    def _put_tiles(self, tree: StoredTree, start: int, size: int) -> None:
        level = 0
        while size:
            for number in range(start // TILE_HASHES, -(-size // TILE_HASHES)):
                width = min(TILE_HASHES, size - number * TILE_HASHES)
                hashes = tree.hashes(level, number * TILE_HASHES, width)
                self._files.put(tile_path(level, number, width), b"".join(hashes))
            start, size, level = start // TILE_HASHES, size // TILE_HASHES, level + 1

    def _published(self) -> bytes | None:
        try:
            return self._files.get("checkpoint")
        except NotFound:
            return None

    def _parse(self, note: bytes) -> Checkpoint:
        return parse_checkpoint(verify_note(note, [self._verifier]))

    def _check_continues(self, older: Checkpoint) -> None:
        with self._records.read() as conn:
            current = self._parse(self._ledger.head(conn).encode())
            if older.size > current.size:
                raise LedgerRolledBack(
                    f"the database holds {current.size} entries, but {older.size} were published: it was rolled back"
                )
            if older.size == 0:
                return
            path = self._ledger.prove_consistency(conn, older.size, current.size)
        try:
            verify_consistency(older.size, older.root, current.size, current.root, path)
        except IntegrityError as e:
            raise LedgerRolledBack(f"the first {older.size} entries are not those that were published") from e


def _replace_durably(path: Path, data: bytes) -> None:
    """The new file whole or the old one, whatever loses power."""
    fresh = path.with_name(path.name + f".{os.getpid()}.new")
    with fresh.open("wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(path)
