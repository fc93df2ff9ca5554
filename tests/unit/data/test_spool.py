"""Spools: the same as a set in memory, with files and bounded memory."""

import pytest

np = pytest.importorskip("numpy")

from collections import Counter  # noqa: E402

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vallum.data.spool import Spool, spread  # noqa: E402

keys = st.lists(st.integers(0, 12) | st.integers(0, 2**64 - 1) | st.sampled_from([2**63, 2**64 - 1]), max_size=60)


def filled(folder, values, run_keys=4):
    spool = Spool(folder, run_keys)
    for at in range(0, len(values), 3):
        spool.add(np.array(values[at : at + 3], dtype=np.uint64))
    return spool


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(keys, keys)
def test_a_spool_counts_as_a_set_does(tmp_path, mine, theirs):
    with filled(tmp_path, mine) as here, filled(tmp_path, theirs, 7) as there:
        assert here.repeats() == len(mine) - len(set(mine))
        assert here.distinct() == len(set(mine))
        assert set(here.repeated_keys(1000).tolist()) == {k for k, n in Counter(mine).items() if n > 1}
        count, shared = here.shared(there, 1000)
        assert count == sum(k in set(theirs) for k in mine)
        assert set(shared.tolist()) == set(mine) & set(theirs)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=200))
def test_spreading_keeps_values_apart(values):
    assert len(set(spread(np.array(values, dtype=np.int64)).tolist())) == len(values)


def test_small_neighbours_are_spread_over_the_whole_range():
    tops = np.bincount((spread(np.arange(100_000)) >> np.uint64(60)).astype(int), minlength=16)
    assert tops.min() > 100_000 / 16 * 0.9
    strided = np.bincount((spread(np.arange(100_000) << 40) >> np.uint64(60)).astype(int), minlength=16)
    assert strided.min() > 100_000 / 16 * 0.8, "timestamps differ in their high bits alone"
