import pytest

from vallum.kernel.errors import IntegrityError
from vallum.kernel.ledger.note import NoteVerifier
from vallum.kernel.ledger.publisher import Publisher
from vallum.kernel.ledger.verify import verify_tiles


def test_published_tiles_verify_without_the_database(records, ledger, append, make_draft, files, tmp_path):
    publisher = Publisher(ledger, records, files, tmp_path / "checkpoint")
    key = NoteVerifier.parse(ledger.verifier_key)
    total = 0
    for count in (3, 0, 253, 1, 300):
        append((make_draft(n) for n in range(count)), batch=100)
        total += count
        assert publisher.run_once() == total
        assert verify_tiles(files.root, key).size == total
    assert (tmp_path / "checkpoint").read_bytes() == files.get("checkpoint")
    assert (files.root / "tile/0/000").stat().st_size == 256 * 32
    assert (files.root / "tile/1/000.p/2").stat().st_size == 2 * 32


def test_a_damaged_bundle_is_found(records, ledger, append, make_draft, files, tmp_path):
    append((make_draft(n) for n in range(10)), batch=10)
    Publisher(ledger, records, files, tmp_path / "checkpoint").run_once()
    bundle = files.root / "tile/entries/000.p/10"
    good = bundle.read_bytes()
    for bad in (good[:-1], good[:-30], good + b"\0\0", good.replace(b"allow", b"deny ", 1), b""):
        bundle.write_bytes(bad)
        with pytest.raises(IntegrityError):
            verify_tiles(files.root, NoteVerifier.parse(ledger.verifier_key))
    bundle.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        verify_tiles(files.root, NoteVerifier.parse(ledger.verifier_key))


def test_an_emptied_database_is_refused(records, ledger, append, make_draft, files, tmp_path):
    append((make_draft(n) for n in range(5)), batch=5)
    publisher = Publisher(ledger, records, files, tmp_path / "checkpoint")
    publisher.run_once()
    with records.write() as conn:
        for table in ("ledger_contents", "ledger_entries", "ledger_tiles", "ledger_head"):
            conn.exec_driver_sql(f"DELETE FROM {table}")
    with pytest.raises(IntegrityError, match="rolled back"):
        publisher.check()
