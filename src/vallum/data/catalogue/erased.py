"""Who was erased, kept as marks (`marks`), so that intake knows them when a source brings them back.

Marks are made in the transaction in which an erasure becomes certain: an intake that is judged after it knows them,
one that was begun before it is waited for by the erasure, or let go. The key of marks is drawn once and lies sealed, as
marks do, under the keyring's purpose `fields`; `keep_sealed` moves both to its newest version, as what a destroyed one
sealed could be made anew from nothing. Answers who reads the database: without the root key a mark is noise, and with
it a guess can be tested and nothing read.
"""

from collections.abc import Iterator, Sequence
from os import urandom
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, Table, delete, insert, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import CaseRow
from vallum.kernel.errors import NotFound
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Collection

    from vallum.data.catalogue.marks import Marked, Marking
    from vallum.data.table import Table as Source

__all__ = ["ERASED", "ErasedPeople", "KnownErased"]

ERASED = "erased"
"""The kind of a reason for which a row is held: it names somebody who was erased."""

_KEY = "key of marks"


class KnownErased:
    """Everybody who may not come back into one data set, as marks."""

    def __init__(self, marking: "Marking", erased: "Sequence[Marked]") -> None:
        self._marking = marking
        self._erased = erased

    def rows(self, source: "Source", personal: "Collection[str]") -> Iterator[CaseRow]:
        """Rows that name one of them, in order, with reasons that name nobody. Reads the table as it is asked for."""
        from vallum.data.catalogue.marks import find_returned

        for one in find_returned(source, self._marking, self._erased, personal):
            why = f"column {one.column[:200]!r} names somebody who was erased ({one.erasure})"
            yield CaseRow(one.row, ERASED, 1.0, why)


class ErasedPeople:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring) -> None:
        self._records = records
        self._keyring = keyring

    def mark(self, conn: Connection, erasure: str, identifiers: Sequence[str], found_in: Sequence[str]) -> None:
        """Somebody who is erased from everything. `found_in` are the columns that they were found in."""
        from vallum.data.catalogue.marks import Marked

        marks = self._marking(conn).of_identifiers(identifiers)
        self._keep(conn, Marked(erasure, marks, tuple(found_in)), "")

    def mark_cell(self, conn: Connection, erasure: str, dataset: str, column: str, value: str) -> None:
        """Whoever this value of one data set's column is."""
        from vallum.data.catalogue.marks import Marked

        self._keep(conn, Marked(erasure, (self._marking(conn).of_cell(value),), (), column), dataset)

    def forget(self, conn: Connection, erasure: str, dataset: str = "") -> None:
        """They may come back: somebody has their consent. Raises NotFound where nothing is kept of it."""
        e = table.erased.c
        gone = conn.execute(delete(table.erased).where(e.erasure == erasure, e.dataset == dataset))
        if gone.rowcount != 1:
            raise NotFound(f"no erasure {erasure[:64]} keeps anybody out: they were readmitted, or never erased")
        erase_copies(conn)

    def keeps_out(self, conn: Connection, erasure: str) -> bool:
        return conn.execute(select(table.erased.c.erasure).where(table.erased.c.erasure == erasure)).first() is not None

    def names(self, erasure: str, words: str) -> bool:
        """Whether somebody's own words, which are kept, name whom this erasure erased."""
        import polars as pl

        from vallum.data.catalogue.marks import find_returned
        from vallum.data.table import Table as Source

        e = table.erased.c
        with self._records.read() as conn:
            row = conn.execute(select(e.erasure, e.sealed).where(e.erasure == erasure)).one_or_none()
            if row is None:
                return False
            marked = msgspec.msgpack.decode(self._open(conn, erasure, bytes(row.sealed)), type=_marked())
            marking = self._marking(conn)
        said = Source.of(pl.DataFrame({marked.column or "words": [words]}))
        return any(True for _ in find_returned(said, marking, [marked], said.frame.collect_schema().names()))

    def known(self, dataset: str) -> KnownErased | None:
        """None where nobody was ever erased, which costs one look. Raises SealBroken, KeyDestroyed: who cannot be known
        again is not let in."""
        e = table.erased.c
        query = select(e.erasure, e.sealed).where(e.dataset.in_(("", dataset))).order_by(e.erasure)
        with self._records.read() as conn:
            rows = conn.execute(query).all()
            if not rows:
                return None
            kind = _marked()
            opened = [msgspec.msgpack.decode(self._open(conn, r.erasure, bytes(r.sealed)), type=kind) for r in rows]
            return KnownErased(self._marking(conn), opened)

    def keep_sealed(self) -> None:
        """Seal under the newest key what a former version has sealed. One look where that is all of it."""
        for kept, name in ((table.erased_keys, "name"), (table.erased, "erasure")):
            with self._records.read() as conn:
                rows = conn.execute(select(kept.c[name].label("name"), kept.c.sealed)).all()
            former = [row for row in rows if self._is_former(bytes(row.sealed))]
            if former:
                with self._records.write() as conn:
                    for row in former:
                        self._seal_anew(conn, kept, name, row.name, bytes(row.sealed))
                    erase_copies(conn)

    def _seal_anew(self, conn: Connection, kept: Table, column: str, name: str, sealed: bytes) -> None:
        anew = self._seal(conn, name, self._open(conn, name, sealed))
        where = (kept.c[column] == name, kept.c.sealed == sealed)
        conn.execute(update(kept).where(*where).values(sealed=anew))

    def _is_former(self, sealed: bytes) -> bool:
        now = self._keyring.seal(DEFAULT_TENANT, Purpose.FIELDS, b"", b"")
        return sealed[:5] != now[:5]  # format and version of the key: docs/keys.md

    def _keep(self, conn: Connection, marked: "Marked", dataset: str) -> None:
        sealed = self._seal(conn, marked.erasure, msgspec.msgpack.encode(marked))
        conn.execute(insert(table.erased).values(erasure=marked.erasure, dataset=dataset, sealed=sealed))

    def _marking(self, conn: Connection) -> "Marking":
        """Its key is drawn when it is first needed, in a transaction that writes."""
        from vallum.data.catalogue.marks import KEY_BYTES, Marking

        k = table.erased_keys.c
        wanted = select(k.sealed).where(k.name == _KEY)
        sealed = conn.execute(wanted).scalar_one_or_none()
        if sealed is None:
            fresh = self._seal(conn, _KEY, urandom(KEY_BYTES))
            drawn = upsert(conn, table.erased_keys).values(name=_KEY, sealed=fresh)
            conn.execute(drawn.on_conflict_do_nothing())
            sealed = conn.execute(wanted).scalar_one()  # of two at once, the first one's
        return Marking(self._open(conn, _KEY, bytes(sealed)))

    def _seal(self, conn: Connection, name: str, data: bytes) -> bytes:
        return self._keyring.seal(DEFAULT_TENANT, Purpose.FIELDS, data, _aad(name), conn=conn)

    def _open(self, conn: Connection, name: str, sealed: bytes) -> bytes:
        return self._keyring.open(DEFAULT_TENANT, Purpose.FIELDS, sealed, _aad(name), conn=conn)


def _marked() -> "type[Marked]":
    from vallum.data.catalogue.marks import Marked

    return Marked


def _aad(name: str) -> bytes:
    return b"\x00".join((b"vallum/data/erased/1", name.encode()))
