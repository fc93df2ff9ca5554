"""Spans in many texts at a time: what one text at a time finds, and no more work for hostile ones."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.data.classify import Category, SpanClassifier, category_of
from vallum.data.classify.spans import _BUFFER_CHARS, UNREADABLE

SPANS = SpanClassifier()
ARMOUR = "-----BEGIN " + "PRIVATE KEY-----"
PIECES = [
    "anna@example.com", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "123-45-6789", "call 555-123-4567", "ssn",
    "192.168.17.4", "phone:", "password", "= hunter2!Abc9", "", " ", "\n", "grüße ٣٤", "an\u200bna@example.com", ARMOUR,
    "A" * 40, "-----END " + "PRIVATE KEY-----", "routing", "021000021", ": ", "https://u:Passw0rd@host/",
    "diagnosed with",    " asthma", "religion: ", "Quaker", "\x1e", "+49 30 1234567", "2026-01-02", "eyJhbGciOi", "BIC",
]  # fmt: skip
texts = st.lists(st.lists(st.sampled_from(PIECES), max_size=5).map("".join), max_size=12)


def test_kinds_of_every_category_are_found_where_they_stand():
    text = (
        "Anna <anna@example.com> paid with 4111 1111 1111 1111, was diagnosed with type 2 diabetes, takes"
        " atorvastatin, is a Muslim, and wrote password = hunter2!Abc9 here"
    )
    found = {(category_of(f.kind, f.guard), text[f.start : f.end]) for f in SPANS.find(text)}
    assert (Category.PERSONAL, "anna@example.com") in found
    assert (Category.FINANCIAL, "4111 1111 1111 1111") in found
    assert (Category.HEALTH, "diagnosed with type 2 diabetes") in found
    assert (Category.HEALTH, "atorvastatin") in found
    assert (Category.SPECIAL, "is a Muslim") in found
    assert (Category.CREDENTIAL, "hunter2!Abc9") in found


@pytest.mark.parametrize(
    "text",
    [
        "The race was run on Sunday, and the magazine wrote about it in April.",
        "A cancer research institute published its yearly report.",
        "order 20260102 of 3 items, total 12.50, version 1.2.3",
        "The union of both sets is empty; the orientation of the image is portrait.",
        "",
    ],
)
def test_ordinary_sentences_hold_nothing(text):
    assert SPANS.find(text) == []


@given(texts)
@settings(max_examples=300, deadline=None)
def test_many_at_a_time_is_one_at_a_time(given_texts):
    """Also where a value begins what another ends: nothing is found across two values, and nothing is lost."""
    apart = {at: found for at, text in enumerate(given_texts) if (found := SPANS.find(text))}
    assert {at: sorted(f, key=str) for at, f in SPANS.find_all(given_texts)} == {
        at: sorted(f, key=str) for at, f in apart.items()
    }


def test_an_unfinished_key_in_one_value_hides_nothing_in_the_next():
    values = ["x" + ARMOUR, "anna@example.com", "A" * 60, "bob@example.com"]
    found = dict(SPANS.find_all(values))
    assert [f.kind for f in found[1]] == ["email"]
    assert [f.kind for f in found[3]] == ["email"]


def test_more_than_a_buffer_of_values():
    values = ["nothing here" if at % 3 else f"m{at}@example.com" for at in range(3 * _BUFFER_CHARS // 15)]
    assert [at for at, _ in SPANS.find_all(values)] == list(range(0, len(values), 3))


def test_a_value_longer_than_a_buffer():
    text = "word " * _BUFFER_CHARS + "anna@example.com"
    ((at, found),) = SPANS.find_all([text])
    assert at == 0
    assert [text[f.start : f.end] for f in found] == ["anna@example.com"]


def test_what_cannot_be_judged_is_not_clean():
    """More candidates than any honest text has: an attack on the checks must not pass as an empty finding."""
    nearly = "4111 1111 1111 1112 " * 50_000 + "anna@example.com"
    assert [f.kind for f in SPANS.find(nearly)] == [UNREADABLE]
    text = "11-11-11-11-" * 120_000
    assert [(f.kind, f.start, f.end) for f in SPANS.find(text)] == [(UNREADABLE, 0, len(text))]
    assert [f.kind for _, found in SPANS.find_all(["a", text]) for f in found] == [UNREADABLE]


def test_a_log_of_long_numbers_is_read_to_its_end():
    lines = [f"169999{n:013d} 4{n:015d} GET /items/{n} 200" for n in range(20_000)]
    found = SPANS.find("\n".join([*lines, "anna@example.com"]))
    assert [f.kind for f in found if f.kind != "payment_card"] == ["email"]


def test_another_recogniser_reads_along():
    class Names:
        name, version = "names", "1"

        def find(self, text):
            from vallum.guards import Finding

            at = text.find("Anna")
            return [Finding("names", "1", "person", at, at + 4)] if at >= 0 else []

    spans = SpanClassifier([Names()])
    assert [(at, [f.kind for f in found]) for at, found in spans.find_all(["Anna a@b.example", "x"])] == [
        (0, ["person", "email"])
    ]


HOSTILE = [
    "a@", "4111 1111 1111 1112 ", "1234567890", "1 2 3 4 ", "DE89 3704 0044 0532 0130 01 ", "1.1.1.1.1.1.", "a:b:c::",
    "phone: tel: ssn: iban: ", "+1+1+1", "-----BEGIN " + "PRIVATE KEY-----\n", "password=password=",
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_megabyte_costs_at_most_three_ordinary_ones(piece):
    """Ordinary: letters about customers, with a value in every hundred characters. The best of three each."""
    sentence = "Please send the report about our new office in the city to every member of the team before Friday. "
    written = (
        "Write to anna.smith@mail.example.com or call +49 30 1234567, or use card 4111 1111 1111 1111 today. "
        "Her SSN is 123-45-6789, she wrote from 192.168.17.4, the IBAN is DE89 3704 0044 0532 0130 00, and call"
        " 555-123-4567 before 2026-03-04; order 4916 2201 7730 1125 is open. "
    )
    ordinary = ((sentence * 4 + written) * 2000)[:1_000_000]
    hostile = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]

    def cost(text):
        began = time.process_time()
        SPANS.find(text)
        return time.process_time() - began

    allowed = 3 * min(cost(ordinary) for _ in range(3))
    assert any(cost(hostile) <= allowed for _ in range(3))
