"""Payloads that a pickle's strings carry, as they are, packed or encoded, are followed; ordinary strings pass."""

import base64
import gzip
import pickle
import zlib
from pathlib import Path

import pytest

from vallum.models.scan import Verdict, scan

_OLD = b"cos\nsystem\n(S'true'\ntR."
_INST = b"(S'true'\nios\nsystem\n."
_NEW = b"\x80\x04cposix\nsystem\n\x8c\x04true\x85R."
_WAYS = {
    "as it is": lambda b: b,
    "text": lambda b: b.decode("latin-1"),
    "base64": lambda b: base64.b64encode(b).decode(),
    "base64 bytes": base64.b64encode,
    "hexadecimal": lambda b: b.hex(),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
}


@pytest.mark.parametrize("payload", [_OLD, _NEW, _INST * 2])
@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_strings_carry_is_blocked(tmp_path: Path, payload: bytes, way: str, protocol: int) -> None:
    if way == "text" and payload is _NEW:
        pytest.skip("a text of that is no pickle any more")
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps({"weights": [0.5, _WAYS[way](payload)]}, protocol))
    assert scan(file).verdict is Verdict.BLOCK


def test_ordinary_strings_pass(tmp_path: Path) -> None:
    words = ["a sentence of ordinary words, somewhat longer", "https://example.org/a/path", "x" * 300, "f" * 64]
    content = {"names": words * 50, "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content))
    assert scan(tmp_path / "model.pkl").verdict is Verdict.PASS
