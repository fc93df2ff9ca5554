"""Arrow streams cut apart as they arrive: the same rows, one batch at a time, and never fewer unnoticed."""

from contextlib import suppress

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.client.frames import frames_of
from vallum.data.catalogue.arrow import ipc_stream
from vallum.kernel.errors import Invalid

PARTS = [
    pl.DataFrame(
        {"n": [at, None], "text": ["a", "Ω" * 40], "on": [None, "2026-01-01"], "list": [[1], None]},
        schema_overrides={"n": pl.Int64, "list": pl.List(pl.Int64)},
    ).with_columns(pl.col("on").str.to_date())
    for at in range(3)
]
RAW = b"".join(ipc_stream(iter(PARTS)))


@given(st.integers(1, len(RAW)))
def test_however_it_arrives_it_is_the_same(size):
    pieces = iter([RAW[at : at + size] for at in range(0, len(RAW), size)])
    got = list(frames_of(pieces))
    assert [frame.height for frame in got] == [2, 2, 2]
    assert pl.concat(got).equals(pl.concat(PARTS))


@given(st.integers(0, len(RAW) - 1))
def test_one_that_is_cut_anywhere_is_refused(at):
    with pytest.raises(Invalid):
        list(frames_of(iter([RAW[:at]])))


@given(st.binary(max_size=300))
def test_noise_is_refused(noise):
    with pytest.raises(Invalid):
        list(frames_of(iter([noise])))


@pytest.mark.parametrize("at", range(8, 176, 4))
def test_offsets_that_lead_elsewhere_are_refused_or_harmless(at):
    raw = bytearray(RAW)
    raw[at : at + 4] = b"\xff\xff\xff\x7f"
    with suppress(Invalid, pl.exceptions.PolarsError):
        list(frames_of(iter([bytes(raw)])))
