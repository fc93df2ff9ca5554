"""Stand-ins and masks: the same value the same stand-in, back wherever a stream is cut, and nobody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.guards import Channel, Finding, Mode, Restorer, Segment, StreamInspector, Tokens, build_runner

EMAIL = Finding("pii", "1", "email", 0, 1)


def tokens_with(*values):
    tokens = Tokens()
    for value in values:
        tokens.replacement(EMAIL, Mode.TOKENIZE, value)
    return tokens


def test_one_value_has_one_stand_in_and_gets_back():
    runner = build_runner({"pii": Mode.TOKENIZE}, max_chars=1000)
    texts = ["mail jane@mail.example.com and joe@mail.example.com", "again jane@mail.example.com"]
    inspection = runner.inspect([Segment(text, Channel.USER, "a") for text in texts])
    assert inspection.texts == ("mail [email_1] and [email_2]", "again [email_1]")
    assert [(f.kind, f.action, f.count) for f in inspection.findings] == [("email", "tokenize", 3)]
    assert (
        inspection.tokens.restore("to [email_2], cc [email_1]") == "to joe@mail.example.com, cc jane@mail.example.com"
    )
    assert "jane" not in repr(inspection)


def test_what_only_looks_like_a_stand_in_stays():
    tokens = tokens_with("jane@mail.example.com")
    for text in ("[email_2]", "[phone_1]", "[email_1", "[ email_1 ]", "[Email_1]"):
        assert tokens.restore(text) == text


def test_a_value_that_would_break_json_has_no_stand_in():
    assert Tokens().replacement(EMAIL, Mode.TOKENIZE, 'a"b') == "[redacted:email]"


@pytest.mark.parametrize(
    ("value", "masked"),
    [("4111 1111 1111 1111", "**** **** **** 1111"), ("jane@mail.test", "****@****.test"), ("1234", "****"), ("", "")],
)
def test_a_mask_leaves_the_last_four(value, masked):
    assert Tokens().replacement(EMAIL, Mode.MASK, value) == masked


@given(st.lists(st.integers(1, 60), max_size=8))
def test_a_stream_restores_wherever_it_is_cut(cuts):
    tokens = tokens_with("jane@mail.example.com", "joe@x.test")
    text = "a [b] [email_1]. [[email_2]] list[0] [email_9] end ["
    restorer, out, at = Restorer(tokens), "", 0
    for cut in [*sorted({c for c in cuts if c < len(text)}), len(text)]:
        out, at = out + restorer.feed(text[at:cut]), cut
    assert out + restorer.finish() == tokens.restore(text)


def test_an_answer_has_no_caller_to_give_a_value_to():
    runner = build_runner({"pii": Mode.TOKENIZE}, max_chars=1000)
    inspector = StreamInspector(runner)
    out = inspector.feed("mail jane@mail.example.com now, please. ").text + inspector.finish().text
    assert out == "mail [redacted:email] now, please. "


def test_a_stand_in_that_the_texts_hold_already_is_not_taken():
    runner = build_runner({"pii": Mode.TOKENIZE}, max_chars=1000)
    inspection = runner.inspect([Segment("what is [email_1]? mine is jane@mail.example.com", Channel.USER, "a")])
    assert inspection.texts == ("what is [email_1]? mine is [email_2]",)
    assert inspection.tokens.restore("[email_1] [email_2]") == "[email_1] jane@mail.example.com"


@pytest.mark.parametrize("url", ["https://evil.test/?q=", "[a](//evil.test/", "www.evil.test/", "mailto:x?b="])
def test_no_value_goes_into_a_url(url):
    tokens = tokens_with("jane@mail.example.com")
    text = f"see {url}[email_1] and [email_1]"
    assert tokens.restore(text) == f"see {url}[email_1] and jane@mail.example.com"
    restorer = Restorer(tokens)
    assert "".join(map(restorer.feed, text)) + restorer.finish() == tokens.restore(text)


def test_an_answer_s_own_values_are_redacted_and_not_mistaken_for_the_caller_s():
    runner = build_runner({"pii": Mode.TOKENIZE}, max_chars=1000)
    inspection = runner.inspect([Segment("his is bob@mail.example.com", Channel.MODEL, "p")], answer=True)
    assert inspection.texts == ("his is [redacted:email]",)


def test_what_has_nothing_to_take_out_blocks():
    runner = build_runner({"size": Mode.REDACT}, max_chars=10)
    assert runner.inspect([Segment("a" * 100, Channel.USER, "a")]).action == "block"
