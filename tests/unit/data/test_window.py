"""Integers seen, counted without sorting: the same counts as a set's, wherever they lie and however they come."""

import pytest

np = pytest.importorskip("numpy")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vallum.data.window import Window  # noqa: E402

ENDS = [-(2**63), 2**63 - 1]
batches = st.lists(
    st.lists(st.integers(-40, 40) | st.integers(2**40, 2**40 + 50) | st.sampled_from(ENDS), max_size=12), max_size=8
)


@settings(max_examples=100, deadline=None)
@given(batches=batches, span=st.integers(1, 300))
def test_it_counts_what_a_set_counts_and_takes_a_batch_whole_or_not_at_all(batches, span):
    window, taken = Window(span), []
    for batch in batches:
        if window.add(np.array(batch, dtype=np.int64)):
            taken += batch
    assert window.count == len(taken)
    assert window.distinct() == len(set(taken))
    assert window.values().tolist() == sorted(set(taken))


def test_what_lies_close_together_fits_at_either_end():
    for start in (-(2**63), 2**63 - 100, -50):
        window = Window(100)
        assert window.add(np.arange(start, start + 50, dtype=np.int64))
        assert window.add(np.arange(start + 50, start + 99, dtype=np.int64))
        assert window.distinct() == 99


def test_what_lies_far_apart_does_not_fit():
    window = Window()
    assert window.add(np.array([0], dtype=np.int64))
    assert not window.add(np.array(ENDS, dtype=np.int64))
    assert (window.count, window.distinct()) == (1, 1)
