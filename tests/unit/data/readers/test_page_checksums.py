"""A bit that turned over in a Parquet file is told where the writer left checksums; a hostile file costs no time."""

from pathlib import Path
from time import process_time

import polars as pl
import pytest

from vallum.data.readers import Staging, open_table
from vallum.data.readers.page_checksums import verify_page_checksums
from vallum.data.table import BadData

VECTOR = Path(__file__).parents[3] / "vectors" / "parquet" / "page_checksums.parquet"


def parquet(tmp_path, raw):
    file = tmp_path / "words.parquet"
    file.write_bytes(raw)
    return file


def footer_at(raw):
    return len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")


def test_a_file_as_it_was_written_is_read(tmp_path):
    assert verify_page_checksums(VECTOR) == 4
    with Staging(tmp_path) as staging:
        assert open_table(VECTOR, staging).frame.collect().height == 20


def test_a_bit_that_turned_over_in_a_page_is_told(tmp_path):
    """Anywhere in the words: to the engine, another word is as good."""
    raw = VECTOR.read_bytes()
    places = [raw.index(f"word{n:03}".encode()) + offset for n in range(20) for offset in range(7)]
    for at in places:
        altered = bytearray(raw)
        altered[at] ^= 1
        file = parquet(tmp_path, altered)
        assert pl.read_parquet(file).height == 20, "nothing else tells"
        with pytest.raises(BadData, match=r"words\.parquet: a page is not what its checksum says"):
            verify_page_checksums(file)


def test_intake_refuses_what_was_damaged_as_a_file_and_within_a_folder(tmp_path):
    altered = bytearray(VECTOR.read_bytes())
    altered[altered.index(b"word007") + 6] ^= 1
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "0.parquet").write_bytes(VECTOR.read_bytes())
    file = parquet(folder, altered)
    for source in (file, folder):
        with Staging(tmp_path) as staging, pytest.raises(BadData, match="damaged"):
            open_table(source, staging)


def test_a_file_without_checksums_is_for_its_reader_to_judge(tmp_path):
    file = tmp_path / "plain.parquet"
    pl.DataFrame({"a": range(5000)}).write_parquet(file)
    assert verify_page_checksums(file) == 0


@pytest.mark.parametrize(
    "footer",
    [
        b"\x19\xf7" + b"\xff" * 8 + b"\x7f",  # a list of more doubles than there are bytes
        b"\x18\xff\xff\xff\xff\x7f",  # a text of 32 GiB
        b"\x1c" * 4000,  # structures without end
        b"\x19\xfc\xff\xff\xff\x7f" + bytes(1000),  # a list of empty structures
        b"\x1b\x01\x55\x02\x02",  # a map
        b"",
    ],
)
def test_a_footer_made_to_cost_time_costs_none(tmp_path, footer):
    file = parquet(tmp_path, b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    began = process_time()
    assert verify_page_checksums(file) == 0
    assert process_time() - began < 0.5


def varint(value):
    value, out = value * 2, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_chunks_that_lie_over_each_other_are_not_read_again_and_again(tmp_path):
    body = b"\x00" * (1 << 20)
    told = b"\x76" + varint(len(body)) + b"\x26" + varint(4) + b"\x00"  # metadata: 7 is its length, 9 where it begins
    chunk = b"\x3c" + told + b"\x00"
    many = 2000
    columns = b"\x19\xfc" + bytes([many & 127 | 128, many >> 7]) + chunk * many
    footer = b"\x49\x1c" + columns + b"\x00\x00"
    file = parquet(tmp_path, b"PAR1" + body + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    began = process_time()
    assert verify_page_checksums(file) == 0
    assert process_time() - began < 0.5


def test_any_bit_altered_anywhere_is_refused_or_read_and_nothing_else(tmp_path):
    raw = VECTOR.read_bytes()
    refused = 0
    for at in range(footer_at(raw)):
        altered = bytearray(raw)
        altered[at] ^= 1 << at % 8
        try:
            verify_page_checksums(parquet(tmp_path, altered))
        except BadData:
            refused += 1
    assert refused > 0.8 * (footer_at(raw) - 4)  # the rest is the headers of so small pages
