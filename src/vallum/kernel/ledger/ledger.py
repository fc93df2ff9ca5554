"""The ledger: an append-only Merkle log in the database, in the caller's transaction.

On SQLite, whose writers take turns, an append numbers its entries, extends the tree and signs the new checkpoint
in the same commit. On PostgreSQL many replicas append unnumbered entries and the sequencer numbers them a moment
later; between the two, an entry is durable but not yet under a checkpoint. Contents are sealed beside the entries
under the tenant's content key and bound to their entry and name.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import IntegrityError, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.keys.model import Purpose
from vallum.kernel.ledger import records
from vallum.kernel.ledger.entry import (
    Entry,
    EntryDraft,
    Receipt,
    StoredEntry,
    content_digest,
    decode_entry,
    encode_entry,
)
from vallum.kernel.ledger.export import render_header
from vallum.kernel.ledger.holds import load_holds
from vallum.kernel.ledger.merkle import Frontier, leaf_hash
from vallum.kernel.ledger.note import Checkpoint, NoteSigner, sign_note
from vallum.kernel.ledger.ports import Keys
from vallum.kernel.ledger.tree import StoredTree, split_hashes, store_completed_tiles
from vallum.kernel.values import AssetRef, TenantId

__all__ = ["ContentMismatch", "Ledger", "PreparedEntry", "content_aad", "open_content"]


class ContentMismatch(IntegrityError):
    """A sealed content is not the one that its entry's digest names."""

    code = "ledger_content_mismatch"


_SALT_BYTES = 32
_EXPORT_PAGE = 1000
_HISTORY_PAGE = 500


@dataclass(frozen=True, slots=True)
class PreparedEntry:
    """An entry encoded, hashed and with its contents sealed: all that can fail before the transaction has."""

    entry: Entry
    canonical: bytes
    leaf: bytes
    sealed: tuple[tuple[str, bytes, bytes], ...]  # name, salt, sealed content
    expires_at_seconds: int | None


