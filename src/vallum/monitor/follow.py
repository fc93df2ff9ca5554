"""Following the ledger: one reader's place in it, kept in the same transaction as what the reader made of what it read.

So nothing is read twice and nothing is left out, whatever is killed; and of two processes that follow under one name,
one wins each step and the other changes nothing.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from vallum.kernel.errors import Conflict
from vallum.kernel.ledger.entry import StoredEntry
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.monitor.records import cursors

__all__ = ["Follower", "read_until"]

_PAGE_ENTRIES = 500


def read_until(conn: Connection, name: str, size: int) -> int:
    """The next entry that the reader of this name will read; `size`, of the ledger, for one that has not begun."""
    at = conn.execute(select(cursors.c.next_index).where(cursors.c.name == name)).scalar()
    return size if at is None else int(at)


class Follower:
    def __init__(self, name: str, records: Records, ledger: Ledger, *, but_kinds: Sequence[str] = ()) -> None:
        """`but_kinds` are passed over unread."""
        self._name = name
        self._records = records
        self._ledger = ledger
        self._but_kinds = tuple(but_kinds)

    def next_page(self) -> tuple[int, list[StoredEntry], int]:
        """Where this reader is, what comes next, and where it is when it has dealt with all of that.

        A reader of a new name begins at the ledger's end: what was before it was followed is not news.
        """
        with self._records.read() as conn:
            at = conn.execute(select(cursors.c.next_index).where(cursors.c.name == self._name)).scalar()
            size = self._ledger.size(conn)
            if at is None:
                at = self._begin(size)
            found = self._ledger.entries(
                conn, after=at - 1, before=size, limit=_PAGE_ENTRIES, but_kinds=self._but_kinds
            )
        end = found[-1].index + 1 if len(found) == _PAGE_ENTRIES and found[-1].index is not None else size
        return at, found, end

    def advance(self, conn: Connection, at: int, to: int) -> None:
        """In the transaction of what was made of it. Raises Conflict when another process was quicker."""
        moved = conn.execute(
            update(cursors).where(cursors.c.name == self._name, cursors.c.next_index == at).values(next_index=to)
        )
        if moved.rowcount != 1:
            raise Conflict(f"{self._name} is followed by another process, too")

    def _begin(self, size: int) -> int:
        with self._records.write() as conn:
            insert = upsert(conn, cursors)
            conn.execute(insert.values(name=self._name, next_index=size).on_conflict_do_nothing())
            return int(conn.execute(select(cursors.c.next_index).where(cursors.c.name == self._name)).scalar_one())
