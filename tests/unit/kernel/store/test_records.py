"""The records port's conformance suite: the same promises on SQLite and PostgreSQL."""

import threading

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.store.records import Records

TABLE = Table("marks", MetaData(), Column("id", Integer, primary_key=True), Column("word", String(40)))


@pytest.fixture
def marks(records) -> Records:
    with records.write() as conn:
        TABLE.create(conn)
    return records


def words(records: Records) -> list[str]:
    with records.read() as conn:
        return list(conn.scalars(select(TABLE.c.word).order_by(TABLE.c.id)))


def test_a_block_that_ends_well_is_kept(marks):
    with marks.write() as conn:
        conn.execute(TABLE.insert(), [{"word": "one"}, {"word": "two"}])
    assert words(marks) == ["one", "two"]


def test_a_block_that_raises_leaves_nothing(marks):
    with pytest.raises(RuntimeError, match="midway"), marks.write() as conn:
        conn.execute(TABLE.insert(), {"word": "lost"})
        raise RuntimeError("midway")
    assert words(marks) == []


def test_a_read_writes_nothing(marks):
    with pytest.raises(Exception), marks.read() as conn:  # noqa: B017
        conn.execute(TABLE.insert(), {"word": "no"})
        raise RuntimeError("SQLite lets the statement through and rolls it back")
    assert words(marks) == []


def test_concurrent_read_modify_write_loses_no_update(marks):
    """Twenty transactions that each read the count first: SQLite serialises them, PostgreSQL is told to lock."""
    with marks.write() as conn:
        conn.execute(TABLE.insert(), {"word": "0"})

    def increment() -> None:
        for _ in range(5):
            with marks.write() as conn:
                now = int(conn.scalar(select(TABLE.c.word).where(TABLE.c.id == 1).with_for_update()))
                conn.execute(TABLE.update().where(TABLE.c.id == 1).values(word=str(now + 1)))

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert words(marks) == ["20"]


def test_sqlite_is_durable_by_its_settings(tmp_path):
    opened = Records(f"sqlite:///{tmp_path / 'r.db'}")
    with opened.read() as conn:
        settings = {
            p: conn.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous", "foreign_keys")
        }
    opened.close()
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize("url", ["mysql://localhost/x", "not a url", ""])
def test_another_database_is_refused(url):
    with pytest.raises(Invalid):
        Records(url)


def test_a_database_that_is_away_is_unavailable_and_its_error_names_no_password():
    away = Records("postgresql://somebody:hunter2@127.0.0.1:1/none")
    with pytest.raises(Unavailable) as caught, away.read():
        pass
    away.close()
    assert "hunter2" not in str(caught.value)
