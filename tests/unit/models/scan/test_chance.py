"""Weights are close to random bytes: what chance makes of them is no pickle, and what somebody hid among them is."""

import hashlib
import json
import pickle
import random
import struct
import time
from functools import cache

import pytest

from vallum.models.scan import Verdict, scan
from vallum.models.scan.pickles import starts
from vallum.models.scan.pickles.chance import HEADER_BITS, OLD_HEADER_BITS, is_meant, name_bits
from vallum.models.scan.pickles.probing import probe
from vallum.models.scan.pickles.reader import find_hidden, hidden_budget

_SIZE = 3 << 20
_NEAR = (
    b"\x80\x02\x82\x07)R.",  # a number of copyreg's registry, called, to the end
    b"\x80\x03\x83\x07\x01)R\xff",
    b"\x80\x04\x84\x07\x01\x00\x00)\x81}b\xff",
    b"\x80\x05]\x82\x07)Rq\x00\x82\x08)\x81\xfe",
    b"\x80\x02NK\x01\x93)R.",  # a global whose name is no text
    b"\x80\x02c\xc3\xa9\nx\n)R\xff",
    b"\x80\x02ca\nrm\n)R\xff",
    b"cos\nak\n)R\xff",
    b"cos\nw\n)R.",
    b"cnt\n_9\n(tR.",
)
_MEANT = (
    b"cos\nsystem\n(S'true'\ntR.",
    b"cos\nsystem\n(S'true'\ntR\xff",  # broken behind the call, which has run by then
    b"cnt\nsystem\n(S'true'\ntR.",
    b"((cposix\npopen\nS'true'\no.",
    b"\x80\x02cos\nsystem\n\x8c\x04true\x85R.",
    b"\x80\x04\x8c\x05evilp\x8c\x03run\x93\x8c\x04true\x85R.",
    b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x04pass\x85R\xff",
    b"\x80\x05\x8c\x02os\x94\x8c\x04kill\x94\x93\x94K\x01K\x02\x86R.",
    b"\x80\x04I\t1\n0\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    pickle.dumps(exec, 2)[:-1] + b"X\x04\x00\x00\x00pass\x85R.",
    b"\x80\x04" + b"N0" * 12 + b"\x82\x07)R.",  # no name, and too long to be chance
)


@cache
def weights() -> bytes:
    return random.Random(20).randbytes(_SIZE)


