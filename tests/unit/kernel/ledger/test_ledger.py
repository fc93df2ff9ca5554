"""The log in the database: what is appended can be read, proven and exported, and nothing else can."""

import io
from threading import Thread

import pytest

from vallum.kernel.errors import IntegrityError, Invalid, NotFound
from vallum.kernel.keys import Purpose
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.ledger.merkle import leaf_hash, root_from_inclusion, verify_consistency
from vallum.kernel.ledger.note import NoteVerifier, parse_checkpoint, verify_note
from vallum.kernel.ledger.sequencer import Sequencer
from vallum.kernel.ledger.verify import verify_export


def _head(ledger, conn):
    return parse_checkpoint(verify_note(ledger.head(conn).encode(), [NoteVerifier.parse(ledger.verifier_key)]))


def test_an_empty_log_has_a_signed_checkpoint(records, ledger):
    with records.read() as conn:
        assert _head(ledger, conn).size == 0


def test_entries_are_read_back_in_order_with_their_filters(records, ledger, append, make_draft):
    append((make_draft(n) for n in range(10)), batch=3)
    with records.read() as conn:
        found = ledger.entries(conn)
        assert [e.index for e in found] == list(range(10))
        assert [e.context["number"] for e in found] == list(range(10))
        assert [e.index for e in ledger.entries(conn, subject="application:app1", after=1, before=9)] == [4, 7]
        assert [e.index for e in ledger.entries(conn, effect="deny", newest_first=True, limit=2)] == [8, 4]
        assert ledger.entries(conn, kind="nothing") == []


