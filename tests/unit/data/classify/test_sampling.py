"""The bounds of a sample, against the exact hypergeometric probability."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.classify import detection_probability, missed_at_most, sample_size
from vallum.kernel.errors import Invalid


@given(st.integers(1, 200), st.data())
def test_the_binomial_bound_never_promises_more_than_sampling_without_return_keeps(total, data):
    held = data.draw(st.integers(0, total))
    read = data.draw(st.integers(0, total))
    exact = 1 - comb(total - held, read) / comb(total, read)
    assert detection_probability(read, held / total) <= exact + 1e-12


@given(st.integers(1, 10_000), st.floats(0.5, 0.999))
def test_what_may_have_been_missed_is_missed_with_the_probability_stated(read, confidence):
    share = missed_at_most(read, 10**9, confidence)
    assert detection_probability(read, share) == pytest.approx(confidence)


@given(st.floats(0.0001, 0.9), st.floats(0.5, 0.999), st.floats(0.5, 1.0))
def test_a_sample_size_is_the_smallest_that_keeps_the_promise(share, confidence, recall):
    size = sample_size(share, confidence, recall)
    assert detection_probability(size, share, recall) >= confidence - 1e-9
    assert size == 1 or detection_probability(size - 1, share, recall) < confidence + 1e-9


def test_a_full_scan_misses_nothing_that_rules_recognise():
    assert missed_at_most(100, 100) == 0.0
    assert missed_at_most(0, 100) == 1.0


def test_nonsense_is_refused():
    for call in (
        lambda: sample_size(0),
        lambda: sample_size(0.1, 1.0),
        lambda: sample_size(-1),
        lambda: missed_at_most(1, 2, 3),
        lambda: detection_probability(1, 2),
    ):
        with pytest.raises(Invalid):
            call()
