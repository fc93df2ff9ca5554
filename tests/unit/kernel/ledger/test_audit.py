"""Tampering with what is stored: every edit, drop, reorder and truncation is found."""

import io
import random
from datetime import UTC, datetime, timedelta

import pytest

from vallum.kernel.errors import IntegrityError
from vallum.kernel.ledger.audit import verify_store
from vallum.kernel.ledger.note import NoteVerifier
from vallum.kernel.ledger.publisher import Publisher
from vallum.kernel.ledger.verify import verify_export

SIZE = 270  # more than one tile


@pytest.fixture
def published(records, ledger, append, make_draft, files, tmp_path):
    append((make_draft(n, contents={"request": b"q%d" % n} if n % 30 == 0 else {}) for n in range(SIZE)), batch=90)
    publisher = Publisher(ledger, records, files, tmp_path / "checkpoint")
    publisher.run_once()
    return publisher


def _verify(records, ledger, keyring, publisher):
    with records.read() as conn:
        return verify_store(conn, ledger, keyring, publisher.outside_checkpoint())


def test_an_untouched_store_verifies(records, ledger, keyring, published):
    report = _verify(records, ledger, keyring, published)
    assert (report.size, report.contents, report.shredded, report.pending) == (SIZE, 9, 0, 0)


def _flip(value: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(value))
    return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]


def _mutate(conn, rng: random.Random) -> str:
    """One random edit, drop, reorder or truncation, the way a database administrator could do it."""
    mark = "?" if conn.dialect.name == "sqlite" else "%s"

    def run(sql, *values):
        return conn.exec_driver_sql(sql.replace("?", mark), tuple(values))

    at, other = rng.sample(range(SIZE), 2)
    kind = rng.choice(["edit", "edit", "text", "drop", "swap", "truncate", "head", "tile", "content", "renumber"])
    if kind == "edit":
        column = rng.choice(["canonical", "leaf"])
        old = bytes(run(f"SELECT {column} FROM ledger_entries WHERE idx = ?", at).scalar_one())
        run(f"UPDATE ledger_entries SET {column} = ? WHERE idx = ?", _flip(old, rng), at)
    elif kind == "text":
        column = rng.choice(["kind", "subject", "asset", "effect", "entry_id"])
        if column == "entry_id":
            run("DELETE FROM ledger_contents")
        run(f"UPDATE ledger_entries SET {column} = ? WHERE idx = ?", f"other{rng.random()}", at)
    elif kind == "drop":
        run("DELETE FROM ledger_contents WHERE entry_id = (SELECT entry_id FROM ledger_entries WHERE idx = ?)", at)
        run("DELETE FROM ledger_entries WHERE idx = ?", at)
    elif kind == "swap":
        for old, new in ((at, -1), (other, at), (-1, other)):
            run("UPDATE ledger_entries SET idx = ? WHERE idx = ?", new, old)
    elif kind == "truncate":
        run("DELETE FROM ledger_contents")
        run("DELETE FROM ledger_entries WHERE idx >= ?", at)
        if rng.random() < 0.5:
            run("UPDATE ledger_head SET size = ?", at)
    elif kind == "head":
        old = run("SELECT checkpoint FROM ledger_head").scalar_one().encode()
        run("UPDATE ledger_head SET checkpoint = ?", _flip(old, rng).decode("utf-8", "replace"))
    elif kind == "tile":
        old = bytes(run("SELECT hashes FROM ledger_tiles").scalar_one())
        run("UPDATE ledger_tiles SET hashes = ?", _flip(old, rng))
    elif kind == "content":
        column = rng.choice(["salt", "sealed"])
        row = rng.choice(run(f"SELECT entry_id, {column} FROM ledger_contents").all())
        run(f"UPDATE ledger_contents SET {column} = ? WHERE entry_id = ?", _flip(bytes(row[1]), rng), row[0])
    else:
        run("UPDATE ledger_entries SET idx = NULL WHERE idx = ?", at)
    return kind


class _Undo(Exception):
    pass


def _mutations(records, ledger, keyring, published, count):
    rng = random.Random(7)
    earlier = published.outside_checkpoint()
    for number in range(count):
        with pytest.raises(_Undo), records.write() as conn:
            kind = _mutate(conn, rng)
            with pytest.raises(IntegrityError):
                verify_store(conn, ledger, keyring, earlier)
                pytest.fail(f"mutation {number} ({kind}) was not found")
            raise _Undo


def test_random_tampering_is_found(records, ledger, keyring, published):
    _mutations(records, ledger, keyring, published, 60)


@pytest.mark.long
def test_a_thousand_random_tamperings_are_all_found(records, ledger, keyring, published):
    if records.dialect == "postgresql":
        pytest.skip("the same verification over the same rows; the shorter test runs on both")
    _mutations(records, ledger, keyring, published, 1000)


def test_a_database_restored_from_an_older_backup_is_found(records, ledger, keyring, published, append, make_draft):
    with records.read() as conn:
        size, peaks, note = conn.exec_driver_sql("SELECT size, peaks, checkpoint FROM ledger_head").one()
    append([make_draft()])
    published.run_once()
    with records.write() as conn:  # a valid older state in every part, its signature too
        mark = "?" if records.dialect == "sqlite" else "%s"
        conn.exec_driver_sql(f"DELETE FROM ledger_entries WHERE idx >= {SIZE}")
        conn.exec_driver_sql(
            f"UPDATE ledger_head SET size = {mark}, peaks = {mark}, checkpoint = {mark}", (size, bytes(peaks), note)
        )
    with pytest.raises(IntegrityError, match="truncated"):
        _verify(records, ledger, keyring, published)
    with pytest.raises(IntegrityError, match="rolled back"):
        published.run_once()