def tensors(data: bytes) -> bytes:
    header = json.dumps({"t": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def planted(*contents: bytes) -> bytes:
    data, dice = bytearray(weights()), random.Random(7)
    for content in contents:
        at = dice.randrange(len(data) - 100)
        data[at : at + len(content)] = content
    return bytes(data)


def hidden(data: bytes) -> list[int]:
    return list(find_hidden(memoryview(data), 0, hidden_budget(len(data))))


def test_random_weights_with_what_chance_puts_into_them_pass(tmp_path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(tensors(planted(*_NEAR * 20)))
    assert scan(file).verdict is Verdict.PASS


@pytest.mark.parametrize("content", _NEAR)
def test_near_misses_would_count_if_chance_did_not(content: bytes) -> None:
    """Each is refused and called, as far as a reader of pickles can see, and stands in a gigabyte by chance."""
    seen = probe(content)
    assert seen.blocks
    assert seen.calls


@pytest.mark.parametrize("content", _MEANT)
def test_pickles_among_random_weights_block(content: bytes, tmp_path) -> None:
    assert hidden(planted(content))
    file = tmp_path / "model.safetensors"
    file.write_bytes(tensors(planted(content)))
    assert scan(file).verdict is Verdict.BLOCK


def test_more_random_bytes_than_one_file_of_chance() -> None:
    """A header and one of these stand once in 256 KiB, so that the starts alone stand for ten gigabytes."""
    dice = random.Random(3)
    firsts = b"(}])N\x88\x89KMJ\x8cCVcXB"
    data = b"".join(
        b"\x80" + bytes((dice.choice(b"\x02\x03\x04\x05"), dice.choice(firsts))) + dice.randbytes(29)
        for _ in range(40_000)
    )
    budget = hidden_budget(1 << 30)
    assert list(find_hidden(memoryview(data), 0, budget)) == []
    assert budget.steps > 0


def test_what_chance_can_do_is_counted_in_bits() -> None:
    assert name_bits("os", "system") == 8 * 2 - 3 + 2 * 6 + 16
    assert name_bits("a b", "c") == name_bits("", "c") == name_bits("é", "c") == 0
    assert name_bits("subprocess", "Popen") > name_bits("os", "popen") > name_bits("zz", "popen")
    assert is_meant(OLD_HEADER_BITS, 6, name_bits("os", "system"), complete=False)
    assert not is_meant(HEADER_BITS, 5, 0, complete=True)
    assert not is_meant(HEADER_BITS, 1000, 0, complete=False)


def test_random_bytes_cost_a_fraction_of_what_hashing_them_does() -> None:
    data = memoryview(weights())
    found, hashed = 1.0, 1.0
    for _ in range(50):
        begun = time.process_time()
        list(find_hidden(data, 0, hidden_budget(len(data))))
        between = time.process_time()
        hashlib.sha256(data).digest()
        found, hashed = min(found, between - begun), min(hashed, time.process_time() - between)
    assert found < 0.8 * hashed  # measured: 0.3 to 0.5, where two patterns of `re` took what hashing does


def test_both_engines_find_the_same_starts(monkeypatch) -> None:
    """RE2 where there is much to search, and `re` elsewhere."""
    data = memoryview(planted(*_MEANT, *_NEAR))
    for pattern in (starts.CANDIDATE, starts.OLD_CANDIDATE):
        fast = list(starts.starts_of(pattern, data, 5))
        monkeypatch.setattr(starts, "_MUCH_BYTES", 1 << 40)
        assert fast == list(starts.starts_of(pattern, data, 5))
        monkeypatch.undo()
        assert fast


_CALL = b"cbdb\nrun\nX\x04\x00\x00\x00true\x85R."
_BEGINNINGS = (
    b"", b"U\x01a0", b"T\x01\x00\x00\x00a0", b"S'a'\n0", b"Va\n0", b"X\x01\x00\x00\x00a0", b"\x8c\x01a0",
    b"\x8d\x01\x00\x00\x00\x00\x00\x00\x00a0", b"C\x01a0", b"B\x01\x00\x00\x00a0",
    b"\x8e\x01\x00\x00\x00\x00\x00\x00\x00a0", b"\x96\x01\x00\x00\x00\x00\x00\x00\x00a0",
    b"I-1\n0", b"L+1L\n0", b"F.5\n0", b"Fnan\n0", b"FInfinity\n0", b"G" + bytes(8) + b"0",
    b"K\x010", b"M\x01\x000", b"J\x01\x00\x00\x000",
    b"\x8a\x09" + bytes(9) + b"0", b"\x8b\x01\x00\x00\x00\x010", b"P5\n0", b"\x82\x010", b"\x83\x01\x000",
    b"\x84\x01\x00\x00\x000", b"N0", b"\x880", b"\x890", b"]0", b"}0", b")0", b"\x8f0", b"(0",
    b"\x80\x02", b"\x95" + struct.pack("<Q", len(_CALL)),
)  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_found_whatever_it_begins_with(protocol) -> None:
    for beginning in _BEGINNINGS:
        assert hidden(planted(bytes([0x80, protocol]) + beginning + _CALL)), beginning


@pytest.mark.parametrize("module", ["bdb", "timeit", "code.x", "pip._internal", "__builtin__", "commands", "posix"])
def test_a_pickle_without_a_header_is_found_by_the_module_that_it_names(module) -> None:
    assert hidden(planted(b"c" + module.encode() + b"\nrun\n(S'true'\ntR."))


@pytest.mark.parametrize(
    "false", [b"\x80\x02J", b"\x80\x02M", b"\x80\x04X", b"\x80\x02G\x00\x00", b"cos\nab", b"(cos\n"]
)
def test_what_only_looks_like_a_start_hides_no_pickle_within_itself(false) -> None:
    for pickled in (
        b"\x80\x02" + _CALL,
        b"\x80\x04\x8c\x03bdb\x8c\x03run\x93\x8c\x04true\x85R.",
        b"cpty\nspawn\n(S'true'\ntR.",
    ):
        assert hidden(planted(false + pickled)), pickled
