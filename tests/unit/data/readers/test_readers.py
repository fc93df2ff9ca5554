"""Sources as they come: what is broken is named by file, row and column, and no value is ever said."""

import gzip
import sqlite3

import pytest

pl = pytest.importorskip("polars")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vallum.data.readers import Staging, open_table, read_sql, refusing_broken  # noqa: E402
from vallum.data.table import BadData, Kind  # noqa: E402

SECRET = "4111-1111-1111-1111"


@pytest.fixture
def staging(tmp_path):
    (tmp_path / "work").mkdir()
    with Staging(tmp_path / "work") as made:
        yield made
    assert list((tmp_path / "work").iterdir()) == []


def written(tmp_path, name, raw):
    path = tmp_path / name
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return path


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.csv", "", "a.csv: empty"),
        ("a.csv", f"a,b\n1,2\n{SECRET}\n", "a.csv: row 2: 1 fields, and the header names 2: is the file cut off?"),
        ("a.csv", f"a,b\n1,2,{SECRET}\n", "a.csv: row 1: 3 fields, and the header names 2"),
        ("a.csv", f'a,b\n1,"{SECRET}\n', "a.csv: row 1: a quote is not closed"),
        ("a.csv", f'a,b\n1,"{SECRET}"x\n', "a.csv: row 1: a quote is closed before the field ends"),
        ("a.csv", SECRET.encode() + b",b\n1,2\n3,\xff\xfe\n", "a.csv: row 2, column 2: is not UTF-8"),
        ("a.csv", b"a,b\n1,\x00\n", "a.csv: row 1, column 2: holds a NUL"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "a.csv: is UTF-16"),
        ("a.csv", "a,a\n1,2\n", "a.csv: column 2 has the name of an earlier one"),
        ("a.csv", "a,\n1,2\n", "a.csv: column 2 has no name"),
        ("a.csv", "__vallum_unparsed_0,b\n1,2\n", "column 1: names that begin with __vallum_"),
        ("a.csv", ",".join(f"c{i}" for i in range(20_001)) + "\n", "20001 columns, and 20000 are the most"),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9000, mtime=0)[:-20], "a.csv.gz: the gzip stream is"),
        ("a.csv.gz", b"\x1f\x8b" + b"x" * 100, "a.csv.gz: the gzip stream is broken"),
        ("a.csv", b"PK\x03\x04" + b"x" * 50, "a.csv: is zip"),
        ("a.jsonl", f'{{"a": 1}}\n{{"a": "{SECRET}\n', "a.jsonl: row 2: is no JSON: is the file cut off?"),
        ("a.jsonl", f'{{"a": 1}}\n["{SECRET}"]\n', "a.jsonl: row 2: is no JSON object"),
        ("a.jsonl", b'{"a": "\xff"}\n', "a.jsonl: row 1"),
        ("a.jsonl", "\n\n", "a.jsonl: empty"),
        ("a.jsonl", "[" * 100_000 + "\n", "a.jsonl: row 1: is no JSON"),
        ("a.parquet", b"PAR1" + b"x" * 100, "a.parquet: is no Parquet, or cut off"),
        ("a.parquet", b"PAR1" + b"x" * 100 + b"PAR1", "a.parquet: cannot be read"),
        ("a.txt", "a", "a.txt: name it .csv"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path, staging, name, raw, said):
    with pytest.raises(BadData) as caught:
        open_table(written(tmp_path, name, raw), staging)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_gzip_bomb_is_stopped_while_it_grows(tmp_path, staging):
    path = written(tmp_path, "bomb.csv.gz", gzip.compress(b"a,b\n" + (b"1," + b"2" * 100_000 + b"\n") * 400))
    with pytest.raises(BadData, match="gzip bomb"):
        open_table(path, staging)


def test_a_parquet_that_breaks_inside_is_an_error_that_names_it(tmp_path, staging):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": list(range(5000)), "b": [f"text {i}" for i in range(5000)]}).write_parquet(path)
    raw = bytearray(path.read_bytes())
    raw[100:4000] = b"\xff" * 3900
    path.write_bytes(raw)
    table = open_table(path, staging)
    with pytest.raises(BadData, match=r"a\.parquet: cannot be read"), refusing_broken(table.name):
        table.frame.collect(engine="streaming")


def test_types_are_the_narrowest_that_every_value_fits(tmp_path, staging):
    raw = "i,n,b,d,t,code,s,empty\n1,1.5,true,2024-02-29,2024-01-01T10:00:00Z,007,x,\n"
    raw += "-2,3,False,2024-12-31,2024-01-01 10:00:00.5,1,,\n"
    table = open_table(written(tmp_path, "a.csv", raw), staging)
    assert [c.kind for c in table.columns] == [
        Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN, Kind.DATE, Kind.TIMESTAMP, Kind.STRING, Kind.STRING, Kind.STRING,
    ]  # fmt: skip
    assert table.frame.select("s").collect().get_column("s").to_list() == ["x", None]


