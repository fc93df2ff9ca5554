"""Verifying the store itself: what `vallum ledger verify --data` proves.

Beyond the exported log, the store holds columns made for searching, hashes made for proofs, and sealed contents.
An edit to any of them could hide an entry from a reader or show another content, so each is held to the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import MultipleResultsFound

from vallum.kernel.errors import IntegrityError, Invalid, NotFound
from vallum.kernel.ledger import records
from vallum.kernel.ledger.entry import Entry, decode_entry
from vallum.kernel.ledger.erasing import erased_entries
from vallum.kernel.ledger.ledger import Ledger, open_content
from vallum.kernel.ledger.merkle import Frontier, leaf_hash, root_of
from vallum.kernel.ledger.note import NoteVerifier
from vallum.kernel.ledger.ports import Keys
from vallum.kernel.ledger.tree import split_hashes
from vallum.kernel.ledger.verify import verify_log, witnessed_by
from vallum.kernel.ledger.witness import WitnessPolicy

__all__ = ["StoreReport", "verify_store"]

_PAGE_ROWS = 500
_BEFORE_ALL = -(1 << 63)  # a row with a negative position is a row too


class StoreMismatch(IntegrityError):
    """The database holds something that the log does not."""

    code = "ledger_store_mismatch"


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What was proven. `shredded` contents are named by entries and gone; `pending` entries await the sequencer."""

    verified: bool
    origin: str
    size: int
    pending: int
    root: str
    contents: int
    shredded: int
    verifier_key: str
    witnesses: tuple[str, ...] = ()


def verify_store(
    conn: Connection, ledger: Ledger, keys: Keys, earlier: bytes | None, policy: WitnessPolicy | None = None
) -> StoreReport:
    """Hold everything stored to the signed checkpoint, and that to an `earlier` one kept outside the database.

    With a witness `policy`, one of the two must carry a quorum's cosignatures. Raises IntegrityError naming the
    first failure. One pass over everything.
    """
    try:
        return _verify_store(conn, ledger, keys, earlier, policy)
    except (TypeError, ValueError, LookupError, AttributeError, MultipleResultsFound) as e:
        raise StoreMismatch(f"a stored value is not of its type: {type(e).__name__}") from e


def _verify_store(
    conn: Connection, ledger: Ledger, keys: Keys, earlier: bytes | None, policy: WitnessPolicy | None
) -> StoreReport:
    note = ledger.head(conn)
    size = int(note.split("\n", 2)[1])
    verifier = NoteVerifier.parse(ledger.verifier_key)
    head = verify_log(ledger.canonical_entries(conn, 0, size), note.encode(), [verifier], earlier)
    counted = _check_rows(conn, keys, size)
    _check_head(conn, size)
    _check_tiles(conn, size)
    root = note.split("\n", 3)[2]
    witnesses = witnessed_by(policy, note.encode(), earlier) if policy is not None else ()
    return StoreReport(
        True, head.origin, size, counted.pending, root, counted.opened, counted.shredded, ledger.verifier_key, witnesses
    )


@dataclass(slots=True)
class _Counted:
    numbered: int = 0
    pending: int = 0
    named: int = 0  # contents that entries name
    present: int = 0  # contents that are stored
    opened: int = 0

    @property
    def shredded(self) -> int:
        return self.named - self.opened


def _check_rows(conn: Connection, keys: Keys, size: int) -> _Counted:
    """Every row, numbered or not: its hash, the columns that searches use, and its contents."""
    counted, last = _Counted(), _BEFORE_ALL
    erased = erased_entries(conn)
    c = records.entries.c
    while True:
        rows = conn.execute(
            select(records.entries).where(c.position > last).order_by(c.position).limit(_PAGE_ROWS)
        ).all()
        if not rows:
            break
        last = rows[-1].position
        entries = {}
        for row in rows:
            entries[row.entry_id] = _check_row(row, size)
            counted.numbered += row.idx is not None
            counted.pending += row.idx is None
        _check_contents(conn, keys, entries, erased, counted)
    if counted.pending and conn.dialect.name == "sqlite":
        raise StoreMismatch(f"{counted.pending} entries have no number: on SQLite they get it as they are appended")
    if counted.numbered != size:
        raise StoreMismatch(f"{counted.numbered} entries are numbered, the tree has {size}")
    stored = conn.execute(select(func.count()).select_from(records.contents)).scalar_one()
    if stored != counted.present:
        raise StoreMismatch("there are contents that no entry names")
    return counted


