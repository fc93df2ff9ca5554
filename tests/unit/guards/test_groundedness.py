"""Sentences that the passages say, and sentences they do not; the same however the answer is cut."""

from hypothesis import given
from hypothesis import strategies as st

from vallum.guards.groundedness import Groundedness, support

PASSAGES = [
    "The museum opens at nine on weekdays and at ten on Sundays. Entry costs eight euros, children under twelve pay "
    "nothing. The tower can be climbed until five in the afternoon.",
    "Lost property is kept at the front desk for six weeks and then handed to the city's office in Harbour Street.",
]
GROUNDED = "On Sundays the museum opens at ten. Children under twelve pay nothing for entry to the museum."
INVENTED = "The director founded a second gallery with rare Egyptian mummies in 1921 beside the airport."
GUARD = Groundedness(PASSAGES)


def test_what_the_passages_say_is_supported():
    assert list(GUARD.find(GROUNDED)) == []
    assert support(GROUNDED, PASSAGES) > 0.6


def test_what_they_do_not_say_is_found_where_it_stands():
    text = f"{GROUNDED} {INVENTED} Lost property is kept at the front desk for six weeks."
    (finding,) = GUARD.find(text)
    assert INVENTED in text[finding.start : finding.end]
    assert finding.score > 0.65
    assert support(INVENTED, PASSAGES) < 0.2


def test_greetings_and_answers_without_passages_are_not_judged():
    assert list(GUARD.find("Hello! How are you? Yes. No, thanks.")) == []
    assert list(Groundedness([]).find(INVENTED)) == []
    assert support("Hi!", PASSAGES) == 1


@given(st.sets(st.integers(1, 250), max_size=10))
def test_a_stream_finds_what_the_whole_does(cuts):
    text = f"{GROUNDED} {INVENTED} It was 3.5 metres high, and nobody remembers the architect's surname today.\nEnd"
    cursor, found, at = GUARD.cursor(), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(text)), len(text)]:
        found += cursor.advance(text[at:cut], at, final=cut == len(text))[0]
        at = cut
    assert found == list(GUARD.find(text))


def test_many_words_are_bounded():
    guard = Groundedness(["word " * 200_000] * 3)
    assert guard.support("several other things stand nowhere among those passages") < 0.2
