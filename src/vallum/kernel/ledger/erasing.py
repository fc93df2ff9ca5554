"""Contents that go before their time, because whom they are about asked for it: found, removed, and accounted for.

A content and its salt are removed; its entry, with the salted digest, stays where the tree has it, so that nothing of
the log changes and nobody can test a guess against what is left. An audit holds what is missing to the entries of kind
`erasure`, each of which names what it removed: a content that went without one is tampering (`audit`).
"""

from collections.abc import Collection, Iterator

from sqlalchemy import Connection, and_, delete, or_, select

from vallum.kernel.errors import NotFound
from vallum.kernel.ledger import records
from vallum.kernel.ledger.entry import Entry, decode_entry
from vallum.kernel.ledger.holds import ContentHeld, load_holds
from vallum.kernel.ledger.ledger import open_content
from vallum.kernel.ledger.ports import Keys
from vallum.kernel.store.records import erase_copies

__all__ = ["ERASURE_KIND", "MAX_ERASED_AT_ONCE", "erase_contents", "erased_entries", "kept_contents"]

ERASURE_KIND = "erasure"
_NAMES = "contents"
MAX_ERASED_AT_ONCE = 500  # entries that one entry names: 15 kB of ids, of the 64 that an entry may have


def kept_contents(
    conn: Connection, keys: Keys, after: tuple[str, str] = ("", ""), limit: int = 200
) -> Iterator[tuple[Entry, str, bytes | None]]:
    """Contents that are kept, in order of entry and name, from past `after`; None for one whose key was destroyed.

    Raises ContentMismatch, SealBroken for one that was altered.
    """
    c, e = records.contents.c, records.entries.c
    beyond = or_(c.entry_id > after[0], and_(c.entry_id == after[0], c.name > after[1]))
    query = select(c.entry_id, c.name, c.salt, c.sealed, e.canonical).join(
        records.entries, e.entry_id == c.entry_id
    )  # fmt: skip
    for row in conn.execute(query.where(beyond).order_by(c.entry_id, c.name).limit(limit)).all():
        entry = decode_entry(bytes(row.canonical))
        try:
            content = open_content(keys, conn, entry, row.name, bytes(row.salt), bytes(row.sealed))
        except NotFound:
            yield entry, row.name, None
        else:
            yield entry, row.name, content


def erase_contents(conn: Connection, entry_ids: Collection[str]) -> int:
    """Remove every content of these entries, with its salt. How many went. Raises ContentHeld for one under legal hold.

    The caller's transaction holds an entry of kind `erasure` whose context names them as `contents`, divided by spaces.
    """
    if holds := load_holds(conn, lock=True):
        e = records.entries.c
        for (canonical,) in conn.execute(select(e.canonical).where(e.entry_id.in_(list(entry_ids)))):
            entry = decode_entry(bytes(canonical))
            if (hold := holds.holding(entry)) is not None:
                raise ContentHeld(f"{entry.entry_id} is under legal hold ({hold.id}): its contents stay")
    gone = conn.execute(delete(records.contents).where(records.contents.c.entry_id.in_(list(entry_ids))))
    erase_copies(conn)
    return gone.rowcount


def erased_entries(conn: Connection) -> frozenset[str]:
    """The entries whose contents were removed early, by what entries of erasures say."""
    query = select(records.entries.c.canonical).where(records.entries.c.kind == ERASURE_KIND)
    found: set[str] = set()
    for (canonical,) in conn.execute(query):
        entry = decode_entry(bytes(canonical))
        if (entry.kind, entry.effect, entry.outcome) == (ERASURE_KIND, "allow", "ok"):
            found.update(str(entry.context.get(_NAMES, "")).split())
    return frozenset(found)
