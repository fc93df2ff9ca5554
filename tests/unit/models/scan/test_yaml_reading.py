"""YAML is read as a loader reads it, since a loader is what acts on it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged

from vallum.models.scan.catalogue import inspectors
from vallum.models.scan.languages import yaml_reading
from vallum.models.scan.languages.yaml_reading import TooMany, pairs_in_yaml
from vallum.models.scan.model import Verdict

yaml = pytest.importorskip("yaml")

WAYS = {
    "plain": "_target_: os.system\n",
    "escaped": '"\\x5ftarget_": "o\\x73.\\u0073ystem"\n',
    "long escapes": '"_\\U00000074arget_": "os.\\U00000073ystem"\n',
    "single quotes": "'_target_': 'os.system'\n",
    "a key of its own line": "? _target_\n: os.system\n",
    "an alias": "a: &x os.system\n_target_: *x\n",
    "an aliased key": "a: &k _target_\n*k : os.system\n",
    "on the next line": "_target_:\n  os.system\n",
    "folded": "_target_: >-\n  os.system\nb: 1\n",
    "literal": "_target_: |-\n  os.system\n",
    "flow": "{a: [1, {_target_: os.system}], b: c}\n",
    "flow with quoted keys": '{"a":{"_target_":"os.system"}}\n',
    "tagged": "_target_: !!str os.system # a comment\n",
    "anchored": "_target_: &a os.system\n",
    "continued": '"_target_": "os.\\\n  system"\n',
    "in a list": "- a: 1\n  _target_: os.system\n- 2\n",
    "in a second document": "a: 1\n---\n_target_: os.system\n",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_writing_a_setting(way):
    text = WAYS[way]
    assert "os.system" in str(list(yaml.safe_load_all(text))), "the way itself is wrong"
    assert ("_target_", "os.system") in {(pair.key, pair.value) for pair in pairs_in_yaml(text)}
    assert judged(text.encode(), inspectors(), "config.yaml").verdict == Verdict.BLOCK


_words = st.text("abz09 _-:#'\"\\.", min_size=1, max_size=12)
_things = st.recursive(
    _words,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(_words, inner, min_size=1, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_words, _things, min_size=1, max_size=4), st.sampled_from([None, True, False]))
def test_whatever_is_written_is_read(document, flow):
    """Every string of a document that PyYAML wrote is a value or key of a pair."""
    read = list(pairs_in_yaml(yaml.safe_dump(document, default_flow_style=flow, width=10_000)))
    found = {pair.value for pair in read}
    waiting = [document]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, str):
            assert thing in found, (thing, found)
        else:
            waiting += thing.values() if isinstance(thing, dict) else thing


@settings(max_examples=150, deadline=None)
@given(st.text("ab:-?#&*!|>'\"\\{}[], \n", max_size=80))
def test_noise_ends(noise):
    assert len(list(pairs_in_yaml(noise))) <= len(noise)


@pytest.mark.parametrize(
    "piece", ["a: ", "[", '"', "- ", "a\n", "'", "a:", "\\", "# \n", "&a ", "|\n", "x: |\n", "x: |\n y\n", '"\\', "? "]
)
def test_a_megabyte_of_anything_is_linear(piece):
    began = time.process_time()
    try:
        for _ in pairs_in_yaml(piece * (250_000 // len(piece))):
            pass
    except TooMany:
        pass
    assert time.process_time() - began < 2


def test_more_than_is_read_is_said(monkeypatch):
    monkeypatch.setattr(yaml_reading, "_MAX_TOKENS", 1_000)
    report = judged(b"--- \n" + b"a: b\n" * 2_000, inspectors(), "config.yaml")
    assert "limit" in {finding.technique for finding in report.findings}
