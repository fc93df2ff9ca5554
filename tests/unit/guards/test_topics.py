import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.guards import Channel, Mode, Segment, StreamInspector, Topic, TopicGuard, build_runner
from vallum.kernel.errors import Invalid

POLITICS = Topic("politics", ("elect*", "parliament", "chancellor", "Wähler*"), least=2)


def kinds(text):
    return [(f.kind, text[f.start : f.end]) for f in TopicGuard([POLITICS]).find(text)]


def test_several_words_make_a_topic():
    assert kinds("Who wins the ELECTION in parliament?") == [("topic_politics", "parliament")]
    assert kinds("Der Kanzler und seine WÄHLERINNEN vor der Election") == [("topic_politics", "Election")]


def test_one_word_is_no_topic_however_often():
    assert kinds("the election, the elections, an electoral roll of the elected") == []
    assert kinds("selection of parliamentarians") == []  # words, not pieces of them


@pytest.mark.parametrize(
    "topic",
    [Topic("t", ("two words", "x")), Topic("t", ("*", "x")), Topic("t", ("a" * 41, "b")), Topic("t", ("a", "A"), 2)],
)
def test_what_can_never_match_is_refused(topic):
    with pytest.raises(Invalid, match="topic t"):
        TopicGuard([topic])


words = st.sampled_from(["election", "parliament", "chancellor", "a", "elect", "b" * 50, "x_y", "é", "Wähler"])


@given(st.lists(words).map(" ".join), st.lists(st.integers(0, 60)))
def test_a_stream_finds_what_the_whole_does(text, cuts):
    guard, cursor = TopicGuard([POLITICS, Topic("all", ("a", "é", "b*"), 3)]), None
    cursor = guard.cursor()
    found, held = [], 0
    for end in sorted({min(c, len(text)) for c in cuts}):
        fresh, held = cursor.advance(text[:end], 0, final=False)
        assert end - held <= 40
        found += fresh
    fresh, _ = cursor.advance(text[held:], held, final=True)
    assert [*found, *fresh] == list(guard.find(text))
    assert all(0 <= f.start < f.end <= len(text) for f in guard.find(text))


def test_a_stream_about_it_ends_there():
    runner = build_runner({"topics": Mode.BLOCK}, max_chars=1000, topics=[POLITICS])
    inspector = StreamInspector(runner)
    first = inspector.feed("The chancellor said something long enough to be read by now, and then in parl")
    assert not first.blocked
    assert inspector.feed("iament, which is a house of many chairs and of many people too").blocked
    segment = Segment("chancellor of parliament", Channel.USER, "test")
    inspection = runner.inspect([segment])
    assert (inspection.action, inspection.findings[0].kind) == ("block", "topic_politics")


@pytest.mark.parametrize(
    "text",
    [
        "the chan\u00adcellor in par\u200bliament",
        "the chancellor and his W\u0061\u0308hler",
        "CHANCELLOR\ufe0f parliament",
    ],
)
def test_what_is_not_seen_hides_no_word(text):
    assert [kind for kind, _ in kinds(text)] == ["topic_politics"]


def test_words_with_vowel_signs_are_words():
    guard = TopicGuard([Topic("t", ("चुनाव", "संसद"))])
    assert [f.kind for f in guard.find("संसद में चुनाव")] == ["topic_t"]


def test_one_word_that_two_entries_name_counts_once():
    guard = TopicGuard([Topic("p", ("elect*", "election"))])
    assert guard.find("An election.") == []
    assert guard.find("An election of the elected.") == []  # both are `elect*`


def test_the_messages_of_one_channel_count_together():
    runner = build_runner({"topics": Mode.BLOCK}, max_chars=1000, topics=[POLITICS])
    pieces = [Segment(text, Channel.USER, "t") for text in ("the chancellor", "and then", "parliament")]
    assert runner.inspect(pieces).action == "block"
    mixed = [Segment("the chancellor", Channel.USER, "t"), Segment("parliament", Channel.TOOL, "t")]
    assert runner.inspect(mixed).action == "allow"
