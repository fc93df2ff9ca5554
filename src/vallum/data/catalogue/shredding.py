"""What treatments left behind, destroyed: the tokens of somebody who is erased, and the keys of a data set of which
nothing is left.

A token whose row is gone is a random word, and a hash whose key is gone can be tested against no guess. Neither goes
while something of the data set still stands, or is on its way in: it would be hashed under a key that nobody has.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, exists, select, union

from vallum.data.catalogue import records as table
from vallum.data.catalogue.treating import TOKENS

__all__ = ["destroy_tokens", "destroy_unused_keys"]

_AT_ONCE = 500


def destroy_tokens(conn: Connection, dataset: str, tokens: Mapping[str, Collection[str]]) -> int:
    """By column. Returns how many there were."""
    t, gone = table.tokens.c, 0
    for column, mine in tokens.items():
        ordered = sorted(mine)
        for at in range(0, len(ordered), _AT_ONCE):
            batch = t.token.in_(ordered[at : at + _AT_ONCE])
            gone += conn.execute(delete(table.tokens).where(t.dataset == dataset, t.column == column, batch)).rowcount
    return gone


def destroy_unused_keys(conn: Connection) -> list[str]:
    """The keys, tokens and tokens' keys of data sets without a version, a case or an intake that could be read; which
    those are. Not of one under hold. Its caller erases the copies."""
    d, v, c, i = table.data_sets.c, table.versions.c, table.cases.c, table.intakes.c
    keyed = union(select(table.treatment_keys.c.dataset), select(table.tokens.c.dataset)).subquery()
    unused = (
        d.name.in_(select(keyed.c.dataset)),
        d.hold == "",
        ~exists().where(v.dataset == d.name, v.state.in_(("available", "failed"))),
        ~exists().where(c.dataset == d.name, c.state == "open"),
        ~exists().where(i.dataset == d.name, i.state.in_(("open", "judging"))),
    )
    found = list(conn.execute(select(d.name).where(*unused).order_by(d.name)).scalars())
    if not found:
        return []
    # Whoever begins an intake shares this lock: asked again with it, nothing of these is on its way in.
    conn.execute(select(d.name).where(d.name.in_(found)).order_by(d.name).with_for_update())
    sure = list(conn.execute(select(d.name).where(d.name.in_(found), *unused)).scalars())
    for kept in (table.treatment_keys, table.tokens):
        conn.execute(delete(kept).where(kept.c.dataset.in_(sure)))
    for keys in (table.column_keys, table.class_keys):
        conn.execute(delete(keys).where(keys.c.dataset.in_(sure), keys.c.classification == TOKENS))
    return sure
