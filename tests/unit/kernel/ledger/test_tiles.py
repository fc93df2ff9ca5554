import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import IntegrityError
from vallum.kernel.ledger.tiles import parse_bundle, render_bundle, tile_path


def test_paths_are_those_of_the_standard():
    assert tile_path(0, 0, 256) == "tile/0/000"
    assert tile_path(3, 1234067, 256) == "tile/3/x001/x234/067"
    assert tile_path("entries", 999, 256) == "tile/entries/999"
    assert tile_path("entries", 1000, 12) == "tile/entries/x001/000.p/12"


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_round_trip(entries):
    assert parse_bundle(render_bundle(entries)) == entries


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5), st.data())
def test_a_bundle_that_is_cut_off_is_found_or_shorter(entries, data):
    raw = render_bundle(entries)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with contextlib.suppress(IntegrityError):
        assert len(parse_bundle(cut)) < len(entries)


def test_a_length_without_its_entry_is_refused():
    with pytest.raises(IntegrityError):
        parse_bundle(b"\0")
