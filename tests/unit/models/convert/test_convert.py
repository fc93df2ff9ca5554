"""Conversions: the same bits under a name that holds no code, tied to the source, and nothing at all when refused."""

import hashlib
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from vallum.kernel.errors import Conflict, IntegrityError, Invalid
from vallum.models.convert import convert
from vallum.models.convert.safetensors_file import verify_safetensors, write_safetensors
from vallum.models.convert.torch_state import read_state
from vallum.models.scan import Verdict, scan

_BENIGN = Path(__file__).parents[1] / "scan" / "benign"
_SCANNED = Path(__file__).parents[1] / "scan" / "corpus" / "benign_pickles.zip"


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def tensor(
    key: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, kind: str = "FloatStorage"
) -> bytes:
    numbers = [b"(" + b"".join(b"J" + struct.pack("<i", n) for n in values) + b"t" for values in (shape, strides)]
    storage = b"(" + short("storage") + b"ctorch\n" + kind.encode() + b"\n" + short(key) + short("cpu") + b"K\x10tQ"
    given = (
        storage
        + b"J"
        + struct.pack("<i", offset)
        + numbers[0]
        + numbers[1]
        + b"\x89"
        + b"ccollections\nOrderedDict\n)R"
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + given + b"tR"


def state(*items: tuple[str, bytes], storages: dict[str, bytes] | None = None) -> bytes:
    """What torch.save writes, by hand."""
    body = b"\x80\x02}(" + b"".join(b"X" + struct.pack("<I", len(n)) + n.encode() + v for n, v in items) + b"u."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        archive.writestr("archive/byteorder", b"little")
        for key, content in (storages or {"0": struct.pack("<6f", *range(6))}).items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def tensors_of(file: Path) -> dict[str, tuple[str, list[int], bytes]]:
    data = file.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    return {
        name: (entry["dtype"], entry["shape"], data[8 + length :][slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def test_views_are_written_in_the_order_of_their_indices(tmp_path: Path) -> None:
    source, out = tmp_path / "a.pt", tmp_path / "a.safetensors"
    source.write_bytes(
        state(
            ("rows", tensor("0", (2, 3), (3, 1))), ("columns", tensor("0", (3, 2), (1, 3))),
            ("every other", tensor("0", (3,), (2,), 1)), ("same", tensor("0", (2, 2), (0, 1))), ("epoch", b"K\x03"),
            ("nested", b"}X\x01\x00\x00\x00w" + tensor("0", (), (), 5) + b"s"),
        )
    )  # fmt: skip
    done = convert(source, out)
    found = {
        name: (kind, shape, struct.unpack(f"<{len(raw) // 4}f", raw))
        for name, (kind, shape, raw) in tensors_of(out).items()
    }
    assert found == {
        "rows": ("F32", [2, 3], (0, 1, 2, 3, 4, 5)), "columns": ("F32", [3, 2], (0, 3, 1, 4, 2, 5)),
        "every other": ("F32", [3], (1, 3, 5)), "same": ("F32", [2, 2], (0, 1, 0, 1)), "nested.w": ("F32", [], (5,)),
    }  # fmt: skip
    assert (done.tensors, done.left_out, done.verified) == (5, ("epoch",), "bit-equal tensors")
    assert scan(out).verdict is Verdict.PASS


def test_the_record_ties_source_and_result(tmp_path: Path) -> None:
    source, out = tmp_path / "a.pt", tmp_path / "a.safetensors"
    source.write_bytes((_BENIGN / "state_dict.pt").read_bytes())
    done = convert(source, out)
    record = json.loads((tmp_path / "a.safetensors.conversion.json").read_text())
    assert record["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest() == done.source_sha256
    assert record["destination_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert done.source_sha256.encode() in out.read_bytes()[:4096]
    assert "limits" in done.sandbox
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.pt",
        "a.safetensors",
        "a.safetensors.conversion.json",
    ]


def test_the_format_of_before_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(_SCANNED) as kept:
        (tmp_path / "old.pt").write_bytes(kept.read("state-legacy.pt"))
    assert convert(tmp_path / "old.pt", tmp_path / "old.safetensors").tensors > 0
    assert scan(tmp_path / "old.safetensors").verdict is Verdict.PASS


_SYSTEM = b"cposix\nsystem\n(S'touch PLACE'\ntR"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a blocked pickle", _SYSTEM + b"."),
        ("a blocked state dict", state(("w", tensor("0", (6,), (1,))), ("x", _SYSTEM))),
        ("an object", pickle.dumps([1, 2])),
        ("a module", state(("w", b"ctorch.nn.modules.linear\nLinear\n)R"))),
        ("no tensors", state(("epoch", b"K\x01"))),
        ("a view past the end", state(("w", tensor("0", (7,), (1,))))),
        ("a view that starts past the end", state(("w", tensor("0", (1,), (1,), 6)))),
        ("a missing storage", state(("w", tensor("9", (1,), (1,))))),
        ("views that repeat", state(("w", tensor("0", (1 << 20, 1 << 10), (0, 0))))),
        ("other strides", state(("w", tensor("0", (2, 3), (1,))))),
        ("noise", b"\x93\x11" * 400),
        ("nothing", b""),
    ],
)
def test_what_is_refused_leaves_nothing_behind(tmp_path: Path, name: str, content: bytes) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(content.replace(b"PLACE", b"/tmp/x"))
    with pytest.raises(Invalid):
        convert(source, tmp_path / "out.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("content", [_SYSTEM + b".", state(("w", tensor("0", (6,), (1,)))), b""])
def test_what_is_no_model_of_scikit_learn_is_refused(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("skops.io")
    (tmp_path / "m.pkl").write_bytes(content)
    with pytest.raises(Invalid):
        convert(tmp_path / "m.pkl", tmp_path / "m.skops")
    assert [file.name for file in tmp_path.iterdir()] == ["m.pkl"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(state(("w", tensor("0", (6,), (1,)))))
    for taken in ("out.safetensors", "out.safetensors.conversion.json"):
        (tmp_path / taken).write_bytes(b"mine")
        with pytest.raises(Conflict):
            convert(tmp_path / "a.pt", tmp_path / "out.safetensors")
        assert (tmp_path / taken).read_bytes() == b"mine"
        (tmp_path / taken).unlink()


def test_another_kind_of_destination_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="safetensors"):
        convert(tmp_path / "a.pt", tmp_path / "a.pkl")


def test_a_bit_that_differs_is_found(tmp_path: Path) -> None:
    kept = read_state(io.BytesIO(state(("a", tensor("0", (3,), (1,))), ("b", tensor("0", (3,), (1,), 3)))))
    out = tmp_path / "x.safetensors"
    write_safetensors(kept, out, {"format": "pt"})
    assert verify_safetensors(kept, out) == 2
    good = out.read_bytes()
    for at in (len(good) - 1, len(good) - 24):
        out.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(IntegrityError):
            verify_safetensors(kept, out)
    out.write_bytes(good.replace(b'"F32"', b'"I32"', 1))
    with pytest.raises(IntegrityError):
        verify_safetensors(kept, out)


@pytest.mark.filterwarnings("ignore")
def test_what_torch_reads_is_what_safetensors_reads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    w = torch.randn(20, 30)
    things = {
        "w": w, "t": w.T, "v": w[3:7, ::2], "half": w.half(), "brain": w.bfloat16(), "eight": w.to(torch.float8_e4m3fn),
        "scalar": torch.tensor(3), "empty": torch.zeros(0, 3), "mask": w > 0, "parameter": torch.nn.Parameter(w),
    }  # fmt: skip
    for zipped in (True, False):
        source, out = tmp_path / f"{zipped}.pt", tmp_path / f"{zipped}.safetensors"
        kept = things if zipped else {k: v for k, v in things.items() if k != "eight"}
        torch.save(kept, source, _use_new_zipfile_serialization=zipped)
        convert(source, out)
        got = load_file(out)
        assert set(got) == set(kept)
        for name, value in kept.items():
            bits = [bytes(t.detach().contiguous().reshape(-1).view(torch.uint8).numpy()) for t in (value, got[name])]
            assert bits[0] == bits[1]
            assert (value.dtype, value.shape) == (got[name].dtype, got[name].shape)


@pytest.mark.filterwarnings("ignore")
def test_a_scikit_learn_model_becomes_skops(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn.ensemble import RandomForestClassifier

    x, y = datasets.load_iris(return_X_y=True)
    model = RandomForestClassifier(3, random_state=0).fit(x, y)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(model))
    done = convert(tmp_path / "m.pkl", tmp_path / "m.skops")
    again = skops.load(tmp_path / "m.skops", trusted=list(done.untrusted_types))
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert scan(tmp_path / "m.skops").verdict is not Verdict.BLOCK
