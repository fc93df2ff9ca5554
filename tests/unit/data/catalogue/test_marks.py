"""Who was erased is known again in any spelling, by a mark that says nobody; others are not taken for them."""

import os
import time
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.catalogue import marks
from vallum.data.catalogue.marks import Marked, Marking, Returned, find_returned
from vallum.data.subjects import Identifiers
from vallum.data.table import Table

MARKING = Marking(bytes(range(32)))
WHOM = ["ann@example.org", "Zoë Ångström", "4711", "DE89370400440532013000", "person:per_01J", "O'Brien, Ann"]
ERASED = [Marked("ers_1", MARKING.of_identifiers(WHOM), ("patient",))]
THEIRS = [
    "ann@example.org", "ANN@EXAMPLE.ORG", " ann@example.org ", "mail ann@example.org.", "<ann@example.org>",
    "a,ann@example.org;b", "Zoë  Ångström", unicodedata.normalize("NFD", "zoë ångström"), "by Zoë\nÅngström, today",
    "4711", " 4711\n", "IBAN DE89370400440532013000 is hers", "-ann@example.org", "ann@example.org-",
    "ann@example.org--her", "ａｎｎ@example.org", "o'brien, ann", "person:per_01J said so",
]  # fmt: skip
NOBODYS = [
    "joann@example.org", "ann@example.org.uk", "x.ann@example.org", "ann@example.organic", "ann+1@example.org",
    "ann@example.org@evil.org", "Zoë Ångströmer", "Zoë", "Ångström Zoë", "invoice 4711 of March", "14711", "47110",
    "DE893704004405320130001", "", "Zoë, 4711",
]  # fmt: skip


def rows(column, *, name="said", erased=ERASED, personal=("said",)):
    table = Table.of(pl.DataFrame({name: column}, strict=False))
    return [one.row for one in find_returned(table, MARKING, erased, personal)]


@pytest.mark.parametrize("text", THEIRS)
def test_a_cell_that_names_them_is_theirs(text):
    assert rows(["x", text, None]) == [1]


@pytest.mark.parametrize("text", NOBODYS)
def test_a_cell_that_looks_like_theirs_is_not(text):
    assert rows([text, None]) == []


@given(st.text(alphabet="ab@.-_ ,ßÉ1", max_size=30), st.text(alphabet="ab@.-ßÉ1", min_size=5, max_size=12))
def test_what_erasing_takes_for_theirs_does_not_come_back(text, whom):
    """Whatever erasing finds, intake knows. (But for `ann@example.org+x`, which is an address of its own here.)"""
    if not any(char.isalnum() for char in whom):
        whom += "a1b2c"
    (found,) = Identifiers([whom]).matching({"said": pl.String()}).values()
    column = pl.Series("said", [f"{text} {whom} {text}", f"{text}{whom}", whom, text])
    erased = set(column.to_frame().select(found).to_series().arg_true().to_list())
    assert erased <= set(rows(column, erased=[Marked("e", MARKING.of_identifiers([whom]))]))


def test_numbers_gaps_nested_values_and_bytes_are_looked_into():
    assert rows([4711, 14711]) == [0]
    assert rows([4711.0, None, 4711.5, float("nan"), float("inf")]) == [0]
    assert rows([["x", "ann@example.org"], ["joann@example.org"]]) == [0]
    assert rows([{"a": {"b": "x\nann@example.org"}}, {"a": {"b": None}}]) == [0]
    assert rows([b"ann@example.org", b"\xff"]) == [0]
    assert rows(pl.Series(["ann@example.org", "b"], dtype=pl.Categorical)) == [0]
    assert rows([[0.1, 0.2]]) == rows([True]) == rows(pl.Series([], dtype=pl.String)) == []


def test_a_short_number_is_somebodys_in_columns_of_personal_data_and_where_it_was_found():
    assert rows([4711], name="price", personal=()) == []
    assert rows(["4711"], name="price", personal=()) == []
    assert rows([4711], name="Patient", personal=()) == [0], "by that name they were found"
    assert rows([4711], name="price", personal=("price",)) == [0]
    assert rows(["ann@example.org"], name="price", personal=()) == [0], "an address is somebody's anywhere"
    long = [Marked("e", MARKING.of_identifiers(["491234567890"]))]
    assert rows([491234567890], name="price", personal=(), erased=long) == [0]


def test_one_that_was_erased_from_a_column_is_looked_for_there_alone_and_as_a_whole_cell():
    erased = [Marked("era_1", (MARKING.of_cell("ward 3"),), (), "ward")]
    assert rows(["ward 3", "Ward  3", "ward 33", "to ward 3"], name="ward", erased=erased) == [0, 1]
    assert rows(["ward 3"], name="other", erased=erased) == []


def test_rows_are_numbered_over_batches_and_told_with_column_and_erasure(monkeypatch):
    monkeypatch.setattr(marks, "_BYTES_AT_ONCE", 100)
    emails = [f"p{at}@example.org" for at in range(50_000)]
    emails[40_123] = "ann@example.org"
    notes = ["nothing of note"] * 50_000
    notes[7] = "a long text " * 50 + "by zoë ångström"
    table = Table.of(pl.DataFrame({"email": emails, "note": notes, "n": range(50_000)}))
    other = Marked("ers_2", MARKING.of_identifiers(["p49999@example.org"]))
    assert list(find_returned(table, MARKING, [*ERASED, other], [])) == [
        Returned(7, "note", "ers_1"), Returned(40_123, "email", "ers_1"), Returned(49_999, "email", "ers_2"),
    ]  # fmt: skip


def test_a_mark_says_nobody_and_another_key_knows_nobody():
    (mark,) = MARKING.of_identifiers(["ann@example.org"])
    other = Marking(os.urandom(32))
    assert other.of_identifiers(["ann@example.org"])[0].digest != mark.digest
    assert MARKING.of_identifiers(["Ann@Example.ORG"])[0] == mark
    table = Table.of(pl.DataFrame({"said": ["ann@example.org"]}))
    assert list(find_returned(table, other, ERASED, ["said"])) == []


def test_the_sieve_tells_texts_apart_and_lets_everybody_through_who_is_marked():
    texts = pl.Series([f"{at}" for at in range(200_000)] + ["", "a" * 1000, "é" * 63, "🤦" * 70])
    sieved = MARKING.sieved(texts)
    assert len(set(sieved.tolist())) > 0.999 * len(texts)
    assert (MARKING.sieved(texts.reverse())[::-1] == sieved).all()


def test_a_hostile_text_costs_what_an_ordinary_one_does():
    """One word of megabytes, or a million of one letter, beside as much of ordinary prose."""
    size = 4_000_000
    ordinary = ["the quick brown fox jumps over the lazy dog, said nobody. "] * (size // 58)

    def seconds(texts):
        table = Table.of(pl.DataFrame({"said": [f"{at % 7} {one}" for at, one in enumerate(texts)]}))
        started = time.process_time()
        assert list(find_returned(table, MARKING, ERASED, ["said"])) == []
        return time.process_time() - started

    whole = "".join(ordinary)
    seconds(ordinary)
    usual = max(seconds([whole]), 0.05)
    for hostile in (
        "a" * size,
        "a " * (size // 2),
        "ann@example.or " * (size // 15),
        ".@" * (size // 2),
        "é" * (size // 2),
    ):
        assert seconds([hostile]) < 8 * usual
