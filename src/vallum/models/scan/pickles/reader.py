"""Reads a stream of pickles, joblib's raw arrays within it, and what is hidden after or inside it."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.carried import SOURCE, Carried
from vallum.models.scan.pickles.chance import HEADER_BITS, OLD_HEADER_BITS, is_meant
from vallum.models.scan.pickles.judge import MAX_ENCODED, Judge
from vallum.models.scan.pickles.machine import Broken, Budget, Exhausted, Machine
from vallum.models.scan.pickles.probing import probe, silent
from vallum.models.scan.pickles.starts import CANDIDATE, OLD_CANDIDATE, starts_meanwhile, starts_of
from vallum.models.scan.pickles.unread import find_capable_name
from vallum.models.scan.pickles.values import Global, Made, Span
from vallum.models.scan.port import Blob, Scan, Starts

__all__ = ["find_hidden", "hidden_budget", "item_size", "read_one", "read_stream"]

_MAX_STACKED = 10_000
_SURE_STEPS = 900_000  # a second, of an ordinary machine
_MAX_CANDIDATES, _CANDIDATES_PER_BYTE = 20_000, 1 / 65_536  # random bytes have one in 250,000
_MAX_NESTED = 100
_MARK = ord("(")
_MAX_MARKS = 4096
_CANDIDATE_STEPS = 40  # what beginning a probe costs, in opcodes
_MAX_FORKED = 5_000_000  # entries of stack and memo that are copied for second readings
_COPIED = 64 << 20  # bytes are read a third faster than a mapping is; larger inputs are not copied
_WINDOW = 1 << 20
_TOKENS = (b"__import__", b"os.", b"subprocess", b"pty.spawn", b"eval(", b"exec(", b"import socket")


def hidden_budget(size: int, go_on: Callable[[], bool] = lambda: True) -> Budget:
    """What a search in that many bytes may cost: candidates are many in a hostile file, and few in weights."""
    return Budget(100_000 + size // 32, go_on)


def find_hidden(data: memoryview, start: int, budget: Budget, known: Starts | None = None) -> Iterator[int]:
    """Offsets of pickles that would run something. What random bytes may look like is not named.

    Ends early when the budget does, which whoever asks can see in its `steps`. `known` is where to look, of `data` from
    its first byte on; without it that is searched for.
    """
    most = _MAX_CANDIDATES + (len(data) - start) * _CANDIDATES_PER_BYTE
    new: Callable[[], Iterable[int]]
    old: Callable[[], Iterable[int]]
    if known is None:
        old = starts_meanwhile(OLD_CANDIDATE, data, start, int(most) + 2)
        new = partial(starts_of, CANDIDATE, data, start)
    else:
        new, old = partial(iter, known.new), partial(iter, known.old)
    for starts, header in ((new, HEADER_BITS), (old, OLD_HEADER_BITS)):
        until = start
        for tried, candidate in enumerate(starts()):
            if tried > most:
                budget.steps = 0
            if budget.steps <= 0:
                return
            at = _marks_before(data, candidate, start)
            if at < until:
                continue
            found = probe(data, at, budget=budget)
            budget.steps -= _CANDIDATE_STEPS
            meant = is_meant(header, found.opcodes, found.name_bits, found.complete)
            if found.blocks and found.calls and meant:
                yield at
                until = found.end


def _marks_before(data: memoryview, at: int, start: int) -> int:
    """Where the marks that a protocol-0 pickle begins with begin. Not part of the pattern, which is searched for by its
    first letter thirty times faster than by a class of them."""
    least = max(start, at - _MAX_MARKS)
    while at > least and data[at - 1] == _MARK:
        at -= 1
    return at


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
        self.judge = Judge(self.report, self._array, data)
        self.budget = Budget(go_on=scan.may_go_on, sure=_SURE_STEPS)
        self.machine = Machine(self.data, self.judge, start, self.budget)
        self._forked = 0
        self._limited = False
        self._second = hidden_budget(len(blob), scan.may_go_on)

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
            nested = Machine(self.data, self.judge, after, self.budget)
            return nested.run()
        if isinstance(state.get("numpy_array_alignment_bytes"), int) and after < len(self.data):
            after += 1 + self.data[after]
        end = after + size * item
        if end > len(self.data):
            self.report(Verdict.REVIEW, "size-lie", after, "an array that is longer than the file")
            raise Broken(after, "truncated in an array")
        return end

    def _second_reading(self, position: int) -> None:
        if self._forked > _MAX_FORKED or self._second.steps <= 0:
            if not self._limited:
                self._limited = True
                self.report(Verdict.REVIEW, "limit", position, "more arrays than are read both ways")
            return
        judge = Judge(silent, data=self.data)
        other = self.machine.fork(position, judge, self._second)
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
    except Exhausted as e:
        stream.report(Verdict.REVIEW, "limit", e.position, "the rest of it was not read: it takes too long")
        if (named := find_capable_name(stream.blob, e.position)) is not None:
            at, name = named
            stream.report(Verdict.BLOCK, "pickle-dangerous-global", at, f"{name[:120]}: in what was not read")
        else:
            _report_hidden(stream.blob, scan, e.position, "a pickle that runs code, in what was not read")
    except Broken as e:
        stream.report(Verdict.REVIEW, "pickle-malformed", e.position, e.reason)
        _report_hidden(stream.blob, scan, e.position, "a pickle that runs code, after one that breaks off")
    stream.judge.finish()
    _look_into_strings(stream)
    return end, stream.machine


def _report_hidden(blob: Blob, scan: Scan, position: int, what: str) -> None:
    budget = hidden_budget(len(blob) - position)
    hidden = next(find_hidden(blob.data, position, budget), None)
    if hidden is not None:
        scan.report(Verdict.BLOCK, "hidden-payload", f"{blob.place}@{hidden}", what)
    elif budget.steps <= 0:
        scan.report(Verdict.REVIEW, "limit", f"{blob.place}@{position}", "more possible pickles than are looked at")


def _look_into_strings(stream: _Stream) -> None:
    """What the strings carry: something packed or pickled, as it is or encoded."""
    data = memoryview(stream.data)
    for given in stream.judge.nested[:_MAX_NESTED]:
        nested = data[given.start : given.end] if isinstance(given, Span) else memoryview(given)
        stream.scan.descend(stream.blob, "storage", nested)
    loaded = {given.start for given in stream.judge.nested if isinstance(given, Span)}
    carried = Carried(stream.blob, stream.scan)
    for start, end in stream.machine.strings:
        if carried.left <= 0:
            break
        if start not in loaded:
            carried.look_into(data[start:end], start)
    for number, line in enumerate(stream.machine.lines):
        with suppress(UnicodeEncodeError):
            carried.look_into(memoryview(line.encode("latin-1")), number)
    for number, said in enumerate(stream.judge.encoded):
        text = said if isinstance(said, str) else str(data[said.start : said.end], "utf-8", "surrogatepass")
        with suppress(UnicodeEncodeError):
            carried.look_into(memoryview(text.encode("latin-1")), number)
    if carried.left <= 0 or stream.machine.forgot or len(stream.judge.encoded) >= MAX_ENCODED:
        stream.scan.report(Verdict.REVIEW, "limit", stream.blob.place, "more long strings than are looked into")


def _find_source(data: memoryview) -> int | None:
    """Where code begins that names what it runs. Plain searches first: the pattern alone takes a second for 10 MB."""
    for start in range(0, len(data), _WINDOW):
        window = bytes(data[start : start + _WINDOW + 256])
        if any(token in window for token in _TOKENS) and (found := SOURCE.search(window)):
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
    _report_hidden(blob, scan, position, "a pickle that runs code, after the end")