class Ledger:
    """One log. Safe to share between threads; connections are the caller's."""

    def __init__(self, keys: Keys, clock: Clock, origin: str) -> None:
        """`origin` names the log in its checkpoints and its signing key in the keyring."""
        self._keys = keys
        self._clock = clock
        self._signer = NoteSigner(origin, keys.signing_key(f"ledger:{origin}"))
        self.origin = origin
        self.verifier_key = self._signer.verifier.render()

    # writing

    def prepare(self, draft: EntryDraft, conn: Connection | None = None) -> PreparedEntry:
        """Encode, hash and seal. Raises Invalid for an entry that is too large.

        `conn` is the write transaction the caller is in, if any: a tenant's first content makes its key there.
        """
        entry_id = draft.entry_id or new_id("ent")
        digests: dict[str, str] = {}
        sealed: list[tuple[str, bytes, bytes]] = []
        for name, content in draft.contents.items():
            salt = os.urandom(_SALT_BYTES)
            digests[name] = content_digest(salt, content)
            box = self._keys.seal(
                TenantId(draft.tenant), Purpose.CONTENT, content, content_aad(entry_id, name), conn=conn
            )
            sealed.append((name, salt, box))
        entry = Entry(
            entry_id=entry_id,
            time=format_time(self._clock.now()),
            tenant=draft.tenant,
            kind=draft.kind,
            subject=draft.subject,
            credential=draft.credential,
            action=draft.action,
            asset=draft.asset,
            effect=draft.effect,
            outcome=draft.outcome,
            policies=draft.policies,
            policy_set=draft.policy_set,
            reason=draft.reason,
            findings=draft.findings,
            context=dict(draft.context),
            contents=digests,
        )
        canonical = encode_entry(entry)
        expires = None
        if draft.retention_seconds is not None and sealed:
            expires = int(self._clock.now().timestamp()) + draft.retention_seconds
        return PreparedEntry(entry, canonical, leaf_hash(canonical), tuple(sealed), expires)

    def append(self, conn: Connection, drafts: Sequence[EntryDraft]) -> list[Receipt]:
        """Append in the caller's write transaction: the entries exist exactly when it commits."""
        return self.append_prepared(conn, [self.prepare(draft, conn) for draft in drafts])

    def append_prepared(self, conn: Connection, prepared: Sequence[PreparedEntry]) -> list[Receipt]:
        if not prepared:
            return []
        numbered = conn.dialect.name == "sqlite"
        frontier = self._frontier(conn) if numbered else None
        start = frontier.size if frontier else 0
        rows = [
            (
                start + at if numbered else None,
                p.entry.entry_id,
                p.entry.kind,
                p.entry.subject,
                p.entry.asset,
                p.entry.effect,
                p.canonical,
                p.leaf,
            )
            for at, p in enumerate(prepared)
        ]
        _insert_many(conn, _ENTRY_COLUMNS, "ledger_entries", rows)
        contents = [
            (p.entry.entry_id, name, p.entry.tenant, salt, box, p.expires_at_seconds)
            for p in prepared
            for name, salt, box in p.sealed
        ]
        if contents:
            _insert_many(conn, _CONTENT_COLUMNS, "ledger_contents", contents)
        if frontier is None:
            return [Receipt(p.entry.entry_id, None) for p in prepared]
        self._extend(conn, frontier, [p.leaf for p in prepared])
        return [Receipt(p.entry.entry_id, start + at) for at, p in enumerate(prepared)]

    def sequence(self, conn: Connection, limit: int) -> int:
        """Number up to `limit` waiting entries in insertion order and extend the tree; how many were.

        The caller holds the sequencer's lock: two transactions must not extend one frontier.
        """
        waiting = conn.execute(
            select(records.entries.c.position, records.entries.c.leaf)
            .where(records.entries.c.idx.is_(None))
            .order_by(records.entries.c.position)
            .limit(limit)
        ).all()
        if not waiting:
            return 0
        frontier = self._frontier(conn)
        numbers = [(frontier.size + at, row.position) for at, row in enumerate(waiting)]
        conn.exec_driver_sql("UPDATE ledger_entries SET idx = %s WHERE position = %s", numbers)
        self._extend(conn, frontier, [bytes(row.leaf) for row in waiting])
        return len(waiting)

    def expired(self, conn: Connection) -> int:
        """How many contents have outlived their retention, and nobody holds."""
        late = self._late()
        if holds := load_holds(conn):
            return sum(1 for entry, _ in self._late_contents(conn) if holds.holding(entry) is None)
        return conn.execute(select(func.count()).select_from(records.contents).where(late)).scalar_one()

    def shred_expired(self, conn: Connection) -> int:
        """Remove sealed contents whose retention passed and that are under no legal hold; entries and proofs stay. How
        many were removed."""
        c, gone = records.contents.c, 0
        holds = load_holds(conn, lock=True)
        if not holds:
            return conn.execute(delete(records.contents).where(self._late())).rowcount
        for entry, name in list(self._late_contents(conn)):
            if holds.holding(entry) is None:
                one = delete(records.contents).where(c.entry_id == entry.entry_id, c.name == name)
                gone += conn.execute(one).rowcount
        return gone

    def _late(self) -> ColumnElement[bool]:
        return records.contents.c.expires_at_seconds <= int(self._clock.now().timestamp())

    def _late_contents(self, conn: Connection) -> Iterator[tuple[Entry, str]]:
        """With their entries, a page at a time; of what is held this is all there is, each time."""
        c, e, after = records.contents.c, records.entries.c, ("", "")
        query = select(c.entry_id, c.name, e.canonical).join(records.entries, e.entry_id == c.entry_id)
        while True:
            beyond = or_(c.entry_id > after[0], and_(c.entry_id == after[0], c.name > after[1]))
            page = conn.execute(
                query.where(self._late(), beyond).order_by(c.entry_id, c.name).limit(_EXPORT_PAGE)
            ).all()
            for row in page:
                yield decode_entry(bytes(row.canonical)), row.name
            if len(page) < _EXPORT_PAGE:
                return
            after = (page[-1].entry_id, page[-1].name)

    # reading

    def head(self, conn: Connection) -> str:
        """The newest checkpoint, a signed note. An empty log has one too, made on the fly."""
        stored = conn.execute(select(records.head.c.checkpoint)).scalar_one_or_none()
        return stored if stored is not None else self._sign(Frontier())

    def size(self, conn: Connection) -> int:
        return conn.execute(select(records.head.c.size)).scalar_one_or_none() or 0

    def pending(self, conn: Connection) -> int:
        """Durable entries that wait for the sequencer; always 0 on SQLite."""
        if conn.dialect.name == "sqlite":
            return 0
        waiting = select(func.count()).select_from(records.entries).where(records.entries.c.idx.is_(None))
        return conn.execute(waiting).scalar_one()

    def entry(self, conn: Connection, entry_id: str) -> StoredEntry:
        """Raises NotFound."""
        row = conn.execute(
            select(records.entries.c.idx, records.entries.c.canonical).where(records.entries.c.entry_id == entry_id)
        ).one_or_none()
        if row is None:
            raise NotFound("no entry has that id")
        return _stored(row.idx, bytes(row.canonical))

    def canonical(self, conn: Connection, entry_id: str) -> bytes:
        """The exact bytes that the tree holds. Raises NotFound."""
        found = conn.execute(select(records.entries.c.canonical).where(records.entries.c.entry_id == entry_id))
        raw = found.scalar_one_or_none()
        if raw is None:
            raise NotFound("no entry has that id")
        return bytes(raw)

    def entries(
        self,
        conn: Connection,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        kind: str | None = None,
        subject: str | None = None,
        asset: str | None = None,
        effect: str | None = None,
        but_kinds: Sequence[str] = (),
        newest_first: bool = False,
    ) -> list[StoredEntry]:
        """Integrated entries with `after < index < before` that fit every filter given."""
        c = records.entries.c
        query = select(c.idx, c.canonical).where(c.idx.is_not(None))
        if after is not None:
            query = query.where(c.idx > after)
        if before is not None:
            query = query.where(c.idx < before)
        for column, value in ((c.kind, kind), (c.subject, subject), (c.asset, asset), (c.effect, effect)):
            if value is not None:
                query = query.where(column == value)
        if but_kinds:
            query = query.where(c.kind.not_in(but_kinds))
        query = query.order_by(c.idx.desc() if newest_first else c.idx).limit(limit)
        return [_stored(row.idx, bytes(row.canonical)) for row in conn.execute(query)]

    def changes_of(self, conn: Connection, asset: AssetRef) -> Iterator[StoredEntry]:
        """Every change to an asset that was made, the oldest first: what no row of another table can set back."""
        after: int | None = None
        while True:
            page = self.entries(conn, asset=asset.render(), kind="change", after=after, limit=_HISTORY_PAGE)
            yield from (entry for entry in page if entry.outcome == "ok")
            if len(page) < _HISTORY_PAGE:
                return
            after = page[-1].index

    def content(self, conn: Connection, entry_id: str, name: str) -> bytes:
        """Open one sealed content and hold it to its digest.

        Raises NotFound when there is none or it was shredded, IntegrityError when it was altered.
        """
        entry = self.entry(conn, entry_id)
        row = conn.execute(
            select(records.contents).where(records.contents.c.entry_id == entry_id, records.contents.c.name == name)
        ).one_or_none()
        if name not in entry.contents or row is None:
            raise NotFound("that entry has no such content, or it was shredded")
        return open_content(self._keys, conn, entry, name, bytes(row.salt), bytes(row.sealed))

    def prove_inclusion(self, conn: Connection, index: int, size: int) -> list[bytes]:
        return StoredTree(conn).inclusion_path(index, size)

    def prove_consistency(self, conn: Connection, old_size: int, size: int) -> list[bytes]:
        return StoredTree(conn).consistency_path(old_size, size)

    def export(self, conn: Connection, out: IO[bytes]) -> int:
        """Write the integrated log as JSON lines (see `export.py`); how many entries were written."""
        note = self.head(conn)
        size = int(note.split("\n", 2)[1])
        self.export_header(out, note)
        for canonical in self.canonical_entries(conn, 0, size):
            out.write(canonical + b"\n")
        return size

    def export_header(self, out: IO[bytes], note: str) -> None:
        out.write(render_header(self.origin, note, self.verifier_key))

    def canonical_entries(self, conn: Connection, low: int, high: int) -> Iterator[bytes]:
        """The exact bytes of entries `low` to `high`, in order, a page at a time."""
        c = records.entries.c
        while low < high:
            page = min(low + _EXPORT_PAGE, high)
            for (raw,) in conn.execute(select(c.canonical).where(c.idx >= low, c.idx < page).order_by(c.idx)):
                yield bytes(raw)
            low = page

    # the right edge

    def _frontier(self, conn: Connection) -> Frontier:
        row = conn.exec_driver_sql("SELECT size, peaks FROM ledger_head").one_or_none()
        if row is None:
            conn.execute(insert(records.head).values(id=1, size=0, peaks=b"", checkpoint=self._sign(Frontier())))
            return Frontier()
        return Frontier(row[0], split_hashes(bytes(row[1])))

    def _extend(self, conn: Connection, frontier: Frontier, leaves: Sequence[bytes]) -> None:
        start = frontier.size
        for leaf in leaves:
            frontier.append(leaf)
        store_completed_tiles(conn, start, leaves)
        mark = _mark(conn)
        conn.exec_driver_sql(
            f"UPDATE ledger_head SET size = {mark}, peaks = {mark}, checkpoint = {mark}",  # noqa: S608  our names
            (frontier.size, b"".join(frontier.peaks), self._sign(frontier)),
        )

    def _sign(self, frontier: Frontier) -> str:
        return sign_note(Checkpoint(self.origin, frontier.size, frontier.root()).render(), [self._signer]).decode()


