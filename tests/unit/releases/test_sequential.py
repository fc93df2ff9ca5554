"""The canary's test keeps its promise, shown and not hoped: exact expectations, simulated lifetimes, and its power."""

import random
from itertools import product
from math import comb, exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.releases.sequential import Block, Evidence, evidence_limit, updated

RATE = st.floats(0.0, 1.0)


def after(blocks, evidence=Evidence()):
    for block in blocks:
        evidence = updated(evidence, block)
    return evidence


@st.composite
def histories(draw):
    blocks = []
    for _ in range(draw(st.integers(0, 3))):
        canary, stable = draw(st.integers(0, 40)), draw(st.integers(0, 200))
        blocks.append(Block(draw(st.integers(0, canary)), canary, draw(st.integers(0, stable)), stable))
    return after(blocks)


@given(histories(), st.integers(1, 5), st.integers(1, 7), RATE, RATE)
def test_no_block_is_expected_to_add_evidence_against_a_canary_that_is_no_worse(before, n, m, one, other):
    """Over every outcome of the block, exactly: this is the whole proof of the false-alarm budget."""
    canary, stable = min(one, other), max(one, other)
    expected = 0.0
    for yes_c, yes_s in product(range(n + 1), range(m + 1)):
        chance = binomial(n, yes_c, canary) * binomial(m, yes_s, stable)
        expected += chance * updated(before, Block(yes_c, n, yes_s, m)).value
    assert expected <= before.value * (1 + 1e-9)


@given(histories(), st.integers(0, 50), st.integers(0, 50))
def test_one_side_alone_says_nothing(before, n, m):
    assert updated(before, Block(n, n, 0, 0)).value == before.value
    assert updated(before, Block(0, 0, m, m)).value == before.value


def test_lifetimes_of_good_canaries():
    """Two hundred requests a look, a hundred looks, at 5 %: of 400 canaries, at most what the budget allows."""
    draw, limit, stopped = random.Random(5), evidence_limit(0.05), 0
    for _ in range(400):
        evidence, rate = Evidence(), draw.choice([0.001, 0.02, 0.3])
        for _ in range(100):
            evidence = updated(evidence, Block(failures(draw, 20, rate), 20, failures(draw, 180, rate), 180))
            if evidence.value >= limit:
                stopped += 1
                break
    assert stopped <= 400 * 0.05


def test_bad_canaries_are_stopped_soon():
    draw, limit = random.Random(6), evidence_limit(0.01 / 3)
    for stable, canary, requests in ((0.01, 0.5, 60), (0.01, 0.1, 400), (0.05, 0.15, 1500)):
        needed = []
        for _ in range(40):
            evidence = Evidence()
            while evidence.value < limit and evidence.canary_all < 20_000:
                evidence = updated(evidence, Block(failures(draw, 10, canary), 10, failures(draw, 90, stable), 90))
            needed.append(evidence.canary_all)
        assert sorted(needed)[len(needed) // 2] <= requests, (stable, canary, sorted(needed))


def test_enormous_counts_and_impossible_ones():
    sure = after([Block(0, 1000, 0, 10_000)] + [Block(10**6, 10**6, 0, 10**6)] * 3)
    assert sure.value > 1e300
    assert after([Block(0, 10**6, 10**6, 10**6)] * 3).value < 1e-6
    for bad in ((2, 1, 0, 0), (-1, 1, 0, 0), (0, 0, 5, 4)):
        with pytest.raises(ValueError):
            Block(*bad)
    for budget in (0, 1, -1, 2):
        with pytest.raises(ValueError):
            evidence_limit(budget)
    assert evidence_limit(0.01) == pytest.approx(100)
    assert Evidence().value == exp(0)


def failures(draw, of, rate):
    return sum(draw.random() < rate for _ in range(of))


def binomial(of, yes, rate):
    return comb(of, yes) * rate**yes * (1 - rate) ** (of - yes)
