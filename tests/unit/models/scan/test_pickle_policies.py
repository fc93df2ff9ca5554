"""Rules of the pickle policy, each as an attack that walks around what only names are held against."""

import pickle
import struct
from typing import Any

import pytest
from scanned_files import judged

from vallum.models.scan import engine
from vallum.models.scan.model import Report
from vallum.models.scan.pickles import inspectors, reader
from vallum.models.scan.pickles.distributions import is_plain_template
from vallum.models.scan.pickles.policy import Standing, decide_global

_TEMPLATE = (
    "\ndef _parse_args(self, a, b,  loc=0, scale=1):\n    return (a, b, ), loc, scale\n"
    "\ndef _parse_args_rvs(self, a, b,  loc=0, scale=1, size=None):\n"
    "    return self._argcheck_rvs(a, b,  loc, scale, size=size)\n"
    "\ndef _parse_args_stats(self, a, b,  loc=0, scale=1, moments='mv'):\n    return (a, b, ), loc, scale, moments\n"
)  # as scipy 1.16 writes it


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def long(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def named(module: str, name: str) -> bytes:
    return short(module) + short(name) + b"\x93"


def scanned(body: bytes) -> Report:
    return judged(b"\x80\x04" + body + b".", inspectors())


CALLS = {
    "REDUCE": lambda f: f + short("x") + b"\x85R",
    "OBJ": lambda f: b"(" + f + short("x") + b"o",
    "OBJ without arguments": lambda f: b"(" + f + b"o",
}


@pytest.mark.parametrize("way", CALLS)
def test_whatever_calls_calls_functions_too(way):
    """`pickle` names INST and OBJ for instances; both call whatever they find."""
    assert scanned(CALLS[way](named("some_package.tools", "prepare"))).verdict == "block"


def test_inst_calls_functions_too():
    assert scanned(b"(" + short("x") + b"isome_package.tools\nprepare\n").verdict == "block"


@pytest.mark.parametrize(
    "callee", [("numpy.random._pickle", "__generator_ctor"), ("collections", "OrderedDict"), ("some_package", "Model")]
)
def test_a_function_that_nothing_knows_is_handed_to_nobody(callee):
    """numpy's constructor of generators calls its second argument with its first; others are not known to."""
    given = short("MT19937") + named("some_package.tools", "prepare") + b"\x86R"
    assert scanned(named(*callee) + given).verdict == "block"


TOLD = [
    "touch /tmp/x", "/etc/passwd", "https://example.org/x", "~/.ssh/id_rsa", "import os", "..\\x", "$(id)", "hook.py",
    "a|b", "a;b",
]  # fmt: skip


@pytest.mark.parametrize("told", TOLD)
def test_a_class_that_nothing_knows_is_made_with_nothing_that_acts(told):
    for arguments in (
        short(told) + b"\x85",
        b"K\x01" + short(told) + b"\x86",
        b"](" + short("x") + short(told) + b"e\x85",
    ):
        assert scanned(named("some_package.io", "Source") + arguments + b"R").verdict == "block"
        assert scanned(b"(" + named("some_package.io", "Source") + arguments[:-1] + b"o").verdict == "block"


@pytest.mark.parametrize("told", ["steps", "cuda:0", "torch.float32", "<s>"[1:2], "bert-base", "v1.2"])
def test_a_class_that_nothing_knows_and_a_plain_word_are_for_a_person_to_judge(told):
    assert scanned(named("some_package.modes", "Mode") + short(told) + b"\x85R").verdict == "review"


@pytest.mark.parametrize("name", ["core Booster", "core DMatrix", "sklearn XGBClassifier"])
def test_a_library_that_opens_what_it_is_told_is_told_nothing(name):
    callee = named("xgboost." + name.split()[0], name.split()[1])
    assert scanned(callee + short("data.txt") + b"\x85R").verdict == "block"
    assert scanned(callee + long("data/" + "x" * 400) + b"\x85R").verdict == "block"
    assert scanned(callee + b")\x81").verdict == "pass"


def distribution(state: bytes) -> Report:
    return scanned(named("scipy.stats._continuous_distns", "beta_gen") + b")\x81" + state + b"b")


def test_a_distribution_executes_its_template_and_no_other_is_let_through():
    key = short("_parse_arg_template")
    assert distribution(b"}" + key + long(_TEMPLATE) + b"s").verdict == "pass"
    evil = _TEMPLATE + "\nprint(1)\n"
    evils = {
        "another": b"}" + key + long(evil) + b"s",
        "short": b"}" + key + short("1") + b"s",
        "bytes": b"}" + key + b"C\x011" + b"s",
        "as pairs": key + long(evil) + b"\x86\x85",
        "as a list of pairs": b"]" + key + long(evil) + b"\x86a",
        "in another mapping": named("collections", "OrderedDict") + b")R" + key + long(evil) + b"s",
        "behind many keys": b"}(" + b"".join(short(f"k{i}") + b"N" for i in range(300)) + key + long(evil) + b"u",
        "in slots": b"N}" + key + long(evil) + b"s\x86",
    }
    for name, state in evils.items():
        assert distribution(state).verdict == "block", name


_CALLS_IN_TEMPLATE = {
    "a, b, )": "a, print(1))", "loc=0": "loc=print(1)", "self, a": "self=print(1), a", "size=None": "size=open('x')",
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), _CALLS_IN_TEMPLATE.items())
def test_a_template_has_no_calls_of_its_own(old, new):
    assert is_plain_template(_TEMPLATE, b"")
    assert old in _TEMPLATE
    assert not is_plain_template(_TEMPLATE.replace(old, new), b"")


