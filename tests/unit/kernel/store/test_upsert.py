"""One spelling of INSERT … ON CONFLICT on both databases."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, select
from sqlalchemy.exc import IntegrityError

from vallum.kernel.store.upsert import upsert

_things = Table("things", MetaData(), Column("name", Text, primary_key=True), Column("count", Integer, nullable=False))


@pytest.fixture
def things(records):
    with records.write() as conn:
        _things.create(conn)
        conn.execute(upsert(conn, _things).values(name="a", count=1))
    return lambda conn: dict(conn.execute(select(_things.c.name, _things.c.count)).all())


def test_what_is_there_is_left_or_replaced_as_is_said(records, things):
    with records.write() as conn:
        conn.execute(upsert(conn, _things).values(name="a", count=2).on_conflict_do_nothing())
        assert things(conn) == {"a": 1}
        row = upsert(conn, _things).values(name="a", count=3)
        conn.execute(row.on_conflict_do_update(index_elements=["name"], set_={"count": row.excluded.count}))
        assert things(conn) == {"a": 3}


def test_nothing_said_is_a_conflict(records, things):
    with pytest.raises(IntegrityError), records.write() as conn:
        conn.execute(upsert(conn, _things).values(name="a", count=2))
    with records.read() as conn:
        assert things(conn) == {"a": 1}