def _check_row(row: Row[Any], size: int) -> Entry:
    canonical = bytes(row.canonical)
    if leaf_hash(canonical) != bytes(row.leaf):
        raise StoreMismatch(f"row {row.position}: the stored hash is not that of its entry")
    try:
        entry = decode_entry(canonical)
    except Invalid as e:
        raise StoreMismatch(f"row {row.position}: not an entry") from e
    said = (entry.entry_id, entry.kind, entry.subject, entry.asset, entry.effect)
    if said != (row.entry_id, row.kind, row.subject, row.asset, row.effect):
        raise StoreMismatch(f"row {row.position}: its columns are not what its entry says")
    if row.idx is not None and not 0 <= row.idx < size:
        raise StoreMismatch(f"row {row.position}: numbered {row.idx}, outside the tree of {size}")
    return entry


def _check_contents(
    conn: Connection, keys: Keys, entries: Mapping[str, Entry], erased: frozenset[str], counted: _Counted
) -> None:
    """Open every sealed content of these entries that its key still opens."""
    counted.named += sum(len(entry.contents) for entry in entries.values())
    found = conn.execute(select(records.contents).where(records.contents.c.entry_id.in_(entries))).all()
    _check_kept(entries, {(row.entry_id, row.name) for row in found}, erased)
    for row in found:
        entry = entries[row.entry_id]
        counted.present += 1
        if row.tenant != entry.tenant or row.name not in entry.contents:
            raise StoreMismatch(f"a content of {entry.entry_id} is not one that the entry names")
        try:
            open_content(keys, conn, entry, row.name, bytes(row.salt), bytes(row.sealed))
        except NotFound:
            continue  # its key was destroyed on purpose; the salt that is left opens nothing
        counted.opened += 1


def _check_kept(entries: Mapping[str, Entry], present: set[tuple[str, str]], erased: frozenset[str]) -> None:
    """A content may go when its time is over, and before only where an erasure's entry names it; destroying its key
    leaves the row."""
    now = datetime.now(UTC)
    for entry in entries.values():
        days = entry.context.get("keep_days")
        if not isinstance(days, int) or datetime.fromisoformat(entry.time) + timedelta(days=days) <= now:
            continue
        if entry.entry_id in erased:
            continue
        for name in entry.contents:
            if (entry.entry_id, name) not in present:
                raise StoreMismatch(f"the content {name} of {entry.entry_id} was removed before its time was over")


def _check_head(conn: Connection, size: int) -> None:
    row = conn.execute(select(records.head)).one_or_none()
    if row is None:
        if size:
            raise StoreMismatch("the head is missing")
        return
    frontier = Frontier()
    for (leaf,) in conn.execute(
        select(records.entries.c.leaf).where(records.entries.c.idx < size).order_by(records.entries.c.idx)
    ):
        frontier.append(bytes(leaf))
    if row.size != size or row.id != 1 or b"".join(frontier.peaks) != bytes(row.peaks):
        raise StoreMismatch("the stored right edge is not that of the tree")


def _check_tiles(conn: Connection, size: int) -> None:
    """Every complete tile exists and holds what its children hash to."""
    level, width = 0, size
    below: dict[int, list[bytes]] = {}
    expected = 0
    while width >= 256:
        present = conn.execute(
            select(records.tiles.c.number, records.tiles.c.hashes).where(records.tiles.c.level == level)
        )
        tiles = {row.number: split_hashes(bytes(row.hashes)) for row in present}
        if sorted(tiles) != list(range(width // 256)):
            raise StoreMismatch(f"tiles of level {level} are missing or too many")
        for number, hashes in tiles.items():
            if level == 0:
                rows = conn.execute(
                    select(records.entries.c.leaf)
                    .where(records.entries.c.idx >= number * 256, records.entries.c.idx < (number + 1) * 256)
                    .order_by(records.entries.c.idx)
                )
                computed = [bytes(leaf) for (leaf,) in rows]
            else:
                computed = [root_of(below[child]) for child in range(number * 256, (number + 1) * 256)]
            if computed != hashes:
                raise StoreMismatch(f"tile {number} of level {level} is not what lies below it")
        expected += len(tiles)
        below, width, level = tiles, width // 256, level + 1
    stored = conn.execute(select(func.count()).select_from(records.tiles)).scalar_one()
    if stored != expected:
        raise StoreMismatch("there are tiles that the tree does not have")
