"""Reads a stream of pickles, joblib's raw arrays within it, and what is hidden after or inside it."""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.judge import Judge
from vallum.models.scan.pickles.machine import Broken, Machine
from vallum.models.scan.pickles.values import Global, Made, Span
from vallum.models.scan.port import Blob, Scan

__all__ = ["Probe", "find_hidden", "item_size", "probe", "read_one", "read_stream"]

_MAX_STACKED = 10_000
_PROBED_BYTES = 1 << 18  # a payload is short; a benign pickle that is longer needs no guess at its start
_MAX_CANDIDATES = 20_000
_MAX_NESTED = 100
_MAX_FORKED = 5_000_000  # entries of stack and memo that are copied for second readings
_MAX_INFLATED = 16 << 20
_COPIED = 64 << 20  # bytes are read a third faster than a mapping is; larger inputs are not copied
_WINDOW = 1 << 20
_TOKENS = (b"__import__", b"os.", b"subprocess", b"pty.spawn", b"eval(", b"exec(", b"import socket")

_CANDIDATE = re.compile(rb"\x80[\x02-\x05](?:\x95.{6}\x00\x00|[c(\x8cX}\]\x8f\x8eBCKJM)NIS\x88\x89V])", re.DOTALL)
_OLD_CANDIDATE = re.compile(
    rb"[(]*c(?:os|posix|nt|subprocess|builtins|__builtin__|sys|shutil|importlib|runpy|socket|pty|commands|webbrowser)"
    rb"\n[\w.]{2,60}\n"
)
_SOURCE = re.compile(
    rb"__import__\s{0,3}\(|\bos\.(?:system|popen|exec[lv]p?e?)\s{0,3}\(|\bsubprocess\.(?:run|call|Popen|check_\w+)\s{0,3}\("
    rb"|\bpty\.spawn\("
    rb"|\beval\(compile\(|\bexec\((?:base64|zlib|marshal|compile|__import__)|\bimport (?:socket|subprocess)\b"
)
_NESTED = (b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x7fELF", b"MZ\x90\x00", b"\x93NUMPY")


class Probe:
    """What a look at a possible pickle shows, without a report."""

    __slots__ = ("blocks", "calls", "capable", "complete", "end")

    def __init__(self, end: int, complete: bool, judge: Judge) -> None:
        self.end, self.complete = end, complete
        self.calls, self.blocks, self.capable = judge.calls, judge.blocks, judge.capable


def _silent(verdict: Verdict, technique: str, position: int, explanation: str) -> None:
    del verdict, technique, position, explanation


def probe(data: bytes | memoryview, start: int = 0, size: int = _PROBED_BYTES) -> Probe:
    """`end` is relative to the start of `data`. Never raises."""
    judge = Judge(_silent)
    machine = Machine(memoryview(data)[start : start + size], judge)
    try:
        end, complete = machine.run(), True
    except Broken as e:
        end, complete = e.position, False
    return Probe(start + end, complete, judge)


def find_hidden(data: memoryview, start: int = 0) -> Iterator[int]:
    """Offsets of pickles that would run something. What only looks like the start of one is not named."""
    for pattern in (_CANDIDATE, _OLD_CANDIDATE):
        until = start
        for tried, match in enumerate(pattern.finditer(data, start)):
            if tried > _MAX_CANDIDATES:
                break
            if match.start() < until:
                continue
            found = probe(data, match.start())
            if found.blocks and found.calls:
                yield match.start()
                until = found.end


def item_size(descriptor: Any) -> int | None:
    """Bytes of one element of a numpy dtype string. None: not known. -1: Python objects."""
    if not isinstance(descriptor, str):
        return None
    match = re.fullmatch(r"[<>|=]?([biufcSaUVmMO?])(\d{0,9})(?:\[\d*\w+\])?", descriptor)
    if not match:
        return {"bool": 1, "float": 8, "int": 8}.get(descriptor)
    kind, size = match[1], int(match[2] or 0)
    if kind == "O":
        return -1
    if kind == "?":
        return 1
    return size * 4 if kind == "U" else size


class _Stream:
    """One pickle of a blob, with what lies in its stream besides opcodes."""

    def __init__(self, blob: Blob, scan: Scan, start: int, data: bytes | memoryview) -> None:
        self.blob = blob
        self.scan = scan
        self.data = data
        self.judge = Judge(self.report, self._array)
        self.machine = Machine(self.data, self.judge, start)
        self._forked = 0

    def report(self, verdict: Verdict, technique: str, position: int, explanation: str) -> None:
        self.scan.report(verdict, technique, f"{self.blob.place}@{position}", explanation)

    def _array(self, wrapper: Made, after: int) -> int:
        """joblib reads the elements right here; `pickle.load` would take the same bytes for opcodes: both are read."""
        state = wrapper.state
        size = _elements(state["shape"])
        item = _dtype_size(state["dtype"])
        if size is None or item is None:
            raise Broken(after, "an array whose length is not known")
        self._second_reading(after)
        if item == -1:
            nested = Machine(self.data, self.judge, after)
            return nested.run()
        if isinstance(state.get("numpy_array_alignment_bytes"), int) and after < len(self.data):
            after += 1 + self.data[after]
        end = after + size * item
        if end > len(self.data):
            self.report(Verdict.REVIEW, "size-lie", after, "an array that is longer than the file")
            raise Broken(after, "truncated in an array")
        return end

    def _second_reading(self, position: int) -> None:
        if self._forked > _MAX_FORKED:
            return
        judge = Judge(_silent)
        other = self.machine.fork(position, judge)
        self._forked += other.size
        with suppress(Broken):
            other.run()
        # By chance the elements may name what is unknown: `pickle.load` numbers its memo otherwise than joblib does.
        if judge.capable and judge.calls:
            self.report(
                Verdict.BLOCK,
                "pickle-dangerous-global",
                position,
                "elements of an array that are opcodes to pickle.load",
            )


def _elements(shape: Any) -> int | None:
    if not isinstance(shape, tuple) or len(shape) > 64:
        return None
    count = 1
    for length in shape:
        if not isinstance(length, int) or length < 0 or count > 1 << 48:
            return None
        count *= length
    return count


def _dtype_size(dtype: Any) -> int | None:
    if not isinstance(dtype, Made) or not isinstance(dtype.callee, Global) or not isinstance(dtype.arguments, tuple):
        return None
    name = dtype.arguments[0] if dtype.arguments else None
    state = dtype.state
    if isinstance(state, tuple) and len(state) >= 6 and isinstance(state[5], int) and state[5] > 0:
        flags = state[7] if len(state) > 7 and isinstance(state[7], int) else 0
        return -1 if flags & 1 else state[5]  # NPY_ITEM_HASOBJECT
    return item_size(name)


def read_one(blob: Blob, scan: Scan, start: int, data: bytes | memoryview | None = None) -> tuple[int | None, Machine]:
    """One pickle from `start`. The offset after it, or None when it broke, which has been reported.

    `data` is the same as `blob.data`, in a form that is faster to read.
    """
    stream = _Stream(blob, scan, start, blob.data if data is None else data)
    end: int | None = None
    try:
        end = stream.machine.run()
    except Broken as e:
        stream.report(Verdict.REVIEW, "pickle-malformed", e.position, e.reason)
        for hidden in find_hidden(blob.data, e.position):
            stream.report(Verdict.BLOCK, "hidden-payload", hidden, "a pickle that runs code, after one that breaks off")
            break
    stream.judge.finish()
    _look_into_strings(stream)
    return end, stream.machine


def _look_into_strings(stream: _Stream) -> None:
    data, looked = memoryview(stream.data), 0
    for given in stream.judge.nested[:_MAX_NESTED]:
        nested = data[given.start : given.end] if isinstance(given, Span) else memoryview(given)
        stream.scan.descend(stream.blob, "storage", nested)
    loaded = {given.start for given in stream.judge.nested if isinstance(given, Span)}
    for start, end in stream.machine.strings:
        if start in loaded or looked >= _MAX_NESTED:
            continue
        head = bytes(data[start : start + 8])
        if head.startswith(_NESTED):
            looked += 1
            stream.scan.descend(stream.blob, f"bytes@{start}", data[start:end])
        elif head[:1] == b"\x80" and 2 <= head[1] <= 5 and (shown := probe(data[:end], start)) and shown.calls:
            looked += 1
            if shown.complete or shown.blocks:
                stream.scan.descend(stream.blob, f"bytes@{start}", data[start:end])
        elif head[:1] == b"\x78" and head[1] in (0x01, 0x5E, 0x9C, 0xDA):
            looked += 1
            _inflate(stream, data[start:end], start)


def _inflate(stream: _Stream, packed: memoryview, start: int) -> None:
    try:
        unpacked = zlib.decompressobj().decompress(packed, 1 << 12)
        if not (_SOURCE.search(unpacked) or probe(unpacked).calls) or not stream.scan.may_unpack(_MAX_INFLATED):
            return
        unpacked = zlib.decompressobj().decompress(packed, _MAX_INFLATED)
    except zlib.error:
        return
    stream.scan.descend(stream.blob, f"zlib@{start}", unpacked)


def _find_source(data: memoryview) -> int | None:
    """Where code begins that names what it runs. Plain searches first: the pattern alone takes a second for 10 MB."""
    for start in range(0, len(data), _WINDOW):
        window = bytes(data[start : start + _WINDOW + 256])
        if any(token in window for token in _TOKENS) and (found := _SOURCE.search(window)):
            return start + found.start()
    return None


def read_stream(blob: Blob, scan: Scan, start: int = 0) -> None:
    """Every pickle from `start`, one after another, and what comes after the last."""
    position, size = start, len(blob)
    data: bytes | memoryview = bytes(blob.data) if size <= _COPIED else blob.data
    source = _find_source(blob.data)
    if source is not None:
        scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{source}", "Python source that runs or fetches")
    for _ in range(_MAX_STACKED):
        end, _machine = read_one(blob, scan, position, data)
        if end is None:
            return
        position = end
        if position >= size or (size - position <= 2 and not bytes(blob.data[position:]).strip()):
            return
        if bytes(blob.data[position : position + 1]) != b"\x80":
            seen = probe(blob.data, position)
            if not (seen.complete or seen.calls):
                break
    else:
        scan.report(Verdict.REVIEW, "limit", f"{blob.place}@{position}", f"more than {_MAX_STACKED} pickles")
        return
    scan.report(
        Verdict.REVIEW, "hidden-payload", f"{blob.place}@{position}", f"{size - position} bytes after the last pickle"
    )
    for hidden in find_hidden(blob.data, position):
        scan.report(Verdict.BLOCK, "hidden-payload", f"{blob.place}@{hidden}", "a pickle that runs code, after the end")
        break
