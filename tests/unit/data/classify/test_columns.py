"""Columns by name and by value, in full and by sample."""

import random
from itertools import pairwise

import pytest

from vallum.data.classify import CONTROLS, Category, ColumnClassifier, Control, SpanClassifier, controls_of, highest
from vallum.guards.checksums import luhn
from vallum.inventory.model import CLASSIFICATIONS

SPANS = SpanClassifier()


@pytest.fixture
def classifier():
    return ColumnClassifier(SPANS, random.Random(1))


def kinds(report):
    return {each.kind: each.by for each in report.evidence}


def test_a_column_is_known_by_what_stands_in_it(classifier):
    report = classifier.classify("c17", [f"p{n}@example.com" for n in range(100)])
    assert kinds(report) == {"email": "values"}
    assert report.classification == "confidential"
    assert report.categories == {Category.PERSONAL}
    assert (report.mode, report.read, report.missed_at_most) == ("full", 100, 0.0)
    assert report.evidence[0].share == 1.0
    assert report.evidence[0].share_at_least > 0.97


def test_a_number_without_a_form_is_known_behind_its_columns_name(classifier):
    values = ["021000021", "011401533"] * 50
    assert "us_bank_routing" in kinds(classifier.classify("routing_number", values))
    assert kinds(classifier.classify("reading", values)) == {}


@pytest.mark.parametrize(
    ("column", "kind", "classification"),
    [
        ("customerEmail", "email", "confidential"),
        ("DIAGNOSIS", "health", "restricted"),
        ("religion", "religion", "restricted"),
        ("salary_eur", "financial", "restricted"),
        ("password", "credential", "restricted"),
        ("SSN", "us_ssn", "restricted"),
        ("first name", "name", "confidential"),
    ],
)
def test_a_name_is_evidence_enough(classifier, column, kind, classification):
    report = classifier.classify(column, ["q", "w", "e"])
    assert kinds(report)[kind] == "name"
    assert report.classification == classification


@pytest.mark.parametrize(
    "column",
    ["file_name", "product name", "email_count", "is_email_verified",
     "max_tokens", "ip_address_valid", "memory_address", "amount", "x1"],
)  # fmt: skip
def test_a_name_of_something_else_is_none(classifier, column):
    report = classifier.classify(column, ["q", "w", "e"])
    assert kinds(report) == {}
    assert report.classification == "internal"


def test_order_numbers_that_pass_a_check_digit_by_chance_are_no_cards(classifier):
    chance = random.Random(3)
    numbers = ["4" + "".join(chance.choices("0123456789", k=15)) for _ in range(3000)]
    assert 0.05 < sum(map(luhn, numbers)) / 3000 < 0.15
    assert kinds(classifier.classify("order", numbers)) == {}
    cards = [n for n in numbers if luhn(n)]
    assert kinds(classifier.classify("order", cards)) == {"payment_card": "values"}
    assert "payment_card" in kinds(classifier.classify("card_number", numbers))


def test_one_credential_among_many_values_is_found_by_a_full_scan(classifier):
    values = ["ok"] * 50_000
    values[31_337] = "AKIA" + "Q7ZB2M4KXW9PLN5T"
    report = classifier.classify("note", values, mode="full")
    assert report.classification == "restricted"
    assert report.evidence[0].values == 1


def test_a_sample_states_what_it_may_have_missed(classifier):
    report = classifier.classify("note", ["ok"] * 50_000, sample=1000)
    assert (report.mode, report.read, report.total) == ("sample", 1000, 50_000)
    assert report.missed_at_most == pytest.approx(1 - 0.05 ** (1 / 1000))


def test_the_stated_recall_of_a_sample_holds():
    """A kind in 1 % of the values, samples for 95 %: of 200 samples at least 90 % find it (5 standard errors below)."""
    from vallum.data.classify import sample_size

    values = [f"p{n}@example.com" if n % 100 == 0 else "ok" for n in range(20_000)]
    size = sample_size(0.01, 0.95)
    hits = 0
    for seed in range(200):
        report = ColumnClassifier(SPANS, random.Random(seed)).classify("c", values, sample=size)
        hits += bool(report.evidence)
    assert hits >= 175


def test_nulls_and_nothing_are_read(classifier):
    assert classifier.classify("c", []).classification == "internal"
    report = classifier.classify("c", [None, "a@example.com", None, None])
    assert kinds(report) == {"email": "values"}
    assert report.evidence[0].share == 0.25


def test_a_polars_column_is_read_as_it_is(classifier):
    polars = pytest.importorskip("polars")
    column = polars.Series("c", ["a@example.com", None, "x"])
    assert kinds(classifier.classify("c", column)) == {"email": "values"}


def test_an_unreadable_value_makes_the_column_restricted(classifier):
    report = classifier.classify("c", ["11-11-11-11-" * 120_000])
    assert report.classification == "restricted"


def test_a_report_holds_no_value(classifier):
    assert "anna" not in str(classifier.classify("c", ["anna@example.com"]))


def test_every_stricter_class_has_the_controls_of_the_one_before():
    for less, more in pairwise(CLASSIFICATIONS):
        assert CONTROLS[less] < CONTROLS[more]
    assert Control.ENCRYPT_FIELD in controls_of("restricted")
    assert highest([]) == "internal"
    assert highest(["public"]) == "internal"
    assert highest(["confidential", "restricted", "internal"]) == "restricted"