def test_a_payload_behind_more_than_is_read_is_found_by_its_name(monkeypatch):
    """Ten megabytes of opcodes that do nothing are more than there is time for; here it is little time."""
    monkeypatch.setattr(reader, "_SURE_STEPS", 1_000)
    monkeypatch.setattr(engine, "_SECONDS", 0.0)
    payloads = {
        "global": b"cos\nsystem\nS'true'\n\x85R.",
        "stack global": named("os", "system") + short("true") + b"\x85R.",
        "long strings": long("os") + long("system") + b"\x93" + short("true") + b"\x85R.",
        "memoised": short("os") + b"\x94" + short("system") + b"\x94\x93" + short("true") + b"\x85R.",
        "instance": b"(S'true'\nios\nsystem\n.",
        "through a package": named("numpy", "os.system") + short("true") + b"\x85R.",
    }
    for name, payload in payloads.items():
        report = judged(b"\x80\x04" + b"(1" * 50_000 + payload, inspectors())
        assert report.verdict == "block", name
        assert any(finding.technique == "limit" for finding in report.findings), name
    assert judged(b"\x80\x04" + b"(1" * 50_000 + named("some_package", "tool") + b".", inspectors()).verdict == "review"


def test_functions_of_known_libraries_may_be_named_and_not_called():
    """A fitted object keeps the function that it chose; only a call would run it."""
    for name in (
        "sklearn.cluster._kmeans _kmeans_single_lloyd",
        "scipy.interpolate._interpolate interp1d._call_linear",
    ):
        module, function = name.split()
        assert decide_global(module, function).standing is Standing.UNKNOWN_FUNCTION
        assert scanned(named(module, function)).verdict == "review"
        assert scanned(named(module, function) + b")R").verdict == "block"
        assert scanned(named(module, function) + b")\x81").verdict == "block"


@pytest.mark.parametrize(
    "name", ["sklearn.datasets load_files", "numpy.f2py compile", "scipy.io._x Reader._open", "pandas.io.sql execute"]
)
def test_but_not_those_that_are_named_for_acting(name):
    assert decide_global(*name.split()).standing >= Standing.REFUSED


def test_an_archive_is_no_pickle_though_it_begins_with_an_opcode():
    noise = b"PK\x03\x04\n" + pickle.dumps({"weight": 1.0}, 2)
    found: Any = [finding for finding in judged(noise, inspectors()).findings if finding.technique != "unknown-format"]
    assert found == []
    assert judged(b"PK\x03\x04\n\x80\x02cos\nsystem\n(S'true'\ntR.", inspectors()).verdict == "block"


def test_a_table_is_no_pickle_though_its_heading_begins_with_an_opcode():
    for heading in ("const_p1,const_p2,const_f1", "class;score", "id,name (first)", "category\tvalue"):
        table = f"{heading}\n" + "".join(f"{n}.5,{n}\n" for n in range(400)) + "tR.(t\n"
        report = judged(table.encode(), inspectors(), "table.csv")
        assert {finding.technique for finding in report.findings} <= {"unknown-format"}, heading
    behind = b"c,d\n1,2\n" + b"cos\nsystem\n(S'true'\ntR."
    assert judged(behind, inspectors()).verdict == "block"
