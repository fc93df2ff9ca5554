"""What recognising an access token costs beside bare joserfc, and how soon a revocation is everywhere, as JSON.

    .venv/bin/python bench/tokens.py [TRIALS] [DATABASE_URL]

`miss` is a token this process has not seen; `bare` is joserfc's decode with the same key. They take turns, so that a
busy machine slows both; each figure is the best of several rounds, and wants at most 1.3 (ratio). `hit` is one it has
seen, and wants at most 15 µs. Revocation: four processes, as workers have it (memory, dropped by the epoch's poll),
ask for every token all the time; a trial is from the commit of its revocation to the last process's first refusal, and
wants at most one second at the 99th percentile.
"""

import json
import multiprocessing
import platform
import random
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from joserfc import jwt

from vallum.kernel.clock import SystemClock
from vallum.kernel.identity import CredentialRefused, Identity
from vallum.kernel.keys import FileRoot, Keyring
from vallum.kernel.store.epochs import EpochWatch
from vallum.kernel.store.records import Records
from vallum.kernel.store.schema import migrate

ROUNDS, PER_ROUND, HITS = 9, 200, 20_000
WORKERS, BATCH = 4, 25
PASSPHRASE = None


def open_identity(url: str, root: Path) -> tuple[Records, Identity]:
    records = Records(url)
    keyring = Keyring(records, FileRoot.open(root, PASSPHRASE), SystemClock())
    return records, Identity.open(records, keyring, SystemClock(), "bench.example/ledger")


def worker(url: str, root: Path, batches: Any, answers: Any) -> None:
    """Ask for each token of a batch until it is refused; answer with when that was."""
    records, identity = open_identity(url, root)
    watch = EpochWatch(records)
    watch.subscribe("identity", identity.refresh)
    watch.poll_once()
    watch.start()
    while (batch := batches.get()) is not None:
        for token in batch:
            identity.services.authenticate_token(token)
        answers.put("seen")
        refused: dict[str, float] = {}
        while len(refused) < len(batch):
            for token in batch:
                if token in refused:
                    continue
                try:
                    identity.services.authenticate_token(token)
                except CredentialRefused:
                    refused[token] = time.monotonic()
            time.sleep(0.001)
        answers.put([refused[token] for token in batch])
    watch.stop()
    records.close()


def revocation(url: str, root: Path, trials: int) -> dict[str, float]:
    records, identity = open_identity(url, root)
    with records.write() as conn:
        service = identity.services.create(conn, f"bench-{time.time_ns()}", ["auditor"]).service
    context = multiprocessing.get_context("spawn")
    queues = [(context.Queue(), context.Queue()) for _ in range(WORKERS)]
    processes = [context.Process(target=worker, args=(url, root, *pair)) for pair in queues]
    for process in processes:
        process.start()
    delays: list[float] = []
    for _ in range(-(-trials // BATCH)):
        batch = [identity.services.grant(service).access_token for _ in range(BATCH)]
        for batches, _ in queues:
            batches.put(batch)
        for _, answers in queues:
            answers.get()
        committed = []
        for token in batch:
            time.sleep(random.uniform(0, 0.04))  # not in step with anybody's poll
            with records.write() as conn:
                identity.services.revoke_token(conn, token)
            committed.append(time.monotonic())
        seen = [answers.get() for _, answers in queues]
        delays += [max(times) - at for at, *times in zip(committed, *seen, strict=True)]
    for batches, _ in queues:
        batches.put(None)
    for process in processes:
        process.join()
    records.close()
    delays.sort()
    return {
        "trials": len(delays),
        "p50_ms": round(delays[len(delays) // 2] * 1000, 1),
        "p99_ms": round(delays[int(len(delays) * 0.99)] * 1000, 1),
        "worst_ms": round(delays[-1] * 1000, 1),
    }


def verification(identity: Identity, records: Records) -> dict[str, float]:
    with records.write() as conn:
        service = identity.services.create(conn, f"verify-{time.time_ns()}", ["auditor"]).service
    tokens = [identity.services.grant(service).access_token for _ in range(PER_ROUND)]
    services, key = identity.services, identity.services._tokens._key
    bare, miss = [], []
    for _ in range(ROUNDS):
        services._held.clear()
        services.authenticate_token(tokens[0])  # what is known of services is in memory; the tokens are not
        services._held.clear()
        started = time.perf_counter()
        for token in tokens:
            services.authenticate_token(token)
        miss.append((time.perf_counter() - started) / len(tokens))
        started = time.perf_counter()
        for token in tokens:
            jwt.decode(token, key, algorithms=["Ed25519"])
        bare.append((time.perf_counter() - started) / len(tokens))
    started = time.perf_counter()
    for _ in range(HITS):
        services.authenticate_token(tokens[0])
    hit = (time.perf_counter() - started) / HITS
    return {
        "bare_us": round(min(bare) * 1e6, 1),
        "miss_us": round(min(miss) * 1e6, 1),
        "ratio": round(min(miss) / min(bare), 3),
        "hit_us": round(hit * 1e6, 2),
        "hash_alone_us": round(_hash_cost(tokens[0]), 2),
    }


def _hash_cost(token: str) -> float:
    started = time.perf_counter()
    for _ in range(HITS):
        sha256(token.encode()).digest()
    return (time.perf_counter() - started) / HITS * 1e6


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root.key"
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{folder}/records.db"
        records = Records(url)
        migrate(records)
        records.close()
        FileRoot.create(root, PASSPHRASE)
        records, identity = open_identity(url, root)
        found = {"verification": verification(identity, records), "revocation": revocation(url, root, trials)}
        records.close()
    print(json.dumps({"python": platform.python_version(), "database": url.partition(":")[0], **found}, indent=1))


if __name__ == "__main__":
    main()
