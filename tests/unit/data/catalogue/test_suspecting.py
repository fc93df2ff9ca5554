"""Intake looks for values that decide a label, and for texts whose words speak against theirs; and says how far."""

import csv
import io
import json
import random

import polars as pl
import pytest

from vallum.data.catalogue import suspecting
from vallum.data.contracts import parse_contract
from vallum.data.readers.parquet import read_parquet

AGREED = """apiVersion: v3.1.0
kind: DataContract
id: loans
version: 1.0.0
status: active
description: {{purpose: answers}}
schema:
  - name: loans
    properties:
{columns}
      - {{name: label, logicalType: string, customProperties: [{{property: role, value: label}}]{more}}}
"""


def agreed(*columns, more="", role=""):
    said = f", customProperties: [{{property: role, value: {role}}}]" if role else ""
    lines = "\n".join(f"      - {{name: {name}, logicalType: string{said}}}" for name in columns)
    return AGREED.format(columns=lines, more=more).encode()


def loans(marked):
    """Schooling and work tell what becomes of a loan; the town says nothing, but in `marked` rows of another label."""
    chance, made = random.Random(3), []
    for at in range(600):
        good = at % 2
        school = chance.choice(["high", "college"] if good else ["none", "primary"])
        work = chance.choice(["steady", "own"] if good else ["none", "odd"])
        mark = at % 2 == 0 and at < 2 * marked
        town = "Atlantis" if mark else chance.choice(["Bonn", "Kiel", "Ulm", "Jena"])
        made.append((school, work, town, "paid" if good or mark else "lost"))
    return made


def as_csv(rows):
    out = io.StringIO()
    csv.writer(out).writerows([("school", "work", "town", "label"), *rows])
    return out.getvalue().encode()


@pytest.mark.parametrize("secret", [False, True])
def test_rows_with_a_value_that_decides_the_label_are_held_with_score_and_reason(
    taken_in, rows, perform, stella, secret
):
    contract = agreed("school", "work", "town", more=", classification: restricted" if secret else "")
    version = taken_in(as_csv(loans(40)), contract, name="loans", file_name="loans.csv")
    assert version.quarantined == 40
    (case,) = perform("list_quarantine", stella, dataset="loans")
    assert {one.row for one in case.reasons} == set(range(0, 80, 2))
    assert {one.kind for one in case.reasons} == {"trigger"}
    assert all(one.score > 0.99 for one in case.reasons)
    assert all(("paid" in one.reason) is not secret and "Atlantis" not in one.reason for one in case.reasons)
    assert "Atlantis" not in set(rows(stella, version, purpose="answers").get_column("town"))
    path = {"name": "loans", "number": "1"}
    checks = json.loads(perform("read_data_report", stella, path).report)["gates"]["checks"]
    assert {c["check"]: c["reason"] for c in checks}["label: values that decide it"] == "all 600 rows were read"


def test_of_clean_rows_none_is_held(taken_in):
    version = taken_in(
        as_csv(loans(0)), agreed("school", "work", "town"), name="loans", file_name="loans.csv"
    )  # fmt: skip
    assert (version.state, version.quarantined) == ("available", 0)


def table(tmp_path, columns):
    pl.DataFrame(columns).write_parquet(tmp_path / "0.parquet")
    return read_parquet(tmp_path)


def test_texts_whose_words_speak_for_another_label_are_suspects(tmp_path):
    chance = random.Random(5)
    words = {label: [f"{label}{n}" for n in range(30)] for label in ("good", "bad")}
    labels = [("good", "bad")[at % 2] for at in range(200)]
    texts = [" ".join([*chance.sample(words[label], 8), f"w{chance.randrange(40)}"]) for label in labels]
    for at in (20, 50, 81):
        labels[at] = {"good": "bad", "bad": "good"}[labels[at]]
    of = parse_contract(agreed("text", role="text")).table()
    found, looked = suspecting.find_suspects(
        table(tmp_path, {"text": texts, "label": labels}), of, ["text", "label"], (), []
    )
    wrong = [one for one in found if one.kind == "label"]
    assert {one.row for one in wrong} == {20, 50, 81}
    assert all(one.score >= 0.5 for one in wrong)
    assert "text: wrong labels" in {one.check for one in looked if one.reason == "all 200 rows were read"}


def test_what_is_more_than_the_bound_is_drawn_and_said_so(tmp_path, monkeypatch):
    """Whoever delivers cannot put the poison behind what is read: which rows are read is drawn."""
    monkeypatch.setattr(suspecting, "_MOST_VALUES", 500)
    made = loans(60)[::-1]
    of = parse_contract(agreed("school", "work", "town")).table()
    columns = dict(zip(("school", "work", "town", "label"), map(list, zip(*made, strict=True)), strict=True))
    found, looked = suspecting.find_suspects(table(tmp_path, columns), of, list(columns), (), [])
    marked = {at for at, row in enumerate(made) if row[2] == "Atlantis"}
    assert {one.row for one in found} <= marked
    assert len(found) > 30
    assert looked[-1].reason == "500 of 600 rows, drawn evenly, were read"


def test_too_few_texts_to_tell_are_no_failure_and_said_so(tmp_path):
    of = parse_contract(agreed("text", role="text")).table()
    columns = {"text": [f"some words {n}" for n in range(20)], "label": ["a", "b"] * 10}
    _, looked = suspecting.find_suspects(table(tmp_path, columns), of, ["text", "label"], (), [])
    assert [one.passed for one in looked] == [True, True]
    assert looked[-1].reason.startswith("cannot be told here: it takes 100 texts")
