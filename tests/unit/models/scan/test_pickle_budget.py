"""The pickle machine's budget: what is read is bounded in opcodes and time, and what was not read is no pass."""

import pickle
import struct

import pytest

from vallum.models.scan.engine import scan_path
from vallum.models.scan.pickles import inspectors
from vallum.models.scan.pickles.judge import Judge
from vallum.models.scan.pickles.machine import Budget, Exhausted, Machine
from vallum.models.scan.pickles.probing import silent
from vallum.models.scan.pickles.reader import find_hidden, hidden_budget

_SYSTEM = b"cposix\nsystem\n(S'true'\ntR"
_OPCODES = 200_000
_SHAPES = {
    "puts far apart": b"N" + b"".join(b"r" + struct.pack("<I", n * 3) for n in range(_OPCODES)),
    "calls": b"ccollections\nOrderedDict\n\x940" + b"h\x00)R" * (_OPCODES // 3),
    "lists": b"]" * _OPCODES,
    "marks": b"(1" * (_OPCODES // 2),
    "lines": b"I1\n" * _OPCODES,
    "globals": b"".join(b"cp%d\nX\n" % n for n in range(_OPCODES)),
    "nothing": b"N0" * (_OPCODES // 2),
}


@pytest.mark.parametrize("shape", _SHAPES)
def test_every_shape_stops_within_a_stride_of_its_steps(shape: str) -> None:
    asked = []

    def go_on() -> bool:
        asked.append(1)
        return True

    budget = Budget(50_000, go_on)
    with pytest.raises(Exhausted):
        Machine(b"\x80\x04" + _SHAPES[shape] + b".", Judge(silent), budget=budget).run()
    assert -4096 <= budget.steps <= 0
    assert len(asked) >= 12  # and the clock is looked at all the time


def test_time_that_is_up_stops_it() -> None:
    answers = iter([True, True, False])
    with pytest.raises(Exhausted):
        Machine(
            b"\x80\x04" + _SHAPES["nothing"] + b".", Judge(silent), budget=Budget(go_on=lambda: next(answers))
        ).run()


def test_the_first_opcodes_are_read_whatever_the_clock_says() -> None:
    few, many = (b"\x80\x04" + b"N0" * count + b"N." for count in (20_000, 100_000))
    Machine(few, Judge(silent), budget=Budget(go_on=lambda: False, sure=100_000)).run()
    with pytest.raises(Exhausted):
        Machine(many, Judge(silent), budget=Budget(go_on=lambda: False, sure=100_000)).run()


def test_a_budget_is_shared_and_what_is_left_is_told() -> None:
    budget = Budget(100_000)
    Machine(pickle.dumps(list(range(300))), Judge(silent), budget=budget).run()
    assert 99_000 < budget.steps < 100_000


def test_a_scan_that_is_cut_short_is_for_review_and_what_was_found_before_counts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("vallum.models.scan.engine._SECONDS", -1.0)
    monkeypatch.setattr("vallum.models.scan.engine._SECONDS_PER_MB", 0.0)
    monkeypatch.setattr("vallum.models.scan.pickles.reader._SURE_STEPS", 0)
    file = tmp_path / "model.pkl"
    for before, after, verdict in (
        (b"", b"", "review"),
        (_SYSTEM + b"0", b"", "block"),
        (b"", _SYSTEM + b"0", "block"),
    ):
        file.write_bytes(b"\x80\x04" + before + _SHAPES["nothing"] + b"\x80\x04" + after + b"N.")
        report = scan_path(file, inspectors())
        assert report.verdict == verdict
        assert "limit" in {finding.technique for finding in report.findings}


@pytest.mark.parametrize(
    "decoy", [b"\x80\x04]]]]]", b"\x80\x02cos\nsystem\n", b"cos\nsystem\n", b"\x80\x04(", b"\x80\x04N."]
)
def test_decoys_wear_the_search_out_and_are_no_pass(decoy: bytes, tmp_path) -> None:
    data = bytes(100) + decoy * (400_000 // len(decoy))
    budget = hidden_budget(len(data))
    before = budget.steps
    assert list(find_hidden(memoryview(data), 0, budget)) == []
    assert before - budget.steps < 3 * before
    file = tmp_path / "weights.bin"
    file.write_bytes(data)
    assert scan_path(file, inspectors()).verdict == "review"
