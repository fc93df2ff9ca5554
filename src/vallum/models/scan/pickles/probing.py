"""A look at what may be a pickle, without a report: whether it is read to its end, and what it would call."""

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.judge import Judge
from vallum.models.scan.pickles.machine import Broken, Budget, Machine

__all__ = ["Probe", "probe", "silent"]

_FIRST_BYTES = 1 << 12
_PROBED_BYTES = 1 << 18  # a payload is short; a benign pickle that is longer needs no guess at its start


class Probe:
    """What a look at a possible pickle shows, without a report."""

    __slots__ = ("blocks", "calls", "capable", "complete", "end", "name_bits", "opcodes")

    def __init__(self, end: int, complete: bool, judge: Judge, opcodes: int) -> None:
        self.end, self.complete = end, complete
        self.calls, self.blocks, self.capable = judge.calls, judge.blocks, judge.capable
        self.name_bits, self.opcodes = judge.name_bits, opcodes


def silent(verdict: Verdict, technique: str, position: int, explanation: str) -> None:
    del verdict, technique, position, explanation


def probe(data: bytes | memoryview, start: int = 0, size: int = _PROBED_BYTES, budget: Budget | None = None) -> Probe:
    """`end` is relative to the start of `data`. Never raises."""
    budget = budget or Budget()
    # Bytes are read faster than a view, and most of what looks like a start goes no further than this.
    found = _probe(bytes(memoryview(data)[start : start + _FIRST_BYTES]), budget, start)
    if found.end - start < min(_FIRST_BYTES, size) - 1 or found.complete:
        return found
    return _probe(bytes(memoryview(data)[start : start + size]), budget, start)


def _probe(data: bytes, budget: Budget, start: int) -> Probe:
    judge = Judge(silent, data=data)
    machine = Machine(data, judge, budget=budget)
    try:
        end, complete = machine.run(), True
    except Broken as e:
        end, complete = e.position, False
    return Probe(start + end, complete, judge, machine.opcodes)