def test_every_damaged_export_is_found(records, ledger, published):
    out = io.BytesIO()
    with records.read() as conn:
        ledger.export(conn, out)
    good, key = out.getvalue().splitlines(keepends=True), NoteVerifier.parse(ledger.verifier_key)
    verify_export(good, key)
    rng = random.Random(11)
    for _ in range(400):
        lines = list(good)
        at, other = rng.sample(range(1, len(lines)), 2)
        match rng.choice(["edit", "drop", "swap", "truncate", "repeat", "cut", "header"]):
            case "edit":
                lines[at] = _flip(lines[at][:-1], rng) + b"\n"
            case "drop":
                del lines[at]
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "truncate":
                lines = lines[:at]
            case "repeat":
                lines.insert(other, lines[at])
            case "cut":
                lines[-1] = lines[-1][: rng.randrange(len(lines[-1]))]
            case "header":
                lines[0] = _flip(lines[0][:-1], rng) + b"\n"
                if lines[0].rpartition(b'"verifier_key"')[0] == good[0].rpartition(b'"verifier_key"')[0]:
                    continue  # the key in the file is only a claim; the trusted one was given
        with pytest.raises(IntegrityError):
            verify_export(lines, key)


def test_an_export_signed_by_somebody_else_is_refused(records, ledger, keyring, published):
    from vallum.kernel.clock import SystemClock
    from vallum.kernel.ledger.ledger import Ledger

    other = Ledger(keyring, SystemClock(), "other.example/ledger")
    out = io.BytesIO()
    with records.read() as conn:
        ledger.export(conn, out)
    with pytest.raises(IntegrityError):
        verify_export(out.getvalue().splitlines(keepends=True), NoteVerifier.parse(other.verifier_key))


def _run(records, sql, *values):
    with records.write() as conn:
        return conn.exec_driver_sql(sql.replace("?", "?" if conn.dialect.name == "sqlite" else "%s"), tuple(values))


COPY = "INSERT INTO ledger_entries (position, idx, entry_id, kind, subject, asset, effect, canonical, leaf) "
OF_ROW_3 = "SELECT ?, NULL, ?, kind, subject, asset, effect, canonical, leaf FROM ledger_entries WHERE idx = 3"


@pytest.mark.parametrize("position", [-7, 999_999])
def test_a_forged_row_is_found_wherever_it_stands(records, ledger, keyring, published, position):
    _run(records, COPY + OF_ROW_3, position, "ent_forged")
    with pytest.raises(IntegrityError):
        _verify(records, ledger, keyring, published)


def test_a_consistent_row_without_a_number_is_found_on_sqlite(records, ledger, keyring, published, make_draft):
    """It needs no key. On PostgreSQL rows do wait for their number, and whoever may insert there may append."""
    if records.dialect != "sqlite":
        return
    forged = ledger.prepare(make_draft(9999))
    e = forged.entry
    _run(
        records, COPY + "VALUES (?, NULL, ?, ?, ?, ?, ?, ?, ?)",
        10_000, e.entry_id, e.kind, e.subject, e.asset, e.effect, forged.canonical, forged.leaf,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="no number"):
        _verify(records, ledger, keyring, published)


@pytest.mark.parametrize(
    "sql",
    ["UPDATE ledger_entries SET canonical = CAST(canonical AS TEXT) WHERE idx = 5",
     "INSERT INTO ledger_head (id, size, peaks, checkpoint) SELECT 2, size, peaks, checkpoint FROM ledger_head",
     "UPDATE ledger_head SET checkpoint = 'x'", "UPDATE ledger_tiles SET hashes = 'x'"],
)  # fmt: skip
def test_what_is_of_another_type_is_a_mismatch_and_not_a_crash(records, ledger, keyring, published, sql):
    if records.dialect != "sqlite" and "TEXT" in sql:
        return  # its columns have types
    _run(records, sql)
    with pytest.raises(IntegrityError):
        _verify(records, ledger, keyring, published)


def test_a_content_may_go_when_its_time_is_over_and_not_before(records, ledger, keyring, append, make_draft, tmp_path):
    kept = make_draft(1, contents={"request": b"x"}, context={"keep_days": 30})
    append([kept], batch=1)
    publisher = type("P", (), {"outside_checkpoint": staticmethod(lambda: None)})
    assert _verify(records, ledger, keyring, publisher).contents == 1
    _run(records, "DELETE FROM ledger_contents")
    now = datetime.now(UTC)
    with records.read() as conn:
        entry = ledger.entries(conn, limit=1)[0]
    if datetime.fromisoformat(entry.time) + timedelta(days=30) > now:
        with pytest.raises(IntegrityError, match="before its time"):
            _verify(records, ledger, keyring, publisher)
    else:  # the tests' clock stands further back
        assert _verify(records, ledger, keyring, publisher).shredded == 1
