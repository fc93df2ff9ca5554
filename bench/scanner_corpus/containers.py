"""Payloads in containers: archives, streams, arrays and checkpoints, honest ones and those that deceive."""

# ruff: noqa: E501  tables of names and texts, one a line

import base64
import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

from scanner_corpus.pickles import PAYLOADS, string
from scanner_corpus.sample import Sample, malicious

__all__ = ["samples", "tar_of", "zip_of"]

EVIL = PAYLOADS["system"]


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def tar_of(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def lz4_frame(content: bytes, *, literal: bool = True) -> bytes:
    """One frame without checksums: the block stored, or as one run of literals."""
    header = b"\x04\x22\x4d\x18\x60\x40\x82"
    if not literal:
        return header + struct.pack("<I", len(content) | 1 << 31) + content + bytes(4)
    length, token = len(content), b""
    if length >= 15:
        rest, token = length - 15, b"\xf0"
        token += b"\xff" * (rest // 255) + bytes([rest % 255])
    else:
        token = bytes([length << 4])
    block = token + content
    return header + struct.pack("<I", len(block)) + block + bytes(4)


def npy(descriptor: str, shape: str, body: bytes, version: int = 1) -> bytes:
    header = f"{{'descr': {descriptor}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + b"\n" + body


def torch_zip(payload: bytes, root: str = "archive", method: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    members = {f"{root}/data.pkl": payload, f"{root}/version": b"3\n", f"{root}/data/0": bytes(16)}
    return zip_of({**members, **{f"{root}/{name}": content for name, content in more.items()}}, method)


def torch_legacy(payload: bytes) -> bytes:
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    return magic + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + payload + pickle.dumps([], 2)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip with a name": lambda b: b"\x1f\x8b\x08\x08\0\0\0\0\0\x03model.pkl\0" + gzip.compress(b)[10:],
    "zlib": zlib.compress,
    "zlib 0": lambda b: zlib.compress(b, 0),
    "zlib 9": lambda b: zlib.compress(b, 9),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda b: lzma.compress(b, lzma.FORMAT_ALONE),
    "lz4": lz4_frame,
    "lz4 stored": lambda b: lz4_frame(b, literal=False),
    "zip": lambda b: zip_of({"m/model.pkl": b}),
    "deflated zip": lambda b: zip_of({"model.txt": b}, zipfile.ZIP_DEFLATED),
    "bzip2 zip": lambda b: zip_of({"a": b}, zipfile.ZIP_BZIP2),
    "lzma zip": lambda b: zip_of({"a": b}, zipfile.ZIP_LZMA),
    "tar": lambda b: tar_of({"x/y.bin": b}),
    "tar.gz": lambda b: tar_of({"data": b}, "w:gz"),
    "tar.bz2": lambda b: tar_of({"data": b}, "w:bz2"),
    "tar.xz": lambda b: tar_of({"data": b}, "w:xz"),
    "base64": base64.b64encode,
    "base64 lines": base64.encodebytes,
    "base64 for addresses": base64.urlsafe_b64encode,
    "hexadecimal": lambda b: b.hex().encode(),
    "pickle of bytes": lambda b: pickle.dumps({"weights": b}),
    "pickle of packed bytes": lambda b: pickle.dumps({"weights": zlib.compress(b)}),
    "pickle of gzip": lambda b: pickle.dumps([gzip.compress(b)]),
    "pickle of base64": lambda b: pickle.dumps({"weights": base64.b64encode(b).decode()}),
    "pickle of base64 bytes": lambda b: pickle.dumps([base64.b64encode(b)]),
    "pickle of hexadecimal": lambda b: pickle.dumps({"weights": b.hex()}),
    "pickle 0 of bytes": lambda b: pickle.dumps({"weights": b}, 0),
    "array of objects": lambda b: npy("'|O'", "(1,)", b),
    "array of objects, version 2": lambda b: npy("'|O'", "(2, 2)", b, 2),
    "array of records": lambda b: npy("[('a', '<f4'), ('b', '|O')]", "(1,)", b),
    "array of bytes": lambda b: npy("'|u1'", f"({len(b)},)", b),
    "npz": lambda b: zip_of({"arr_0.npy": npy("'|O'", "(1,)", b)}),
    "deflated npz": lambda b: zip_of({"w.npy": npy("'|O'", "()", b)}, zipfile.ZIP_DEFLATED),
    "torch zip": torch_zip,
    "torch zip, other root": lambda b: torch_zip(b, "model_best"),
    "torch zip, deflated": lambda b: torch_zip(b, "a", zipfile.ZIP_DEFLATED),
    "torch zip, constants": lambda b: torch_zip(pickle.dumps({}, 2), **{"constants.pkl": b}),
    "torch zip, second pickle": lambda b: torch_zip(pickle.dumps({}, 2), **{"extra/hook": b}),
    "torch legacy": torch_legacy,
    "torch tar": lambda b: tar_of({"pickle": b, "storages": pickle.dumps(0, 2), "tensors": pickle.dumps(0, 2)}),
    "torch tar, storages": lambda b: tar_of({"pickle": pickle.dumps({}, 2), "storages": b, "tensors": pickle.dumps(0, 2)}),
    "after random weights": lambda b: bytes(i * 37 & 255 for i in range(4096)) + b,
    "after a pickle": lambda b: pickle.dumps([1.0] * 50) + b,
    "after many pickles": lambda b: pickle.dumps(1) * 40 + b,
    "after zeros": lambda b: bytes(8192) + b,
    "after a picture": lambda b: b"\x89PNG\r\n\x1a\n" + bytes(40) + b,
    "after text": lambda b: b"# a model card\n" * 20 + b,
}  # fmt: skip
_DECEPTIVE_NAMES = ("model.pkl", "model.safetensors", "model.onnx", "config.json", "README.md", "weights.h5", "a.gguf", "model.tflite", "notes.txt", "x.npy", "logo.png", "model.keras", "m.pt", "tokenizer.model", "noext")  # fmt: skip


def samples() -> Iterator[Sample]:
    number = 0
    for name, pack in PACKERS.items():
        for kind, payload in PAYLOADS.items():
            number += 1
            if name == "array of bytes" and kind not in ("system", "popen"):
                continue
            yield malicious("containers: one deep", f"{name} of {kind}", pack(payload), _DECEPTIVE_NAMES[number % 15])
    outer = ("gzip", "zip", "tar", "xz", "bzip2", "tar.gz", "deflated zip", "lz4", "pickle of bytes", "zlib")
    inner = ("gzip", "zip", "tar.xz", "torch zip", "npz", "torch legacy", "lz4", "base64 lines", "array of objects", "zlib")  # fmt: skip
    for first in outer:
        for second in inner:
            content = PACKERS[first](PACKERS[second](PAYLOADS["old"]))
            yield malicious("containers: nested", f"{second} in {first}", content, "model.bin")
    deep = EVIL
    for name in ("gzip", "zip", "tar", "xz", "bzip2"):
        deep = PACKERS[name](deep)
    yield malicious("containers: nested", "five deep", deep)
    for extension in _DECEPTIVE_NAMES:
        yield malicious("pickle: misnamed", extension, PAYLOADS["popen"], extension)
        yield malicious("pickle: misnamed", f"old {extension}", PAYLOADS["old"], f"w.{extension}")
    yield from _joblib()
    yield from _zip_tricks()
    yield from _tar_tricks()


def _joblib() -> Iterator[Sample]:
    for name in ("gzip", "zlib", "bzip2", "xz", "lzma", "lz4", "lz4 stored"):
        for kind in ("system", "eval", "torch", "runpy"):
            yield malicious("joblib", f"{name} {kind}", PACKERS[name](PAYLOADS[kind]), "model.joblib")
    named = string("joblib.numpy_pickle") + string("NumpyArrayWrapper") + b"\x93)\x81}("
    fields = named + string("subclass") + string("numpy") + string("ndarray") + b"\x93" + string("shape") + b"K\x01\x85"
    fields += string("order") + string("C") + string("dtype") + string("numpy") + string("dtype") + b"\x93"
    for dtype in ("O", "O8", "|O"):
        body = b"\x80\x04" + fields + string(dtype) + b"\x85R" + string("allow_mmap") + b"\x89ub" + EVIL + b"."
        yield malicious("joblib", f"an array of {dtype}", body, "model.joblib")
        yield malicious("joblib", f"a packed array of {dtype}", zlib.compress(body), "model.joblib")


def _entry(name: bytes, content: bytes, *, local: bytes | None = None, flags: int = 0, crc: int | None = None,
           method: int = 0, at: int = 0, size: int | None = None, attributes: int = 0) -> tuple[bytes, bytes]:  # fmt: skip
    check = zlib.crc32(content) if crc is None else crc
    size = len(content) if size is None else size
    shown = name if local is None else local
    head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flags, method, 0, 33, check, size, size, len(shown), 0)
    central = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0x314, 20, flags, method, 0, 33, check, size, size, len(name), 0, 0, 0, 0, attributes, at)  # fmt: skip
    return head + shown + content, central + name


