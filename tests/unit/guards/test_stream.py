"""The hold-back window: for every rule and every split, what leaves is what the whole would let through."""

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.guards import WINDOW_CHARS, Channel, Mode, Segment, StreamInspector, build_runner
from vallum.guards.stream import MAX_HELD_CHARS

ALL = ("secrets", "pii", "unicode", "deny")
CLEAN = (
    "Thirty days of leave are granted in each year of service, and travel is booked two weeks ahead. Version 3.1.4 of "
    "the handbook (2024-05-06) says: ask your lead; 12 of 15 teams do. See section 7.2, or chapter 10. "
)


def runner_in(mode, max_chars=1_000_000):
    return build_runner(dict.fromkeys(ALL, mode), deny_phrases=["project bluebird"], max_chars=max_chars)


BLOCK, REDACT, DETECT = runner_in(Mode.BLOCK), runner_in(Mode.REDACT), runner_in(Mode.DETECT)


def whole(runner, text):
    return runner.inspect([Segment(text, Channel.MODEL, "test")])


def streamed(runner, pieces):
    inspector = StreamInspector(runner)
    out, findings = "", []
    for released in [*map(inspector.feed, pieces), inspector.finish()]:
        out += released.text
        findings += released.findings
        if released.blocked:
            return out, findings, True
    return out, findings, False


def counts(findings):
    total = {}
    for f in findings:
        total[f.guard, f.kind, f.action] = total.get((f.guard, f.kind, f.action), 0) + f.count
    return total


def cut(text, places):
    places = [0, *sorted(places), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


@pytest.fixture(scope="module")
def matches(secrets, personal):
    return {**secrets, **personal, "denied": "Project  BLUEBIRD", "tags": "\U000e0041\U000e0042", "zero": "a\u200bb"}


def test_no_character_of_a_blocked_match_leaves_at_any_split(matches):
    for kind, value in matches.items():
        text = f"It is {value} indeed. " + CLEAN
        starts = [f.start for f in _findings(text)]
        for at in range(1, min(len(text), 400)):
            out, _, blocked = streamed(BLOCK, cut(text, [at]))
            assert blocked, (kind, at)
            assert text.startswith(out)
            assert len(out) <= min(starts), (kind, at)


def test_no_character_of_a_blocked_match_leaves_character_by_character(matches):
    for kind, value in matches.items():
        text = f"It is {value} indeed. " + CLEAN
        out, _, blocked = streamed(BLOCK, list(text))
        assert blocked, kind
        assert len(out) <= min(f.start for f in _findings(text)), kind


def _findings(text):
    return BLOCK._find(text, time.monotonic(), with_rules=True)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_stream_says_what_the_whole_would_have_said(data, matches):
    values = st.sampled_from(sorted(matches.values()))
    noise = st.text(alphabet="ab1 .-:@/+0()eyJskDE?\u200b\u200dé\n=", max_size=40)
    text = "".join(data.draw(st.lists(st.one_of(values, noise, st.just(" "), st.just(CLEAN[:60])), max_size=8)))
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    for runner in (REDACT, DETECT):
        inspection = whole(runner, text)
        out, findings, blocked = streamed(runner, cut(text, places))
        assert not blocked
        assert out == inspection.texts[0]
        assert counts(findings) == counts(inspection.findings)
    expected = whole(BLOCK, text).action == "block"
    assert streamed(BLOCK, cut(text, places))[2] == expected


def test_clean_text_is_delayed_by_at_most_the_window():
    text = CLEAN * 20
    for piece_chars in (1, 3, 7, 20, 500):
        inspector = StreamInspector(BLOCK)
        fed = released = 0
        for at in range(0, len(text), piece_chars):
            piece = text[at : at + piece_chars]
            fed += len(piece)
            released += len(inspector.feed(piece).text)
            assert fed - released <= WINDOW_CHARS
        assert released + len(inspector.finish().text) == len(text)


def test_words_without_spaces_are_delayed_by_at_most_the_window():
    rng = random.Random(1)
    inspector = StreamInspector(BLOCK)
    released = 0
    for fed in range(1, 5_000):
        released += len(inspector.feed(rng.choice("abcdefghijklmnopqrstuvwxyz")).text)
        assert fed - released <= WINDOW_CHARS


def test_what_never_resolves_is_refused_and_not_released(secrets):
    inspector = StreamInspector(REDACT)
    begin = secrets["private_key"].splitlines()[0]
    out = inspector.feed("here: " + begin).text
    for _ in range(MAX_HELD_CHARS // 1000 * 2):
        released = inspector.feed("A" * 1000)
        out += released.text
        if released.blocked:
            break
    assert released.blocked
    assert out == "here: "
    assert [f.kind for f in released.findings] == ["guard_failed"]


def test_after_a_block_nothing_leaves(secrets):
    inspector = StreamInspector(BLOCK)
    assert inspector.feed(f"{secrets['vallum_key']} and more, much more than before. " + CLEAN).blocked
    assert inspector.feed(CLEAN).text == ""
    assert inspector.finish().text == ""
    assert inspector.finish().blocked


def test_an_oversized_answer_is_cut():
    runner = build_runner({"size": Mode.BLOCK}, max_chars=100)
    out, findings, blocked = streamed(runner, ["a" * 60, "b" * 60, "c" * 60])
    assert blocked
    assert out == "a" * 60
    assert counts(findings) == {("size", "oversized", "block"): 1}


def test_an_oversized_answer_is_noted_once_in_mode_detect():
    runner = build_runner({"size": Mode.DETECT}, max_chars=100)
    out, findings, blocked = streamed(runner, ["a" * 60, "b" * 60, "c" * 60])
    assert not blocked
    assert len(out) == 180
    assert counts(findings) == {("size", "oversized", "detect"): 1}


def test_a_guard_that_fails_blocks_the_stream():
    class Failing:
        name, version = "failing", "1"

        def find(self, text):
            raise RuntimeError("no")

        def cursor(self):
            return self

        def advance(self, text, origin, *, final):
            raise RuntimeError("no")

    from vallum.guards import GuardRunner

    released = StreamInspector(GuardRunner([(Failing(), Mode.DETECT)])).feed("hello " * 10)
    assert released.blocked
    assert released.text == ""
    assert [(f.guard, f.kind, f.action) for f in released.findings] == [("failing", "guard_failed", "block")]


def test_what_is_released_shows_no_text(secrets):
    assert "secret plan" not in repr(StreamInspector(DETECT).feed("the secret plan " * 20))
