"""One value in, one value out."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.anonymise import (
    date_of,
    generalise_date,
    generalise_number,
    generalise_prefix,
    keyed_hash,
    mask,
    redact,
    shift_date,
)
from vallum.kernel.errors import Invalid

KEY, OTHER = b"k" * 32, b"o" * 32


@given(st.text(), st.integers(0, 50))
def test_a_mask_never_shows_more_than_half(value, keep):
    masked = mask(value, keep)
    kept = len(value) // 2
    assert len(masked) == len(value)
    assert masked[: len(value) - kept] == "*" * (len(value) - kept)


def test_a_mask_keeps_the_end():
    assert mask("4111111111111111") == "************1111"
    assert mask("abc") == "**c"
    assert mask("a") == "*"
    assert redact("a") == redact("something longer")


@given(st.text(), st.text())
def test_a_hash_is_equal_for_equal_values_of_one_column_and_one_key(one, two):
    assert (keyed_hash(one, KEY, "c") == keyed_hash(two, KEY, "c")) == (one == two)
    assert keyed_hash(one, KEY, "c") != keyed_hash(one, KEY, "d")
    assert keyed_hash(one, KEY, "c") != keyed_hash(one, OTHER, "c")


def test_a_column_and_a_value_do_not_run_into_each_other():
    assert keyed_hash("bc", KEY, "a") != keyed_hash("c", KEY, "ab")


def test_a_short_key_is_refused():
    with pytest.raises(Invalid, match="16"):
        keyed_hash("x", b"short", "c")
    with pytest.raises(Invalid, match="16"):
        shift_date(date(2026, 1, 1), "s", b"")


@given(st.floats(-1e9, 1e9), st.floats(0.5, 1e6))
def test_a_number_lies_in_its_interval(value, width):
    low, high = (float(part) for part in generalise_number(value, width).strip("[)").split(", "))
    slack = 1e-5 * max(1.0, abs(value), width)  # six figures are printed
    assert low - slack <= value <= high + slack


def test_coarser_values():
    assert generalise_number(27, 10) == "[20, 30)"
    assert [generalise_date(date(1987, 11, 3), to) for to in ("month", "quarter", "year", "decade")] == [
        "1987-11", "1987-Q4", "1987", "1980s",
    ]  # fmt: skip
    assert generalise_prefix("10117", 3) == "101*"
    assert generalise_prefix("1", 3) == "1"
    for nonsense in (float("nan"), float("inf")):
        with pytest.raises(Invalid):
            generalise_number(nonsense, 10)


dates = st.dates(date(1900, 1, 1), date(2100, 1, 1))


@given(dates, dates, st.text(), st.integers(1, 400))
def test_dates_of_a_subject_move_together_and_never_stay(one, two, subject, most):
    moved, also = shift_date(one, subject, KEY, most), shift_date(two, subject, KEY, most)
    assert moved - one == also - two
    assert 1 <= abs((moved - one).days) <= most


def test_subjects_and_keys_move_differently():
    day = date(2026, 1, 1)
    assert len({shift_date(day, f"s{n}", KEY) for n in range(200)}) > 100
    assert shift_date(day, "s", KEY) != shift_date(day, "s", OTHER)
    with pytest.raises(Invalid, match="calendar"):
        [shift_date(date(9999, 12, 31), f"s{n}", KEY) for n in range(20)]


def test_what_is_no_date_is_not_quoted():
    with pytest.raises(Invalid) as caught:
        date_of("my secret")
    assert "secret" not in str(caught.value)
