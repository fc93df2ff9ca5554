"""Whose a cell or a text is: exactly theirs, in any spelling, and nobody else's."""

import json
import time
import unicodedata

import polars as pl
import pytest

from vallum.data.subjects import Identifiers
from vallum.kernel.errors import Invalid

WHOM = Identifiers(["ann@example.org", "Zoë Ångström", "4711", "DE89370400440532013000", "person:per_01J"])
THEIRS = [
    "ann@example.org", "ANN@EXAMPLE.ORG", " ann@example.org ", "mail ann@example.org.", "<ann@example.org>",
    "a,ann@example.org;b", "Zoë  Ångström", unicodedata.normalize("NFD", "zoë ångström"), "by Zoë\nÅngström, today",
    "4711", " 4711\n", "IBAN DE89370400440532013000 is hers", "-ann@example.org", "ann@example.org-",
]  # fmt: skip
NOBODYS = [
    "joann@example.org", "ann@example.org.uk", "x.ann@example.org", "ann@example.organic", "ann+1@example.org",
    "ann@example.org@evil.org", "Zoë Ångströmer", "invoice 4711 of March", "14711", "47110",
    "DE893704004405320130001", "",
]  # fmt: skip


@pytest.mark.parametrize("text", THEIRS)
def test_a_cell_that_names_them_is_theirs(text):
    assert matches(pl.Series("c", [text])) == [True]


@pytest.mark.parametrize("text", NOBODYS)
def test_a_cell_that_looks_like_theirs_is_not(text):
    assert matches(pl.Series("c", [text, None])) == [False, False]


def matches(series):
    (found,) = WHOM.matching({series.name: series.dtype}).values()
    return series.to_frame().select(found).to_series().to_list()


def test_numbers_and_nested_values_are_looked_into_and_measures_are_not():
    assert matches(pl.Series("n", [4711, 14711])) == [True, False]
    assert matches(pl.Series("l", [["x", "ann@example.org"], ["joann@example.org"]])) == [True, False]
    assert matches(pl.Series("s", [{"a": {"b": "x\nann@example.org"}}, {"a": {"b": None}}])) == [True, False]
    assert matches(pl.Series("b", [b"ann@example.org", b"\xff"])) == [True, False]
    floats, embedding = pl.Series("f", [4711.0]), pl.Series("e", [[0.1, 0.2]])
    for column in (floats, embedding, pl.Series("t", [True])):
        assert WHOM.matching({column.name: column.dtype}) == {}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"messages": [{"content": "write to Zoë Ångström"}]}).encode(),  # escaped: \u00eb
        json.dumps({"messages": [{"content": "a\nann@example.org"}]}).encode(),  # after an escaped line break
        b"plain text about ann@example.org",
        json.dumps({"ann@example.org": 1}).encode(),
    ],
)
def test_a_content_that_names_them_is_found_however_it_is_escaped(content):
    assert WHOM.in_content(content)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"a": "joann@example.org"}', b"order 4711", b"[" * 100_000])
def test_other_contents_are_not(content):
    assert not WHOM.in_content(content)


def test_hostile_contents_cost_what_ordinary_ones_do():
    started = time.process_time()
    for content in (b"ann@example.or" * 70_000, b"." * 1_000_000, "Zoë ".encode() * 200_000):
        assert not WHOM.in_content(content)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("values", [[], ["ab"], ["x" * 321], ["a\x00b"], ["@@@@@"], [f"name {n}" for n in range(51)]])
def test_what_names_nobody_is_refused(values):
    with pytest.raises(Invalid, match="identifiers"):
        Identifiers(values)


def test_what_a_pattern_would_read_as_its_own_is_a_plain_text():
    for value in ("a.*.*.*", "(a|b)+$", "[a-z]{5}", "a#b c", "\\w\\w\\w", "x&&y~~z--1"):
        whom = Identifiers([value])
        (found,) = whom.matching({"c": pl.String}).values()
        shown = pl.DataFrame({"c": [value, "anything at all"]}).select(found).to_series().to_list()
        assert shown == [True, False], value
        assert whom.in_content(value.encode())
        assert not whom.in_content(b"anything at all")


def test_it_shows_nobody():
    assert "ann" not in repr(WHOM)
