"""What encrypting columns costs: fields a second of one core, as JSON.

    .venv/bin/python bench/fields.py [FIELDS]

CPU seconds of one thread, best of several rounds, with every value different; wanted are 500,000 fields a second.
`joinable_repeated` is a column with one distinct value in ten fields.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence

from vallum.data.fields import BATCH_FIELDS, ColumnCipher, ColumnPlace, SealedBatch

ROUNDS = 5
SEALING = Callable[[Sequence[bytes | None], int], SealedBatch]


def rate(fields: int, work: Callable[[], object]) -> int:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return round(fields / best)


def main() -> None:
    fields = int(sys.argv[1]) if len(sys.argv) > 1 else 6 * BATCH_FIELDS
    cipher = ColumnCipher(os.urandom(32), ColumnPlace("bench", "restricted", "column"))
    values = [b"DE%020d" % number for number in range(fields)]
    repeated = [values[number // 10] for number in range(fields)]

    def sealed(seal: SEALING, column: list[bytes]) -> list[SealedBatch]:
        return [seal(column[row : row + BATCH_FIELDS], row) for row in range(0, fields, BATCH_FIELDS)]

    with_nulls = [None if number % 7 == 0 else value for number, value in enumerate(values)]
    batches, joinable = sealed(cipher.seal, values), sealed(cipher.seal_joinable, values)
    print(
        json.dumps(
            {
                "python": platform.python_version(),
                "fields": fields,
                "seal": rate(fields, lambda: sealed(cipher.seal, values)),
                "seal_with_nulls": rate(fields, lambda: sealed(cipher.seal, with_nulls)),
                "open": rate(fields, lambda: [cipher.open(b, i * BATCH_FIELDS) for i, b in enumerate(batches)]),
                "seal_joinable": rate(fields, lambda: sealed(cipher.seal_joinable, values)),
                "joinable_repeated": rate(fields, lambda: sealed(cipher.seal_joinable, repeated)),
                "open_joinable": rate(
                    fields, lambda: [cipher.open_joinable(b, i * BATCH_FIELDS) for i, b in enumerate(joinable)]
                ),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
