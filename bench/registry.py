"""What taking in and giving out a model costs beside bare SHA-256 of the same bytes, as JSON.

    .venv/bin/python bench/registry.py [MEGABYTES]

`take` is a file that arrives in pieces of a megabyte, hashed, searched for pickles, spooled for the scanner, encrypted
and stored in one read, as an upload does it; `taken_and_scanned` is a whole upload through the control plane of a
platform on SQLite: begun, sent, completed (scanned in a child, signed, attested), with its entries in the ledger;
`checkout` verifies a
version, and opens, hashes and writes it again; `scan` looks through the file in this process. Each is our rate over
that of hashlib's SHA-256 on the same pieces, by the wall clock: `median` of several rounds that take turns, each over
the hashing just before it, and `best` of all over the best hashing. `cpu` is how much CPU time each costs, processes
that were started included, over that of hashing, the median: what a busy machine shows all the same; 2.67 is what 0.75
on two cores allows.
"""

import hashlib
import json
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

ROUNDS, PIECE = 9, 1 << 20


def spent() -> float:
    """CPU seconds of this process, of the children that ended, and of those that live, with theirs."""
    ticks = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                ticks += sum(map(int, fields[11:15]))
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """By the wall clock, and of CPU."""
    began, before = time.perf_counter(), spent()
    work()
    return time.perf_counter() - began, spent() - before


def main() -> None:
    from vallum.api import ROUTES, Call, RawBody
    from vallum.compose import Platform, prepare
    from vallum.kernel.store.blobs import Blobs
    from vallum.models.registry.artifacts import Artifacts, Place
    from vallum.models.scan import scan
    from vallum.settings import load_settings

    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    size = megabytes << 20
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + os.urandom(PIECE) * megabytes
    key, place = os.urandom(32), Place("bench", 1, "model.safetensors")
    routes = {route.name: route for route in ROUTES}

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(weights), PIECE):
            yield weights[at : at + PIECE]

    with tempfile.TemporaryDirectory() as name:
        artifacts = Artifacts(Blobs.open(f"file://{name}/blobs"), Path(name) / "spool")
        settings = load_settings(None, {}, {"data": f"{name}/data"})
        prepare(settings)
        platform = Platform.open(settings)
        platform.start()

        def perform(route: str, path: dict[str, str], body: Any = None) -> Any:
            wanted = routes[route].body
            made = body if wanted is None or body is None or isinstance(body, RawBody) else wanted(**body)
            return platform.perform(routes[route], Call(path=path, body=made)).value

        def bare() -> None:
            digest = hashlib.sha256()
            for piece in pieces():
                digest.update(piece)

        def take() -> None:
            artifacts.take(key, place, "models/bench/one", pieces())

        def whole() -> int:
            at = {"name": "bench"}
            at["upload"] = perform("begin_model_upload", at, {"source": "a benchmark"}).id
            perform("upload_model_file", at | {"path": "model.safetensors"}, RawBody(pieces()))
            version = perform("complete_model_upload", at)
            assert version.verdict == "pass", version
            return int(version.number)

        def look() -> None:
            assert scan(laid).verdict == "pass"

        def checkout(number: int) -> None:
            with tempfile.TemporaryDirectory(dir=name) as out:
                platform.control.services.models.checkout("bench", number, Path(out))

        try:
            perform("register_model", {}, {"name": "bench"})
            laid = Path(name) / "laid"
            laid.mkdir()
            (laid / "model.safetensors").write_bytes(weights)
            look()
            whole()  # what is started once is started
            times: dict[str, list[tuple[float, float]]] = {"take": [], "taken_and_scanned": [], "checkout": []}
            times["scan"] = []
            hashed: dict[str, list[tuple[float, float]]] = {kind: [] for kind in times}
            for number in range(2, ROUNDS + 2):
                works = (take, whole, partial(checkout, number), look)
                for kind, work in zip(times, works, strict=True):
                    hashed[kind].append(measured(bare))
                    times[kind].append(measured(work))
                artifacts.drop(["models/bench/one"])
        finally:
            platform.close()
    quickest = min(wall for found in hashed.values() for wall, _ in found)
    rates, costs = {}, {}
    for kind, found in times.items():
        pairs = list(zip(hashed[kind], found, strict=True))
        median = statistics.median(one[0] / other[0] for one, other in pairs)
        best = quickest / min(wall for wall, _ in found)
        rates[kind] = {"median": round(median, 3), "best": round(best, 3)}
        costs[kind] = round(statistics.median(other[1] / one[1] for one, other in pairs), 2)
    scanning = statistics.median(cpu for _, cpu in times["scan"])
    load = round(os.getloadavg()[0], 1)
    said = {"megabytes": megabytes, "sha256_mb_per_second": round(megabytes / quickest), **rates, "cpu": costs}
    said |= {"scan_cpu_ms_per_mb": round(scanning / megabytes * 1e3, 2), "load": load}
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
