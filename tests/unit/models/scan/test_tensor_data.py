"""Data files without a format pass when another file says what all of their bytes are, and only then."""

import base64
import struct
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, techniques

from vallum.models.scan import Verdict, scan
from vallum.models.scan.formats.tensor_table import CheckpointIndex, shards_in_index
from vallum.models.scan.port import Blob

# tf.train.Checkpoint of TensorFlow 2.21: a variable of two floats, and the graph of objects.
_INDEX = base64.b64decode(
    "AAAGCAEaAggBABwOX0NIRUNLUE9JTlRBQkxFX09CSkVDVF9HUkFQSAgHEgAgECjLATWH2XHiACIRbW9kZWwvdi8uQVRUUklCVVRFUy9WQVJJ"
    "QUJMRV9WQUxVRQgBEgQSAggCIAgoCDVZPOU1ACcLc2F2ZV9jb3VudGVyLy5BVFRSSUJVVEVTL1ZBUklBQkxFX1ZBTFVFCAkSACgINQF13kEA"
    "AAAAAQAAAAAyZTB3AAAAAAEAAAAAwPKhsAABA3QAqQEAAAAAAQAAAAA1+oNErgEIuwEPAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAFf7gIskdUfb"
)
_DATA = base64.b64decode(
    "AQAAAAAAAAAAAIA/AAAAQMUB5BgrLwohCgkIARIFbW9kZWwKEAgCEgxzYXZlX2NvdW50ZXIqAggBCgsKBQgDEgF2KgIIAQpNEkcKDlZBUklB"
    "QkxFX1ZBTFVFEgxzYXZlX2NvdW50ZXIaJ3NhdmVfY291bnRlci8uQVRUUklCVVRFUy9WQVJJQUJMRV9WQUxVRSoCCAEKRBI+Cg5WQVJJQUJM"
    "RV9WQUxVRRIIVmFyaWFibGUaIm1vZGVsL3YvLkFUVFJJQlVURVMvVkFSSUFCTEVfVkFMVUUqAggB"
)
_NAME = "ckpt-1.data-00000-of-00001"


def repository(folder: Path, index: bytes = _INDEX, data: bytes = _DATA, name: str = _NAME) -> Path:
    (folder / "ckpt-1.index").write_bytes(index)
    (folder / name).write_bytes(data)
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n')
    return folder


def test_a_real_checkpoint_passes(tmp_path):
    report = scan(repository(tmp_path))
    assert (report.verdict, report.vouched) == (Verdict.PASS, (_NAME,))
    count, shards = shards_in_index(Blob("x", "x", memoryview(_INDEX)))
    assert count == 1
    assert sum(shard.size for shard in shards) == len(_DATA)


@pytest.mark.parametrize("extra", [b"x", b"\x93hidden" * 90, b"\0" * 10 + b"x"])
def test_more_than_the_tensors_is_not_vouched_for(tmp_path, extra):
    report = scan(repository(tmp_path, data=_DATA + extra))
    assert (report.verdict, report.vouched) == (Verdict.REVIEW, ())


def test_less_than_the_tensors_is_a_lie(tmp_path):
    assert techniques(scan(repository(tmp_path, data=_DATA[:-9])), Verdict.BLOCK) == {"size-lie"}


def test_data_under_another_name_or_alone_is_unknown(tmp_path):
    report = scan(repository(tmp_path, name="ckpt-1.data-00001-of-00002"))
    assert {"unknown-format", "malformed"} <= techniques(report, Verdict.REVIEW)
    assert techniques(scan(tmp_path / "ckpt-1.data-00001-of-00002"), Verdict.REVIEW) == {"unknown-format"}


def test_what_is_harmful_stays_so_though_it_is_vouched_for(tmp_path):
    program = b"\x7fELF\x02\x01\x01".ljust(len(_DATA), b"\0")
    report = scan(repository(tmp_path, data=program))
    assert report.vouched == (_NAME,)
    assert techniques(report, Verdict.BLOCK) == {"executable"}


@pytest.mark.parametrize("at", [0, 40, len(_INDEX) // 2, len(_INDEX) - 50, len(_INDEX) - 9])
def test_a_table_with_something_else_in_it_is_not_whole(at):
    changed = _INDEX[:at] + b"something" + _INDEX[at:]
    assert judged(changed, [CheckpointIndex()]).verdict == Verdict.REVIEW


@given(st.binary(max_size=100), st.integers(0, len(_INDEX)))
@settings(max_examples=80, deadline=None)
def test_noise_is_never_a_failure(noise, at):
    for changed in (_INDEX[:at] + noise + _INDEX[at + len(noise) :], noise + _INDEX[-48:], noise + _INDEX[-8:]):
        assert "scanner-error" not in techniques(judged(changed, [CheckpointIndex()]), Verdict.REVIEW)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def _onnx(*extents: tuple[int, int]) -> bytes:
    graph = b""
    for number, (offset, length) in enumerate(extents):
        entries = {"location": "w.data", "offset": str(offset), "length": str(length)}
        pairs = b"".join(_field(13, _field(1, k.encode()) + _field(2, v.encode())) for k, v in entries.items())
        graph += _field(5, bytes([8, length // 4, 16, 1]) + _field(8, b"w%d" % number) + pairs + b"\x70\x01")
    return b"\x08\x08" + _field(7, graph) + _field(8, b"\x10\x11")


@pytest.mark.parametrize(
    ("extents", "verdict"),
    [([(0, 16), (32, 32)], "pass"), ([(0, 16)], "review"), ([(0, 64)], "pass"), ([(0, 16), (60, 32)], "block")],
)
def test_data_beside_an_onnx_model(tmp_path, extents, verdict):
    numbers = bytearray(numpy.arange(1, 17, dtype="<f4").tobytes())
    if len(extents) == 2:
        numbers[16:32] = bytes(16)
    (tmp_path / "model.onnx").write_bytes(_onnx(*extents))
    (tmp_path / "w.data").write_bytes(struct.pack("<4f", 9, 8, 7, 6) + numbers[16:])
    assert str(scan(tmp_path).verdict) == verdict
