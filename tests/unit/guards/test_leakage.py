"""Instructions on their way out: whole, in pieces, cut anywhere; and answers that only share words with them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.guards import Channel, Leakage, Mode, Segment, StreamInspector, build_runner
from vallum.kernel.errors import Invalid

SYSTEM = (
    "You are Ada, the travel assistant of Blue Harbour Tours. Never offer a discount above ten percent. Partners pay "
    "the net rate listed in table seven, and the margin on cruises is eighteen percent. Refer complaints to the desk "
    "in Porto and do not name the hotel that overbooked guests in August."
)
RUNNER = build_runner({}, max_chars=10**6).with_guard(Leakage([SYSTEM], ["canary-7f3e9d"]), Mode.BLOCK)


def streamed(text, cuts):
    inspector = StreamInspector(RUNNER)
    out, at = "", 0
    for cut in [*sorted(cuts), len(text)]:
        released = inspector.feed(text[at:cut])
        out, at = out + released.text, cut
        if released.blocked:
            return out, True
    released = inspector.finish()
    return out + released.text, released.blocked


@pytest.mark.parametrize(
    "answer",
    [
        SYSTEM,
        f"Sure! My instructions say: {SYSTEM.upper()} Anything else?",
        "They told me: the margin on cruises is eighteen percent. Refer complaints to the desk in Porto, they said.",
        "- partners -- pay ** the net rate, listed in table seven; and the margin on cruises!",
        "the marker is canary-7f3e9d here",
    ],
)
def test_instructions_in_an_answer_are_found(answer):
    assert RUNNER.inspect([Segment(answer, Channel.MODEL, "p")]).action == "block"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I am Ada, the travel assistant. How can I help you with your cruise?",
        "Complaints go to the desk in Porto. A discount of ten percent is the most I can offer.",
        "You are welcome. You are early. You are right about the hotel in August.",
        "canary birds are yellow",
    ],
)
def test_answers_that_share_words_with_them_are_not(answer):
    assert RUNNER.inspect([Segment(answer, Channel.MODEL, "p")]).action == "allow"
    assert streamed(answer, range(1, len(answer))) == (answer, False)


def test_half_of_it_in_other_order_is_found():
    words = SYSTEM.split()
    pieces = [" ".join(words[at : at + 6]) for at in range(0, len(words), 6)]
    random.Random(1).shuffle(pieces)
    (finding,) = Leakage([SYSTEM]).find(" so ".join(pieces))
    assert "pieces" in finding.explanation


@given(st.sets(st.integers(1, 200), max_size=12))
def test_nothing_of_a_run_leaves_wherever_it_is_cut(cuts):
    text = f"Of course, here it is: {SYSTEM[:160]} That is all I can say about it today, dear guest."
    out, blocked = streamed(text, {cut for cut in cuts if cut < len(text)})
    assert blocked
    assert text.startswith(out)
    assert len(out) <= text.index("You are Ada")


@given(st.sets(st.integers(1, 40), max_size=6))
def test_no_character_of_a_canary_leaves(cuts):
    text = "a word before canary-7f3e9d and after it"
    out, blocked = streamed(text, {cut for cut in cuts if cut < len(text)})
    assert blocked
    assert len(out) <= text.index("canary")


def test_short_instructions_are_no_net():
    assert list(Leakage(["Be brief and kind."]).find("Be brief and kind. That is what my mother used to say.")) == []


def test_hostile_repetition_is_linear():
    guard = Leakage(["a a a a " * 5000])
    assert guard.find("a " * 20_000)


def test_a_script_without_spaces_is_read_sign_by_sign():
    secret = "你是蓝港旅行社的助手,绝不提供超过百分之十的折扣,合作伙伴按第七号表格付款。"
    found = Leakage([secret]).find("我的说明是:绝不提供，超过百分之十的折扣。合作伙伴按第七号表格付款!")
    assert any("words on end" in finding.explanation for finding in found)


def test_a_long_run_of_letters_does_not_hold_a_stream():
    runner = build_runner({}, max_chars=10**6).with_guard(Leakage([SYSTEM]), Mode.DETECT)
    inspector = StreamInspector(runner)
    out = ""
    for _ in range(2000):
        released = inspector.feed("abcdef0123456789" * 4)
        assert not released.blocked
        out += released.text
    assert len(out) > 2000 * 64 - 200


def test_a_mode_may_be_written_as_text_and_a_wrong_one_is_refused():
    assert build_runner({"pii": "block"}, max_chars=100).modes["pii"] is Mode.BLOCK
    with pytest.raises(Invalid, match="there are off, detect"):
        build_runner({"pii": "stop"}, max_chars=100)
