import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.demo import demo_configuration, demo_documents
from vallum.inventory import parse_files
from vallum.retrieval import PassageIndex

INDEX = PassageIndex({
    "a.md": "# Leave\n\nThirty days of leave are granted.\n\nCarry over five days.\n\n# Travel\n\nBook trains early.",
    "b.md": "A page without a heading, about laptops.",
})  # fmt: skip


def test_the_best_passage_comes_first_word_for_word():
    (first, *_) = INDEX.search("How many days are granted?", 3)
    assert (first.source, first.heading, first.text) == ("a.md", "Leave", "Thirty days of leave are granted.")


def test_words_are_found_by_their_stem_and_in_any_case():
    assert INDEX.search("BOOKING A TRAIN", 1)[0].heading == "Travel"
    assert INDEX.search("my laptop", 1)[0].source == "b.md"


@pytest.mark.parametrize(
    "question", ["", "the of and", "zzzz", "?!", '"', "a OR b NEAR(", "'; DROP TABLE passages; --"]
)
def test_a_question_that_fits_nothing_finds_nothing(question):
    assert INDEX.search(question, 3) == []


@given(st.text(max_size=200))
def test_any_question_is_safe(question):
    INDEX.search(question, 2)
    assert INDEX.search("leave", 1)


def test_the_demonstration_answers_from_its_documents():
    documents = demo_documents()
    index = PassageIndex(documents)
    found = index.search("How do I report a lost laptop?", 1)[0]
    assert "laptop" in found.text
    assert found.text in " ".join(documents[found.source].split())


def test_the_demonstrations_configuration_fits_together():
    configuration = parse_files(demo_configuration())
    assert list(configuration.problems()) == []
    assert list(configuration.applications) == ["handbook-assistant"]