@pytest.mark.parametrize("size", [1, 2, 7, 255, 256, 257, 600])
def test_every_proof_leads_to_the_signed_root(records, ledger, append, make_draft, size):
    append((make_draft(n) for n in range(size)), batch=100)
    with records.read() as conn:
        head = _head(ledger, conn)
        assert head.size == size
        for index in sorted({0, 1, 5, 254, 255, 256, size // 2, size - 1} & set(range(size))):
            leaf = leaf_hash(ledger.canonical(conn, ledger.entries(conn, after=index - 1, limit=1)[0].entry_id))
            path = ledger.prove_inclusion(conn, index, size)
            assert root_from_inclusion(leaf, index, size, path) == head.root


def test_the_log_only_grows(records, ledger, append, make_draft):
    heads = []
    for count in (1, 4, 60, 191, 1, 300):
        append((make_draft(n) for n in range(count)), batch=64)
        with records.read() as conn:
            heads.append(_head(ledger, conn))
    with records.read() as conn:
        newest = heads[-1]
        for older in heads:
            path = ledger.prove_consistency(conn, older.size, newest.size)
            verify_consistency(older.size, older.root, newest.size, newest.root, path)
            if older is not newest:
                with pytest.raises(IntegrityError):
                    verify_consistency(older.size, b"\0" * 32, newest.size, newest.root, path)


def test_contents_are_sealed_beside_the_entry_and_open_only_whole(records, ledger, append, make_draft):
    secret = b"what the patient said"
    (receipt,) = append([make_draft(contents={"request": secret, "response": b""})])
    with records.read() as conn:
        assert ledger.content(conn, receipt.entry_id, "request") == secret
        assert ledger.content(conn, receipt.entry_id, "response") == b""
        assert secret not in ledger.canonical(conn, receipt.entry_id)
        with pytest.raises(NotFound):
            ledger.content(conn, receipt.entry_id, "other")
        for table in ("ledger_entries", "ledger_contents"):
            for row in conn.exec_driver_sql(f"SELECT * FROM {table}"):
                assert not any(secret in bytes(v) for v in row if isinstance(v, bytes | memoryview))


def test_equal_contents_have_unequal_digests(records, ledger, append, make_draft):
    one, two = append([make_draft(contents={"request": b"same"}) for _ in range(2)])
    with records.read() as conn:
        assert ledger.entry(conn, one.entry_id).contents != ledger.entry(conn, two.entry_id).contents


def test_a_content_moved_to_another_entry_does_not_open(records, ledger, append, make_draft):
    one, two = append([make_draft(contents={"request": text}) for text in (b"one", b"two")])
    with records.write() as conn:
        mark = "?" if records.dialect == "sqlite" else "%s"
        for column in ("salt", "sealed"):
            conn.exec_driver_sql(
                f"UPDATE ledger_contents SET {column} = (SELECT {column} FROM ledger_contents WHERE entry_id = {mark})"
                f" WHERE entry_id = {mark}",
                (one.entry_id, two.entry_id),
            )
    with records.read() as conn, pytest.raises(IntegrityError):
        ledger.content(conn, two.entry_id, "request")


def test_destroying_the_key_erases_contents_and_keeps_the_proof(records, ledger, keyring, append, make_draft):
    (receipt,) = append([make_draft(contents={"request": b"forget me"})])
    with records.write() as conn:
        keyring.destroy(conn, "default", Purpose.CONTENT)
    with records.read() as conn:
        with pytest.raises(NotFound):
            ledger.content(conn, receipt.entry_id, "request")
        assert ledger.entry(conn, receipt.entry_id).contents


def test_retention_removes_contents_when_it_passed_and_not_before(records, ledger, append, make_draft):
    gone, kept = append([make_draft(contents={"request": b"x"}, retention_seconds=s) for s in (0, 3600)])
    with records.write() as conn:
        assert ledger.shred_expired(conn) == 1
    with records.read() as conn:
        assert ledger.content(conn, kept.entry_id, "request") == b"x"
        with pytest.raises(NotFound):
            ledger.content(conn, gone.entry_id, "request")


def test_neither_change_nor_entry_exists_after_an_exception(records, ledger, make_draft):
    with pytest.raises(RuntimeError), records.write() as conn:
        conn.exec_driver_sql("CREATE TABLE changed (x INTEGER)")
        ledger.append(conn, [make_draft()])
        raise RuntimeError
    with records.read() as conn:
        assert ledger.size(conn) == 0
        assert ledger.pending(conn) == 0


def test_an_entry_that_is_too_large_is_refused_before_anything_is_written(ledger, make_draft):
    with pytest.raises(Invalid, match="65535"):
        ledger.prepare(make_draft(reason="x" * 70_000))


def test_an_unknown_entry_is_not_found(records, ledger):
    with records.read() as conn, pytest.raises(NotFound):
        ledger.entry(conn, "ent_nothing")


def test_an_export_verifies_without_the_database(records, ledger, append, make_draft):
    append((make_draft(n, contents={"request": b"secret"}) for n in range(300)), batch=50)
    out = io.BytesIO()
    with records.read() as conn:
        assert ledger.export(conn, out) == 300
    report = verify_export(out.getvalue().splitlines(keepends=True), NoteVerifier.parse(ledger.verifier_key))
    assert (report.size, report.origin, report.trusted_key) == (300, "test.example/ledger", True)
    assert b"secret" not in out.getvalue()


def test_many_threads_append_one_gapless_log(records, ledger, keyring, make_draft):
    def append(worker: int) -> None:
        for n in range(10):
            with records.write() as conn:
                ledger.append(conn, [make_draft(worker * 10 + n)])

    threads = [Thread(target=append, args=(worker,)) for worker in range(4)]
    sequencers = [Thread(target=_sequence, args=(ledger, records)) for _ in range(2)]
    for thread in threads + sequencers:
        thread.start()
    for thread in threads + sequencers:
        thread.join()
    while Sequencer(ledger, records).run_once():
        pass
    with records.read() as conn:
        found = ledger.entries(conn)
        assert [e.index for e in found] == list(range(40))
        assert sorted(e.context["number"] for e in found) == list(range(40))
        path = ledger.prove_inclusion(conn, 17, 40)
        leaf = leaf_hash(ledger.canonical(conn, found[17].entry_id))
        assert root_from_inclusion(leaf, 17, 40, path) == _head(ledger, conn).root


def _sequence(ledger, records):
    for _ in range(20):
        Sequencer(ledger, records).run_once()


def test_another_process_with_the_same_root_key_signs_the_same_log(records, keyring, ledger, append, make_draft):
    append([make_draft()])
    again = Ledger(keyring, ledger._clock, "test.example/ledger")
    assert again.verifier_key == ledger.verifier_key