def open_content(keys: Keys, conn: Connection, entry: Entry, name: str, salt: bytes, sealed: bytes) -> bytes:
    """Raises IntegrityError unless what was sealed is what the entry's digest says, NotFound once shredded."""
    aad = content_aad(entry.entry_id, name)
    content = keys.open(TenantId(entry.tenant), Purpose.CONTENT, sealed, aad, conn=conn)
    if content_digest(salt, content) != entry.contents.get(name):
        raise ContentMismatch(f"the content {name} of {entry.entry_id} is not the one that was logged")
    return content


def content_aad(entry_id: str, name: str) -> bytes:
    """What a sealed content is bound to, so that no row can stand in for another."""
    return f"ledger_contents\0{entry_id}\0{name}".encode()


_ENTRY_COLUMNS = ("idx", "entry_id", "kind", "subject", "asset", "effect", "canonical", "leaf")
_CONTENT_COLUMNS = ("entry_id", "name", "tenant", "salt", "sealed", "expires_at_seconds")


def _mark(conn: Connection) -> str:
    """Where the driver puts a parameter. Appending speaks to it directly: compiling statements would cost more."""
    return "?" if conn.dialect.name == "sqlite" else "%s"


def _insert_many(conn: Connection, columns: Sequence[str], table: str, rows: list[tuple[Any, ...]]) -> None:
    """The driver's own executemany: the statement compiler would cost more than the insert."""
    marks = ", ".join([_mark(conn)] * len(columns))
    conn.exec_driver_sql(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608  our names


def _stored(index: int | None, canonical: bytes) -> StoredEntry:
    entry = decode_entry(canonical)
    return StoredEntry(index=index, **{name: getattr(entry, name) for name in Entry.__struct_fields__})