def _archive(*entries: tuple[bytes, bytes], before: bytes = b"", between: bytes = b"", after: bytes = b"") -> bytes:
    local = before + b"".join(entry[0] for entry in entries) + between
    central = b"".join(entry[1] for entry in entries)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(entries), len(entries), len(central), len(local), 0)
    return local + central + end + after


def _zip_tricks() -> Iterator[Sample]:
    good = pickle.dumps({"a": 1}, 2)
    data = b"archive/data.pkl"
    first = _entry(data, good)
    tricks = {
        "another name in the local header": _archive(_entry(b"archive/readme", EVIL, local=data)),
        "another name in the directory": _archive(_entry(data, EVIL, local=b"archive/readme")),
        "a bad checksum": _archive(_entry(data, EVIL, crc=1)),
        "a bad checksum of good": _archive(_entry(data, good, crc=1)),
        "flagged as encrypted": _archive(_entry(data, EVIL, flags=1)),
        "flagged as strongly encrypted": _archive(_entry(data, EVIL, flags=0x41)),
        "flagged as patched": _archive(_entry(data, EVIL, flags=0x20)),
        "masked header": _archive(_entry(data, EVIL, flags=0x2000)),
        "two of one name": _archive(first, _entry(data, EVIL, at=len(first[0]))),
        "two of one name, bad first": _archive(_entry(data, EVIL), _entry(data, good, at=len(_entry(data, EVIL)[0]))),
        "names that differ by case": _archive(first, _entry(b"archive/DATA.pkl", EVIL, at=len(first[0]))),
        "a member that the directory hides": _archive(first, between=_entry(b"archive/x.pkl", EVIL)[0]),
        "before the archive": _archive(_entry(data, good, at=len(EVIL)), before=EVIL),
        "after the archive": _archive(first, after=EVIL),
        "two archives": zip_of({"archive/data.pkl": EVIL}) + zip_of({"archive/data.pkl": good}),
        "two archives, bad last": zip_of({"archive/data.pkl": good}) + zip_of({"archive/data.pkl": EVIL}),
        "a size that lies": _archive(_entry(data, EVIL, size=4)),
        "stored as deflated": _archive(_entry(data, EVIL, method=8)),
        "a method of no reader": _archive(_entry(data, EVIL, method=99)),
        "a name with a zero": _archive(_entry(b"archive/data.pkl\0.txt", EVIL)),
        "a folder with content": _archive(_entry(b"archive/data.pkl/", EVIL)),
        "a comment": zip_of({"archive/data.pkl": good})[:-2] + struct.pack("<H", len(EVIL)) + EVIL,
        "overlapping": _archive(first, (b"", _entry(b"archive/other", good)[1])),
        "a link": _archive(_entry(b"archive/data", b"/etc/passwd", attributes=0o120777 << 16)),
        "a link inside": _archive(_entry(b"archive/data", b"../../x", attributes=0o120777 << 16)),
        "far above": _archive(_entry(b"../../../../etc/cron.d/x", b"x")),
        "absolute": _archive(_entry(b"/etc/cron.d/x", b"x")),
        "a drive": _archive(_entry(b"C:\\Windows\\x", b"x")),
        "backslashes": _archive(_entry(b"..\\..\\x", b"x")),
        "hidden above": _archive(_entry(b"archive/../../x", b"x")),
    }  # fmt: skip
    for name, content in tricks.items():
        for file in ("model.pt", "model.npz", "weights"):
            yield malicious("zip tricks", f"{name} {file}", content, file)
    for size, depth in ((24 << 20, 1), (80 << 20, 1), (40 << 20, 2)):
        bomb = bytes(size)
        for _ in range(depth):
            bomb = zip_of({"0": bomb}, zipfile.ZIP_DEFLATED)
        yield malicious("bombs", f"zip of {size >> 20} MiB, {depth} deep", bomb, "model.pt")
    for name, pack in (
        ("gzip", gzip.compress),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("zlib", zlib.compress),
    ):
        yield malicious("bombs", name, pack(bytes(90 << 20)), "model.joblib")
    one = zip_of({"0": bytes(30 << 20)}, zipfile.ZIP_DEFLATED)
    yield malicious("bombs", "many in one", zip_of({str(i): one for i in range(20)}), "m.zip")
    yield malicious("bombs", "tar.gz", tar_of({"x": bytes(64 << 20)}, "w:gz"), "m.tar.gz")


def _tar_tricks() -> Iterator[Sample]:
    def tar(kind: bytes, name: str, link: str = "", content: bytes = b"") -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, link, len(content)
            archive.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    tricks = {
        "a link above": tar(tarfile.SYMTYPE, "weights", "../../etc/passwd"),
        "a link to a root": tar(tarfile.SYMTYPE, "weights", "/etc/passwd"),
        "a hard link": tar(tarfile.LNKTYPE, "weights", "/etc/shadow"),
        "a device": tar(tarfile.CHRTYPE, "weights"),
        "a pipe": tar(tarfile.FIFOTYPE, "weights"),
        "above": tar(tarfile.REGTYPE, "../../.bashrc", content=b"x"),
        "absolute": tar(tarfile.REGTYPE, "/etc/cron.d/x", content=b"x"),
        "after the end": tar_of({"a": b"1"}) + EVIL,
        "a program": tar_of({"lib.so": b"\x7fELF\x02\x01\x01" + bytes(60)}),
    }
    for name, content in tricks.items():
        for pack in ("", "gzip", "xz"):
            packed = PACKERS[pack](content) if pack else content
            yield malicious("tar tricks", f"{name} {pack}", packed, "model.tar")
