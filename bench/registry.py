"""What taking in and giving out a model costs beside bare SHA-256 of the same bytes, as JSON.

    .venv/bin/python bench/registry.py [MEGABYTES]

`take` is a file that arrives in pieces of a megabyte, hashed, spooled for the scanner, encrypted and stored in one
read, as an upload does it; `taken_and_scanned` is a whole upload: taken, laid out, scanned in its child, and signed;
`checkout` opens, hashes and writes it again. Each is our rate over that of hashlib's SHA-256 on the same pieces, by
the wall clock, best of several rounds that take turns. `take` wants at least 0.75. `cpu` is how much CPU time each
costs, children included, over that of hashing: what a busy machine shows all the same, and 2.67 is what 0.75 on two
cores allows.
"""

import hashlib
import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vallum.kernel.store.blobs import Blobs
from vallum.models.registry.artifacts import Artifacts, Place, StoredFile
from vallum.models.registry.uploads import manifest_of
from vallum.models.scan.child import scan_isolated
from vallum.models.signing.bundle import render_bundle

ROUNDS, PIECE = 5, 1 << 20


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the wall clock, and of CPU with children."""
    began, spent = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - began, sum(os.times()[:4]) - spent


def main() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    size = megabytes << 20
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + os.urandom(PIECE) * megabytes
    key, place, signer = os.urandom(32), Place("bench", 1, "model.safetensors"), ec.generate_private_key(ec.SECP256R1())

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(weights), PIECE):
            yield weights[at : at + PIECE]

    with tempfile.TemporaryDirectory() as name:
        artifacts = Artifacts(Blobs.open(f"file://{name}/blobs"), Path(name) / "spool")

        def bare() -> None:
            digest = hashlib.sha256()
            for piece in pieces():
                digest.update(piece)

        def take() -> StoredFile:
            return StoredFile(artifacts.take(key, place, "models/bench/one", pieces()), "models/bench/one")

        def whole() -> None:
            stored = take()
            with artifacts.laid_out(key, "bench", 1, [stored]) as folder:
                assert scan_isolated(folder).verdict == "pass"
            render_bundle(manifest_of("bench", [stored.file]), signer)

        def checkout() -> None:
            with tempfile.TemporaryDirectory(dir=name) as out:
                artifacts.write(key, "bench", 1, [stored], Path(out))

        times: dict[str, list[tuple[float, float]]] = {"bare": [], "take": [], "taken_and_scanned": [], "checkout": []}
        for _ in range(ROUNDS):
            times["bare"].append(seconds(bare))
            times["take"].append(seconds(take))
            artifacts.drop(["models/bench/one"])
            times["taken_and_scanned"].append(seconds(whole))
            artifacts.drop(["models/bench/one"])
            stored = take()
            times["checkout"].append(seconds(checkout))
            artifacts.drop(["models/bench/one"])
    best = {name: min(wall for wall, _ in found) for name, found in times.items()}
    spent = {name: min(cpu for _, cpu in found) for name, found in times.items()}
    rates = {name: round(best["bare"] / best[name], 3) for name in best if name != "bare"}
    costs = {name: round(spent[name] / spent["bare"], 2) for name in spent if name != "bare"}
    said = {"megabytes": megabytes, "sha256_mb_per_second": round(megabytes / best["bare"]), **rates, "cpu": costs}
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
