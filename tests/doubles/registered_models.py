"""Models to upload, and people who act on them."""

import json
import os
import pickle
import struct
import time

from vallum.kernel.values import Subject, SubjectKind, TenantId


def tensors(size: int = 4096) -> bytes:
    """A safetensors file, which the scanner understands and passes."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + os.urandom(size)


class Runs:
    def __reduce__(self):
        return (os.system, ("true",))


def harmful() -> bytes:
    return pickle.dumps(Runs())


def unknown() -> bytes:
    """Content that no inspector knows: for review, not shown harmful."""
    return b"\x93\x01\x02\xff" + bytes(range(256)) * 8


def person(name, *roles, holder=None, fresh=True):
    return Subject(
        SubjectKind.PERSON, f"per_{name}", TenantId("default"), frozenset(roles), holder=holder or f"hum_{name}",
        mfa_at_seconds=int(time.time()) if fresh else None,
    )  # fmt: skip
