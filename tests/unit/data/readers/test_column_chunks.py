"""Column chunks that are cut out are the rows that the file has, and nothing of what was left out."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.data.readers import column_chunks
from vallum.data.readers.column_chunks import cut_into_files

VECTOR = Path(__file__).parents[3] / "vectors" / "parquet" / "page_checksums.parquet"
FRAME = pl.DataFrame(
    {
        "id": range(1000), "word": [None if i % 7 == 0 else f"word {i % 13}" for i in range(1000)],
        "x": [float("nan") if i % 5 == 0 else i / 3 for i in range(1000)], "yes": [i % 3 == 0 for i in range(1000)],
        "on": [date(2026, 1, 1 + i % 28) for i in range(1000)], "none": pl.Series([None] * 1000, dtype=pl.Int16),
        "at": pl.Series([datetime(2026, 1, 1, 1, i % 60, tzinfo=UTC) for i in range(1000)]),
        "cost": [Decimal(i) / 100 for i in range(1000)], "raw": [bytes([i % 256]) * 3 for i in range(1000)],
    }
)  # fmt: skip


def written(folder, frame, **how):
    path = folder / "orders.parquet"
    frame.write_parquet(path, **how)
    return path


def cut(path, columns, least=1):
    with cut_into_files(path, columns, least) as files:
        return None if files is None else [b"".join(file.pieces()) for file in files]


def read(files):
    return pl.concat([pl.read_parquet(io.BytesIO(raw)) for raw in files])


@settings(max_examples=40)
@given(
    columns=st.lists(st.sampled_from(FRAME.columns), min_size=1, unique=True), group=st.integers(20, 1200),
    least=st.integers(1, 1500), codec=st.sampled_from(["zstd", "uncompressed", "snappy", "lz4"]),
    page=st.sampled_from([None, 64, 4000]),
)  # fmt: skip
def test_what_is_cut_out_is_the_rows_of_those_columns(tmp_path_factory, columns, group, least, codec, page):
    path = written(tmp_path_factory.mktemp("cut"), FRAME, row_group_size=group, compression=codec, data_page_size=page)
    files = cut(path, columns, least)
    assert read(files).equals(FRAME.select(columns))
    assert all(pl.read_parquet(io.BytesIO(raw)).height >= least for raw in files[:-1])


def test_of_another_writer_too():
    files = cut(VECTOR, pl.read_parquet(VECTOR).columns)
    assert read(files).equals(pl.read_parquet(VECTOR))


def test_nothing_of_other_columns_nor_of_what_the_writer_said_comes_along(tmp_path):
    frame = FRAME.with_columns(secret=pl.lit("hunter2") + pl.col("id").cast(pl.String))
    path = written(tmp_path, frame, compression="uncompressed", metadata={"owner": "somebody"})
    assert b"hunter2" in path.read_bytes()
    (raw,) = cut(path, ["id", "word"])
    assert not [left for left in (b"hunter2", b"secret", b"somebody") if left in raw]
    length = int.from_bytes(raw[-8:-4], "little")
    assert b"word 12" not in raw[len(raw) - 8 - length :], "statistics show values"


def test_bytes_that_no_page_accounts_for_are_not_taken_along(tmp_path):
    """Behind the last page of a chunk something could lie that no reader ever showed to a gate."""
    raw = written(tmp_path, FRAME.select("id"), compression="uncompressed").read_bytes()
    length = int.from_bytes(raw[-8:-4], "little")
    footer = column_chunks.parse_struct(raw[len(raw) - 8 - length : -8])[0]
    told = footer[4][0][1][0][3]
    hidden = b"what nobody saw"
    end = min(at for at in (told[9], told.get(11)) if at) + told[7]
    told[7] += len(hidden)
    rendered = column_chunks.render_struct(footer)
    path = tmp_path / "hidden.parquet"
    path.write_bytes(raw[:end] + hidden + rendered + len(rendered).to_bytes(4, "little") + b"PAR1")
    assert cut(path, ["id"]) is None


def test_one_chunk_told_of_a_thousand_times_is_not_multiplied(tmp_path):
    raw = written(tmp_path, FRAME.select("id", "x")).read_bytes()
    length = int.from_bytes(raw[-8:-4], "little")
    footer = column_chunks.parse_struct(raw[len(raw) - 8 - length : -8])[0]
    groups = footer[4]
    for _ in range(999):
        groups.append(groups[0])
    footer[3] *= 1000
    rendered = column_chunks.render_struct(footer)
    path = tmp_path / "many.parquet"
    path.write_bytes(raw[: len(raw) - 8 - length] + rendered + len(rendered).to_bytes(4, "little") + b"PAR1")
    assert pl.scan_parquet(path).select(pl.len()).collect().item() == 1_000_000, "its reader sees no harm"
    assert cut(path, ["id", "x"]) is None


def test_what_a_footers_bits_say_is_read_from_the_cut_as_from_the_file(tmp_path):
    """An altered file may be refused, or not be cut; a cut shows the rows of the file that was judged, no others."""
    raw = written(tmp_path, FRAME.select("id", "word"), row_group_size=500, statistics=False).read_bytes()
    begin = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    path, kept = tmp_path / "altered.parquet", 0
    for at in range(begin, len(raw) - 8):
        altered = bytearray(raw)
        altered[at] ^= 1 << at % 8
        path.write_bytes(altered)
        judged = shown(lambda: pl.read_parquet(path, columns=["id", "word"]))
        if judged == "refused":
            continue  # and is not taken in
        files = cut(path, ["id", "word"])
        if files is not None:
            assert shown(lambda: read(files)) == judged  # noqa: B023
            kept += 1
    assert kept > 20, "most of what a footer says is not needed"


def shown(reading):
    try:
        return reading().write_json()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return "refused"


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.select(pl.concat_list("id").alias("id")),
        FRAME.select(pl.struct("id", "x").alias("id")),
    ],
    ids=["lists", "structures"],
)
def test_nested_columns_are_not_cut(tmp_path, frame):
    assert cut(written(tmp_path, frame), ["id"]) is None


def test_a_group_too_large_to_be_held_is_not_cut(tmp_path, monkeypatch):
    path = written(tmp_path, FRAME, row_group_size=500)
    monkeypatch.setattr(column_chunks, "MAX_PART_CELLS", 900)
    assert cut(path, ["id", "x"]) is None
    assert len(cut(path, ["id"], 10_000)) == 2, "nor are groups joined past it"
    monkeypatch.setattr(column_chunks, "MAX_PART_CELLS", 10_000)
    monkeypatch.setattr(column_chunks, "MAX_PART_BYTES", 100)
    assert cut(path, ["id"]) is None


@pytest.mark.parametrize("raw", [b"PAR1PAR1", b"PAR1" + bytes(20) + b"\xff\xff\xff\x7fPAR1", b"PAR1" * 5, b"x"])
def test_what_is_no_parquet_is_not_cut(tmp_path, raw):
    path = tmp_path / "noise.parquet"
    path.write_bytes(raw)
    assert cut(path, ["id"]) is None


def test_a_file_that_shrinks_while_it_is_read_is_an_error_and_no_short_part(tmp_path):
    path = written(tmp_path, FRAME)
    with cut_into_files(path, ["id"], 1) as files:
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(OSError, match="cut off"):
            b"".join(files[0].pieces())


def test_a_part_says_its_size_before_it_is_read(tmp_path):
    with cut_into_files(written(tmp_path, FRAME), ["id", "word"], 1) as files:
        assert [file.size for file in files] == [len(b"".join(file.pieces())) for file in files]