def test_one_wrong_value_far_down_is_unparsed_where_a_type_is_due(tmp_path, staging):
    raw = "id\n" + "\n".join(map(str, range(5000))) + "\n12x\n"
    path = written(tmp_path, "a.csv", raw)
    assert open_table(path, staging).columns[0].kind is Kind.STRING
    due = open_table(path, staging, {"id": Kind.INTEGER})
    flags = due.frame.select(due.unparsed["id"]).collect().to_series()
    assert (due.columns[0].kind, flags.sum(), flags[5000]) == (Kind.INTEGER, 1, True)


def test_types_of_json_are_kept_strictly(tmp_path, staging):
    raw = '{"n": 1, "s": "x"}\n{"n": "2", "s": 3}\n{"n": 4.5}\n{"n": null, "s": "4", "new": [1]}\n'
    table = open_table(written(tmp_path, "a.jsonl", raw), staging, {"n": Kind.NUMBER, "s": Kind.STRING})
    frame = table.frame.collect()
    assert frame.get_column("n").to_list() == [1.0, None, 4.5, None]
    assert frame.get_column(table.unparsed["n"]).to_list() == [False, True, False, False]
    assert frame.get_column(table.unparsed["s"]).to_list() == [False, True, False, False]
    assert [c.name for c in table.columns] == ["n", "s", "new"]


def test_a_table_of_a_database_by_its_name(tmp_path, staging):
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute('CREATE TABLE "odd name" (id INTEGER, day DATE, ok BOOLEAN, x NUMERIC)')
    connection.execute("""INSERT INTO "odd name" VALUES (1, '2024-01-01', 1, 1.5), ('x', 'never', 0, NULL)""")
    connection.commit()
    connection.close()
    url = f"sqlite:///{tmp_path}/a.db"
    table = read_sql(url, "odd name", staging)
    frame = table.frame.collect()
    assert [c.kind for c in table.columns] == [Kind.INTEGER, Kind.DATE, Kind.BOOLEAN, Kind.NUMBER]
    assert frame.get_column("id").to_list() == [1, None]
    assert frame.get_column(table.unparsed["day"]).to_list() == [False, True]
    for name in ("absent", 'x"; DROP TABLE "odd name"; --'):
        with pytest.raises(BadData, match="no such table"):
            read_sql(url, name, staging)
    with pytest.raises(BadData) as caught:
        read_sql("postgresql+psycopg://user:hunter2@127.0.0.1:1/x", "t", staging)
    assert "hunter2" not in str(caught.value)


def test_ten_thousand_columns_are_read(tmp_path, staging):
    header = ",".join(f"c{i}" for i in range(10_000))
    table = open_table(written(tmp_path, "wide.csv", f"{header}\n{','.join(['1'] * 10_000)}\n"), staging)
    assert (len(table.columns), table.columns[9999].kind) == (10_000, Kind.INTEGER)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.binary(max_size=120) | st.text(alphabet='a,"\n\r1;.-', max_size=60).map(str.encode))
def test_no_bytes_crash_the_csv_reader(tmp_path, staging, raw):
    try:
        table = open_table(written(tmp_path, "a.csv", raw), staging)
    except BadData:
        return
    table.frame.collect()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)] * 2),
        max_size=8,
    )
)
def test_what_python_writes_is_what_is_read(tmp_path, staging, rows):
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    table = open_table(written(tmp_path, "a.csv", out.getvalue()), staging, {})
    assert table.frame.select("a", "b").collect().rows() == [tuple(v or None for v in row) for row in rows]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["", "1", "2.5"], Kind.NUMBER), (["", "1", "true"], Kind.STRING),
        (["2024-01-01", "", "2024-02-30"], Kind.STRING),
        (["1", "", "", "2024-01-01"], Kind.STRING), (["", "", "2024-01-01"], Kind.DATE), (["1e3", "2"], Kind.NUMBER),
        (["9" * 18, "9" * 19], Kind.NUMBER), (["1e999", "1"], Kind.STRING),
        (["10:00:00", "24:00:00"], Kind.STRING),
    ],
)  # fmt: skip
def test_a_guess_holds_over_parts(tmp_path, staging, values, kind, monkeypatch):
    monkeypatch.setattr("vallum.data.readers.csv.PART_CELLS", 2)  # a part a row
    raw = "a,b\n" + "".join(f"{value},x\n" for value in values)
    assert open_table(written(tmp_path, "a.csv", raw), staging).columns[0].kind is kind


FULL = """
import resource, sys
from pathlib import Path
from vallum.data.readers import Staging, open_table
from vallum.kernel.errors import Unavailable

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # no file grows past that: as on a disk that is full
with Staging(Path(sys.argv[2])) as staging:
    try:
        open_table(Path(sys.argv[1]), staging)
    except Unavailable as e:
        print(e)
"""


def test_a_full_disk_is_no_broken_source(tmp_path):
    import subprocess
    import sys

    rows = "".join(f"{n},{n * 7919 % 10007}-{n * 104729 % 65537}\n" for n in range(20_000))
    source = written(tmp_path, "big.csv", "a,b\n" + rows)
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(source), str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert said.stdout.strip() == "big.csv: there is no room for the working files", said.stderr
    assert not list(tmp_path.glob("vallum-staging-*"))
