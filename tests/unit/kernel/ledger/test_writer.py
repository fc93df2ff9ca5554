import asyncio
from threading import Thread

import pytest
from sqlalchemy import event

from vallum.kernel.errors import Unavailable
from vallum.kernel.ledger.writer import LedgerWriter


@pytest.fixture
def writer(ledger, records):
    opened = LedgerWriter(ledger, records)
    opened.start()
    yield opened
    opened.close()


async def test_concurrent_records_share_commits_and_each_is_durable(writer, records, ledger, make_draft):
    commits = []
    event.listen(records.engine, "commit", lambda conn: commits.append(1))
    receipts = await asyncio.gather(*(writer.record(make_draft(n)) for n in range(200)))
    assert len({r.entry_id for r in receipts}) == 200
    assert len(commits) < 100
    with records.read() as conn:
        assert ledger.size(conn) + ledger.pending(conn) == 200
        for receipt in receipts[::50]:
            assert ledger.entry(conn, receipt.entry_id).entry_id == receipt.entry_id


def test_threads_record_too(writer, records, ledger, make_draft):
    threads = [Thread(target=writer.record_sync, args=(make_draft(n),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with records.read() as conn:
        assert ledger.size(conn) + ledger.pending(conn) == 20


async def test_a_commit_that_fails_is_told_to_everybody_in_it(writer, records, ledger, make_draft):
    with records.write() as conn:
        conn.exec_driver_sql("ALTER TABLE ledger_entries RENAME TO hidden")
    outcomes = await asyncio.gather(*(writer.record(make_draft(n)) for n in range(5)), return_exceptions=True)
    assert all(isinstance(o, Unavailable) for o in outcomes)
    with records.write() as conn:
        conn.exec_driver_sql("ALTER TABLE hidden RENAME TO ledger_entries")
    await writer.record(make_draft())
    with records.read() as conn:
        assert ledger.size(conn) + ledger.pending(conn) == 1


async def test_a_caller_that_left_does_not_disturb_the_others(writer, make_draft):
    leaving = asyncio.create_task(writer.record(make_draft()))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await writer.record(make_draft())).entry_id


def test_closing_flushes_and_then_refuses(ledger, records, make_draft):
    writer = LedgerWriter(ledger, records)
    writer.start()
    threads = [Thread(target=writer.record_sync, args=(make_draft(n),)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    with pytest.raises(Unavailable):
        writer.record_sync(make_draft())
    with records.read() as conn:
        assert ledger.size(conn) + ledger.pending(conn) == 5
