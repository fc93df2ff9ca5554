"""What signing and verifying a model cost beside bare SHA-256 of the same bytes, as JSON.

    .venv/bin/python bench/signing.py [MEGABYTES]

`rate` is hashlib's CPU seconds over ours, one thread, and wants at least 0.95; `speedup` is one thread's time over
that of two, on two cores, and wants at least 1.7. They take turns; each figure is the best of several rounds.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vallum.models.signing import TrustedKey, TrustPolicy, sign_model, verify_model

ROUNDS, FILES = 5, 8


def best(work: Callable[[], object], clock: Callable[[], float]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = clock()
        work()
        times.append(clock() - began)
    return min(times)


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    trust = TrustPolicy(keys=(TrustedKey("bench", public),))
    with tempfile.TemporaryDirectory() as name:
        model, signature = Path(name) / "model", Path(name) / "model.sig"
        model.mkdir()
        for number in range(FILES):
            (model / f"shard-{number}.bin").write_bytes(os.urandom((megabytes << 20) // FILES))

        def bare() -> None:
            for file in sorted(model.iterdir()):
                with file.open("rb") as opened:
                    hashlib.file_digest(opened, "sha256").digest()

        sign_model(model, signature, key)
        cpu = time.process_time
        bare_seconds = best(bare, cpu)
        signing = best(lambda: sign_model(model, signature, key, threads=1), cpu)
        verifying = best(lambda: verify_model(model, signature, trust, threads=1), cpu)
        one = best(lambda: verify_model(model, signature, trust, threads=1), time.perf_counter)
        two = best(lambda: verify_model(model, signature, trust, threads=2), time.perf_counter)
    print(json.dumps({
        "megabytes": megabytes, "sign_rate": round(bare_seconds / signing, 3),
        "verify_rate": round(bare_seconds / verifying, 3), "speedup": round(one / two, 2),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
