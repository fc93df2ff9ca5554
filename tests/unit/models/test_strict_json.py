"""JSON that means one thing, and is read in bounded time and depth."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.models.strict_json import NotStrictJson, parse_strict_json

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(plain)
def test_what_json_can_say_is_read(value):
    assert parse_strict_json(json.dumps(value).encode(), max_bytes=1 << 20) == value
    assert parse_strict_json(json.dumps(value, ensure_ascii=False).encode(), max_bytes=1 << 20) == value


@given(st.binary())
def test_noise_is_json_or_refused_and_never_crashes(raw):
    try:
        value = parse_strict_json(raw, max_bytes=1 << 20)
    except NotStrictJson:
        return
    assert json.loads(raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nul",
        b"{}x",
        b'{"a":1,"a":1}',
        b'[{"a":1,"a":2}]',
        b'{"a":1,"\\u0061":2}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'"\xed\xa0\x80"',
        b"9" * 5000,
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"'a'",
    ],
    ids=range(20),
)
def test_what_readers_disagree_on_is_refused(raw):
    with pytest.raises(NotStrictJson):
        parse_strict_json(raw, max_bytes=1 << 24)


def test_bounds_are_exact():
    assert parse_strict_json(b"[[1]]", max_bytes=5, max_depth=2) == [[1]]
    with pytest.raises(NotStrictJson, match="deeper"):
        parse_strict_json(b"[[1]]", max_bytes=5, max_depth=1)
    with pytest.raises(NotStrictJson, match="larger"):
        parse_strict_json(b"[[1]]", max_bytes=4, max_depth=2)
