"""Thrift's compact structures come back as they were; bytes that are none cost neither a crash nor the memory."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.readers.compact import parse_struct, render_struct

VECTOR = Path(__file__).parents[3] / "vectors" / "parquet" / "page_checksums.parquet"


def footer():
    raw = VECTOR.read_bytes()
    length = int.from_bytes(raw[-8:-4], "little")
    return raw[len(raw) - 8 - length : -8]


def test_a_footer_of_another_writer_is_rendered_to_the_byte():
    found, end = parse_struct(footer())
    assert end == len(footer())
    assert render_struct(found) == footer()
    assert found[3] == 20, "its rows"


def test_only_the_fields_that_are_asked_for_are_kept():
    found, _ = parse_struct(footer())
    kept, _ = parse_struct(render_struct(found.only(3, 1, 99)))
    assert dict(kept) == {1: found[1], 3: 20}


@given(st.binary(max_size=200) | st.integers(0, len(footer()) - 1).map(lambda at: footer()[at:]))
def test_noise_is_parsed_to_what_renders_to_the_same_or_refused(raw):
    try:
        found, _ = parse_struct(raw)
    except (ValueError, IndexError):
        return
    again, _ = parse_struct(render_struct(found))
    assert again == found


@pytest.mark.parametrize(
    "raw", [b"\x15\x02\x05\x02\x04\x00", b"\x1c" * 4000, b"\x1b\x01\x55\x02\x02", b"\x18\x7fshort"]
)
def test_what_readers_could_read_in_two_ways_or_without_end_is_refused(raw):
    with pytest.raises((ValueError, IndexError)):
        parse_struct(raw)


def test_a_structure_of_one_byte_takes_no_more_than_the_footers_bound_counts_on():
    empty, end = parse_struct(b"\x00")
    assert end == 1
    assert sys.getsizeof(empty) <= 100
