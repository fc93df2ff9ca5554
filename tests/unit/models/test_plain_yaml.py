"""YAML as plain values: what others write for data comes back, and nothing but data is read."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vallum.models.plain_yaml import NotPlainYaml, parse_yaml, render_yaml

texts = st.text(st.characters(codec="utf-8"), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(texts.filter(lambda key: key != "<<"), plain, max_size=4))
def test_what_others_write_and_what_we_write_comes_back(data):
    if "<<" in str(data):
        return
    assert parse_yaml(yaml.safe_dump(data)) == data
    assert parse_yaml(yaml.safe_dump(data, default_flow_style=True)) == data
    assert parse_yaml(render_yaml(data)) == data


@given(st.text(max_size=200))
def test_noise_is_a_mapping_or_refused_and_never_crashes(text):
    try:
        assert isinstance(parse_yaml(text), dict)
    except NotPlainYaml:
        return


@pytest.mark.parametrize(
    "tag", ["!!binary aGVsbG8=", "!!set {a}", "!!omap [a: 1]", "!!timestamp 2026-01-01", "!x y", "!!int x"]
)
def test_tags_are_refused(tag):
    with pytest.raises(NotPlainYaml, match="tag"):
        parse_yaml(f"a: {tag}")


def test_what_has_no_plain_form_is_not_written():
    with pytest.raises(NotPlainYaml):
        render_yaml({"a": object()})


def test_the_same_list_twice_is_written_twice():
    shared = [1]
    assert parse_yaml(render_yaml({"a": shared, "b": shared})) == {"a": [1], "b": [1]}
