"""A Parquet file that is kept as it came: its own column chunks, sealed; everything else is encoded anew."""

import io
import json
import threading
import time

import polars as pl
import pytest
from sqlalchemy import select

from vallum.data.catalogue import DataSetDamaged
from vallum.data.catalogue import records as table
from vallum.data.catalogue.intake import _aad
from vallum.data.catalogue.parts import Parts
from vallum.data.catalogue.versions import key_of, layout_of
from vallum.kernel.errors import Unavailable
from vallum.kernel.keys import decrypt_stream, encrypt_stream

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
description: {{purpose: forecast}}
schema:
  - name: orders
    properties:
      - {{name: id, logicalType: integer, required: true, unique: true}}
      - {{name: email, logicalType: string}}
      - {{name: word, logicalType: string, customProperties: [{word}]}}
      - {{name: cost, logicalType: number, logicalTypeOptions: {{minimum: 0}}}}
"""
OTHERS = "{property: purposes, value: planning}"
ANY = "{property: purposes, value: 'forecast,planning'}"
ORDERS = pl.DataFrame(
    {
        "id": range(3000), "email": [f"p{i % 70}@example.org" for i in range(3000)],
        "word": [f"word {i % 11}" for i in range(3000)], "cost": [float(i % 90) for i in range(3000)],
    }
)  # fmt: skip
IBANS = ["DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606"]


def parquet(frame, **how):
    out = io.BytesIO()
    frame.write_parquet(out, **how)
    return out.getvalue()


def agreed(word=ANY):
    return CONTRACT.format(word=word).encode()


@pytest.fixture
def carried(monkeypatch):
    """Whether the parts of each version were carried, in their order."""
    seen, carry = [], Parts.carry

    def _carry(self, *given):
        seen.append(carry(self, *given))
        return seen[-1]

    monkeypatch.setattr(Parts, "carry", _carry)
    return seen


@pytest.fixture
def parts(platform):
    """What lies in the parts of a version, opened."""

    def _parts(version):
        v = table.versions
        with platform.records.read() as conn:
            row = conn.execute(select(v).where(v.c.dataset == version.dataset, v.c.number == version.number)).one()
        key, opened = key_of(platform.control.services.data._keyring, "version", row), []
        for number, part in enumerate(layout_of(row).parts):
            aad = b"\x00".join((b"vallum/data/part/1", row.id.encode(), b"%d" % number))
            raw = platform.control.services.data._blobs.stream(part.blob)
            opened.append(b"".join(decrypt_stream(key, raw, aad)))
        return opened, row

    return _parts


def taken(taken_in, raw, contract=None, **options):
    return taken_in(raw, contract or agreed(), name="orders", file_name="orders.parquet", **options)


def test_the_rows_are_those_of_the_file_and_only_readers_columns_are_shown(
    taken_in, rows, stella, mel, carried, parts, blobs
):
    version = taken(taken_in, parquet(ORDERS, row_group_size=500))
    assert version.state == "available"
    assert carried[0] is not None
    assert rows(stella, version, purpose="forecast").equals(ORDERS)
    assert set(rows(mel, version).get_column("email")) == {"•••"}
    opened, _ = parts(version)
    assert pl.concat([pl.read_parquet(io.BytesIO(raw)) for raw in opened]).equals(ORDERS)
    lying = b"".join(path.read_bytes() for path in blobs())
    assert b"word 1" not in lying
    assert b"PAR1" not in lying


def test_a_carried_part_that_is_altered_or_moved_is_not_read(taken_in, rows, stella, blobs, carried):
    version = taken(taken_in, parquet(ORDERS))
    assert carried[0] is not None
    part = next(path for path in blobs() if path.name.startswith("0-"))
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 1
    part.write_bytes(raw)
    with pytest.raises(DataSetDamaged, match="was altered"):
        rows(stella, version)


def test_columns_of_another_purpose_do_not_come_along(taken_in, rows, stella, carried, parts):
    version = taken(taken_in, parquet(ORDERS, compression="uncompressed"), agreed(OTHERS))
    assert version.dropped == ("word",)
    assert carried[0] is not None
    (raw,), _ = parts(version)
    assert b"word" not in raw
    assert rows(stella, version, purpose="forecast").equals(ORDERS.drop("word"))


def test_rows_that_are_held_do_not_come_along(taken_in, rows, stella, carried, parts):
    bad = ORDERS.with_columns(cost=pl.when(pl.col("id") == 7).then(-1.0).otherwise(pl.col("cost")))
    bad = bad.with_columns(word=pl.when(pl.col("id") == 7).then(pl.lit("only here")).otherwise(pl.col("word")))
    version = taken(taken_in, parquet(bad, compression="uncompressed"))
    assert (version.state, version.quarantined) == ("available", 1)
    assert carried[0] is not None
    assert rows(stella, version, purpose="forecast").equals(bad.filter(pl.col("id") != 7))
    assert b"only here" not in b"".join(
        pl.read_parquet(io.BytesIO(raw)).write_csv().encode() for raw in parts(version)[0]
    )


def test_a_restricted_column_is_sealed_field_by_field_and_never_carried(taken_in, rows, stella, carried, parts):
    frame = ORDERS.with_columns(word=pl.Series([IBANS[i % 3] for i in range(3000)]))
    version = taken(taken_in, parquet(frame))
    assert {c.name: c.field for c in version.columns}["word"] == "sealed"
    assert carried == []
    assert not [raw for raw in parts(version)[0] if any(one.encode() in raw for one in IBANS)]
    assert pl.read_parquet(io.BytesIO(parts(version)[0][0])).schema["word"] == pl.Binary
    assert rows(stella, version, purpose="forecast").equals(frame)


def test_values_that_only_a_dictionary_still_holds_are_left_behind(taken_in, rows, stella, carried, parts):
    """A table filtered in Arrow keeps the dictionary of all: whoever is in no row any more must not be kept."""
    words = pl.Series("word", ["ash", "elm", "gone with the filter"] * 1000, dtype=pl.Categorical)
    frame = ORDERS.with_columns(words).filter(pl.col("id") % 3 != 2)
    version = taken(taken_in, parquet(frame, compression="uncompressed"))
    assert carried == []
    assert not [raw for raw in parts(version)[0] if b"gone with" in raw]
    assert rows(stella, version, purpose="forecast").get_column("word").to_list()[:2] == ["ash", "elm"]


def test_the_address_is_of_the_source_and_of_what_was_kept_of_it(taken_in, perform, stella, platform, carried, parts):
    raw = parquet(ORDERS, row_group_size=700)
    first = taken(taken_in, raw)
    with platform.records.write() as conn:  # made anew, as if nobody had taken it in before
        conn.execute(table.versions.update().values(state="failed"))
    again = taken(taken_in, raw)
    other = taken(taken_in, parquet(ORDERS.reverse()))
    without = taken(taken_in, raw, agreed(OTHERS))
    found = [parts(version)[1].digest for version in (first, again, other, without)]
    assert first.number != again.number
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert all(layout is not None for layout in carried)


def test_a_person_is_erased_from_what_was_carried(taken_in, rows, perform, stella, carried):
    taken(taken_in, parquet(ORDERS))
    assert carried[0] is not None
    perform("erase_data_subject", stella, {"name": "orders"}, column="email", value="p3@example.org", reference="r")
    newest = perform("read_data_version", stella, {"name": "orders", "number": "2"})
    left = rows(stella, newest, purpose="forecast")
    assert left.equals(ORDERS.filter(pl.col("email") != "p3@example.org"))


def test_what_fails_while_parts_are_stored_leaves_none(begin, send, complete, blobs, platform, monkeypatch):
    intake = begin(agreed(), name="orders", file_name="orders.parquet")
    send(intake, parquet(ORDERS, row_group_size=500))
    there, stored, seen, second = blobs(), Parts._stored, [], threading.Event()

    def torn(self, key, owner, number, pieces):
        seen.append(number)
        if number:
            second.set()
            raise Unavailable("the store went away")
        assert second.wait(20)  # else the third could be begun before the second has failed
        time.sleep(0.1)
        return stored(self, key, owner, number, pieces)

    monkeypatch.setattr(Parts, "_stored", torn)
    monkeypatch.setattr("vallum.data.catalogue.sealing.part_rows", lambda columns: 500)
    with pytest.raises(Unavailable):
        complete(intake)
    assert seen == [0, 1]
    assert blobs() == there


def test_two_parts_are_sealed_at_a_time_and_lie_in_the_order_of_their_rows(
    taken_in, rows, stella, carried, monkeypatch
):
    stored, running, most, both = Parts._stored, [], [], threading.Event()

    def slow(self, key, owner, number, pieces):
        running.append(number)
        most.append(len(running))
        if number == 1:
            both.set()
        assert number or both.wait(20), "the second is begun before the first is done"
        try:
            return stored(self, key, owner, number, pieces)
        finally:
            running.remove(number)

    monkeypatch.setattr(Parts, "_stored", slow)
    monkeypatch.setattr("vallum.data.catalogue.sealing.part_rows", lambda columns: 100)
    version = taken(taken_in, parquet(ORDERS, row_group_size=100))
    assert carried[0] is not None
    assert max(most) == 2
    assert [part.first_row for part in carried[0].parts] == list(range(0, 3000, 100))
    assert rows(stella, version, purpose="forecast").equals(ORDERS)


@pytest.mark.parametrize("failing", [0, 1, 7, 29])
def test_a_part_that_fails_takes_those_beside_it_along_and_none_is_begun_after(
    begin, send, complete, blobs, monkeypatch, failing
):
    intake = begin(agreed(), name="orders", file_name="orders.parquet")
    send(intake, parquet(ORDERS, row_group_size=100))
    there, stored, seen, failed = blobs(), Parts._stored, [], threading.Event()

    def torn(self, key, owner, number, pieces):
        seen.append(number)
        if number == failing:
            failed.set()
            raise Unavailable("the store went away")
        if number == failing + 1:
            assert failed.wait(20)  # under way when the other fails, and stored after it
        return stored(self, key, owner, number, pieces)

    monkeypatch.setattr(Parts, "_stored", torn)
    monkeypatch.setattr("vallum.data.catalogue.sealing.part_rows", lambda columns: 100)
    with pytest.raises(Unavailable):
        complete(intake)
    assert max(seen) <= failing + 2
    assert blobs() == there
    monkeypatch.setattr(Parts, "_stored", stored)
    assert complete(intake).rows == 3000


def test_a_profile_is_of_all_rows_though_the_gates_read_them(taken_in, perform, stella):
    version = taken(taken_in, parquet(ORDERS, row_group_size=500))
    report = perform("read_data_report", stella, {"name": "orders", "number": str(version.number)})
    profile = json.loads(report.report)["profile"]
    assert (profile["rows"], profile["sampled"]) == (3000, 3000)
    of = {column["name"]: column for column in profile["columns"]}
    assert (of["id"]["distinct"], of["id"]["minimum"], of["id"]["maximum"]) == (3000, 0, 2999)
    assert of["word"]["top"][0]["rows"] == 273


def test_another_source_of_the_same_intake_does_not_open_in_its_place(begin, send, complete, blobs):
    intake = begin(agreed(), name="orders", file_name="orders.parquet")
    send(intake, parquet(ORDERS.head(10)))
    (former,) = blobs()
    kept = former.read_bytes()
    send(intake, parquet(ORDERS))
    newest = next(path for path in blobs() if path != former)
    newest.write_bytes(kept)
    with pytest.raises(DataSetDamaged, match="was altered"):
        complete(intake)


@pytest.mark.parametrize("is_what_was_sent", [True, False])
def test_a_source_from_before_names_were_bound_is_judged_by_its_digest(
    begin, send, complete, blobs, platform, is_what_was_sent
):
    intake, raw = begin(agreed(), name="orders", file_name="orders.parquet"), parquet(ORDERS)
    send(intake, raw)
    i, intakes = table.intakes, platform.control.services.data.intakes
    with platform.records.write() as conn:
        row = conn.execute(select(i)).one()
        blob = row.blob.replace("received-", "source-")
        conn.execute(i.update().values(blob=blob))
    lying = raw if is_what_was_sent else parquet(ORDERS.head(9))
    sealed = encrypt_stream(intakes._key(row), [lying], _aad(row.id, row.dataset))
    platform.control.services.data._blobs.put_stream(blob, sealed)
    if is_what_was_sent:
        assert complete(intake).rows == 3000
    else:
        with pytest.raises(DataSetDamaged, match="not what was sent"):
            complete(intake)
