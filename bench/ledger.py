"""What the ledger costs: durable entries a second, Merkle integration beside bare SHA-256, CPU for each record.

    .venv/bin/python bench/ledger.py [--entries 20000] [--postgres URL]

`durable` counts entries that concurrent writers got back as committed, `synchronous=FULL`. `integration` is appending
leaf hashes to the tree and storing its tiles, as a ratio of hashing the same entries once with SHA-256, the least any
log must do. `record` is CPU of the whole process for each entry recorded by 64 concurrent tasks, contents not kept.
"""

import argparse
import asyncio
import json
import platform
import sys
import tempfile
import time
from hashlib import sha256
from threading import Thread

from vallum.compose import Platform, prepare
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.ledger.merkle import Frontier, leaf_hash
from vallum.settings import load_settings

DRAFT = EntryDraft(
    tenant="default", kind="inference", subject="application:bench", action="gateway:model:invoke",
    asset="Model:bench", effect="allow", outcome="ok", credential="key_01M7YJXBC1MH8H2R1GRZJ9F12C",
    policies=("application-invokes-its-models",), policy_set="0" * 64, reason="permitted by policy",
    context={"endpoint": "chat", "status": 200, "milliseconds": 12, "stream": 0, "provider": "up"},
)  # fmt: skip


def batched(platform_: Platform, entries: int, batch: int) -> float:
    """Entries a second in transactions of `batch`, prepared and durable."""
    begun = time.perf_counter()
    for _ in range(entries // batch):
        prepared = [platform_.ledger.prepare(DRAFT) for _ in range(batch)]
        with platform_.records.write() as conn:
            platform_.ledger.append_prepared(conn, prepared)
    return entries / (time.perf_counter() - begun)


def concurrent(platform_: Platform, entries: int, threads: int) -> float:
    """Entries a second that so many threads get back as durable, each waiting for its own."""

    def work() -> None:
        for _ in range(entries // threads):
            platform_.writer.record_sync(DRAFT)

    workers = [Thread(target=work) for _ in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return entries / (time.perf_counter() - begun)


def record_cpu_ms(platform_: Platform, entries: int) -> float:
    async def main() -> None:
        async def work() -> None:
            for _ in range(entries // 64):
                await platform_.writer.record(DRAFT)

        await asyncio.gather(*(work() for _ in range(64)))

    begun = time.process_time()
    asyncio.run(main())
    return (time.process_time() - begun) / entries * 1000


def integration(entries: int) -> dict[str, float]:
    """Leaf hashing and appending to the tree, beside leaf hashing alone."""
    canonical = [f'{{"entry_id":"ent_{n:026}","rest":"{"x" * 600}"}}'.encode() for n in range(entries)]
    bare = merkle = 1e9
    for _ in range(5):
        begun = time.perf_counter()
        for entry in canonical:
            sha256(b"\x00" + entry).digest()
        bare = min(bare, time.perf_counter() - begun)
        begun = time.perf_counter()
        frontier = Frontier()
        for entry in canonical:
            frontier.append(leaf_hash(entry))
        frontier.root()
        merkle = min(merkle, time.perf_counter() - begun)
    return {
        "bare_sha256_per_second": round(entries / bare),
        "integrated_per_second": round(entries / merkle),
        "ratio": round(bare / merkle, 3),
    }


def measure(url: str, entries: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(None, {}, {"data": folder, **({"records.url": url} if url else {})})
        prepare(settings)
        platform_ = Platform.open(settings)
        platform_.start()
        try:
            return {
                "batches_of_512_per_second": round(batched(platform_, entries, 512)),
                "64_threads_per_second": round(concurrent(platform_, entries // 4, 64)),
                "record_cpu_ms": round(record_cpu_ms(platform_, entries // 2), 4),
            }
        finally:
            platform_.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--postgres", default="", help="also measure on this empty database")
    given = parser.parse_args()
    figures: dict[str, object] = {
        "python": platform.python_version(),
        "integration": integration(20_000),
        "sqlite": measure("", given.entries),
    }
    if given.postgres:
        figures["postgresql"] = measure(given.postgres, given.entries)
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
