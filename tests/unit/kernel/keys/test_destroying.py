"""Destroyed means unreadable: in every process within a second, and in the bytes of SQLite's files."""

import time
from pathlib import Path

import pytest

from vallum.kernel.errors import Conflict
from vallum.kernel.keys import DEFAULT_TENANT, EPOCH, KeyDestroyed, Purpose
from vallum.kernel.store.epochs import EpochWatch
from vallum.kernel.values import TenantId

ACME = TenantId("acme")


def destroy(records, keyring, version=None, tenant=ACME, **options):
    with records.write() as conn:
        return keyring.destroy(conn, tenant, Purpose.CONTENT, version, **options)


def rotate(records, keyring, tenant=ACME):
    with records.write() as conn:
        return keyring.rotate(conn, tenant, Purpose.CONTENT)


def wrapped_keys(records):
    with records.read() as conn:
        found = conn.exec_driver_sql("SELECT wrapped FROM keyset_versions WHERE wrapped IS NOT NULL")
        return [bytes(row[0]) for row in found]


def raw_files(tmp_path):
    return b"".join(file.read_bytes() for file in Path(tmp_path).glob("records.db*"))


@pytest.fixture
def sqlite_records(records):
    if records.dialect != "sqlite":
        pytest.skip("what PostgreSQL keeps until it vacuums, docs/keys.md says")
    return records


def test_no_other_process_opens_within_a_second(records, keyring, other_process):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", b"")
    other_process.open(ACME, Purpose.CONTENT, sealed, b"")
    rotate(records, keyring)
    watch = EpochWatch(records)
    watch.subscribe(EPOCH, other_process.refresh)
    watch.start()
    try:
        destroy(records, keyring, 1)
        began = time.monotonic()
        with pytest.raises(KeyDestroyed):
            keyring.open(ACME, Purpose.CONTENT, sealed, b"")
        with pytest.raises(KeyDestroyed):
            while time.monotonic() - began < 1:
                other_process.open(ACME, Purpose.CONTENT, sealed, b"")
    finally:
        watch.stop()


def test_the_current_version_is_destroyed_only_when_it_is_meant(records, keyring):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", b"")
    with pytest.raises(Conflict, match="rotate first"):
        destroy(records, keyring, 1)
    assert keyring.open(ACME, Purpose.CONTENT, sealed, b"") == b"data"
    assert destroy(records, keyring, 1, current=True) == 1
    assert destroy(records, keyring, 1) == 0  # and a second time is no harm
    with pytest.raises(KeyDestroyed):
        keyring.open(ACME, Purpose.CONTENT, sealed, b"")


def test_a_key_is_known_when_it_is_gone(records, keyring, root):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    material = keyring._held[ACME, Purpose.CONTENT, 1].key._material
    rotate(records, keyring)
    known = [keyring.check_value(ACME, Purpose.CONTENT, version) for version in (1, 2)]
    assert len(set(known)) == 2
    assert all(len(value) == 16 and int(value, 16) for value in known)
    assert known[0] not in material.hex()
    root.rotate()
    with records.write() as conn:
        keyring.rewrap(conn)
    assert keyring.check_value(ACME, Purpose.CONTENT, 1) == known[0]  # the key's own, however it is wrapped
    destroy(records, keyring, 1)
    assert keyring.check_value(ACME, Purpose.CONTENT, 1) == known[0]
    with records.read() as conn:
        (described,) = keyring.describe(conn)
    assert [v.check_value for v in described.versions] == known
    assert keyring.check_value(ACME, Purpose.CONTENT, 3) == "unknown"


def test_the_value_that_is_told_is_the_keys_and_not_the_tables(records, keyring):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    true = keyring.check_value(ACME, Purpose.CONTENT, 1)
    with records.write() as conn:
        conn.exec_driver_sql("UPDATE keyset_versions SET check_value = '0000000000000000'")
    assert keyring.check_value(ACME, Purpose.CONTENT, 1) == true
    with records.write() as conn:
        conn.exec_driver_sql("UPDATE keyset_versions SET purpose = 'fields', check_value = NULL")
    assert keyring.check_value(ACME, Purpose.FIELDS, 1) == "unknown"  # a row that does not unwrap can be destroyed too


def test_the_wrapped_bytes_are_in_no_file_of_sqlite(sqlite_records, keyring, tmp_path):
    """Many keysets, so that pages split; each row is written several times, so that the log holds it in many states."""
    records = sqlite_records
    for number in range(120):
        keyring.seal(TenantId(f"t{number * 7919 % 1000}"), Purpose.CONTENT, b"", b"")
    for number in range(0, 120, 3):
        rotate(records, keyring, TenantId(f"t{number * 7919 % 1000}"))
    gone = wrapped_keys(records)
    assert all(key in raw_files(tmp_path) for key in gone)
    with records.write() as conn:
        assert keyring.rewrap(conn) == len(gone)
    assert not [key for key in gone if key in raw_files(tmp_path)]
    gone = wrapped_keys(records)
    for number in range(120):
        destroy(records, keyring, tenant=TenantId(f"t{number * 7919 % 1000}"))
    assert wrapped_keys(records) == []
    raw = raw_files(tmp_path)
    assert not [key for key in gone if key in raw or key[-32:] in raw or key[:32] in raw]


def test_one_destroyed_version_leaves_the_others(sqlite_records, keyring, tmp_path):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    sealed = keyring.seal(DEFAULT_TENANT, Purpose.CONTENT, b"data", b"")
    rotate(sqlite_records, keyring)
    before = wrapped_keys(sqlite_records)
    destroy(sqlite_records, keyring, 1)
    (gone,) = set(before) - set(wrapped_keys(sqlite_records))
    assert gone not in raw_files(tmp_path)
    assert keyring.open(DEFAULT_TENANT, Purpose.CONTENT, sealed, b"") == b"data"


def test_a_reader_in_the_way_is_waited_for_by_a_chore(sqlite_records, keyring, tmp_path):
    records = sqlite_records
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    (gone,) = wrapped_keys(records)
    with records.read() as reader:
        reader.exec_driver_sql("SELECT * FROM keyset_versions").fetchall()  # sees the key as long as it reads
        destroy(records, keyring)
        assert gone in raw_files(tmp_path)
        records.erase_copies_left()
        assert gone in raw_files(tmp_path)
    records.erase_copies_left()
    assert gone not in raw_files(tmp_path)


def test_a_destruction_that_rolls_back_destroys_nothing(records, keyring):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", b"")
    with pytest.raises(RuntimeError), records.write() as conn:
        keyring.destroy(conn, ACME, Purpose.CONTENT)
        raise RuntimeError
    assert keyring.open(ACME, Purpose.CONTENT, sealed, b"") == b"data"
