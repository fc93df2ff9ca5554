"""Governed versions: what becomes of a source, who reads which columns, on both databases."""

import json

import pytest
from governed_data import IBANS, contract, visits

from vallum.data.catalogue import CaseDecided, DataHeld, DataUnavailable
from vallum.data.contracts import BadContract
from vallum.kernel.errors import Conflict, Denied, Invalid, NotFound
from vallum.kernel.policy.changes import OwnRequest

REASON = "the costs were credited, I asked the ward"


def path_of(version):
    return {"name": version.dataset, "number": str(version.number)}


def test_a_source_becomes_a_governed_version(taken_in, entries, perform, stella):
    version = taken_in()
    assert (version.state, version.rows, version.quarantined, version.purpose) == ("available", 60, 0, "care")
    found = {c.name: (c.classification, c.field) for c in version.columns}
    assert found["iban"] == ("restricted", "sealed")
    assert found["email"] == ("confidential", "plain")
    assert found["cost"] == ("internal", "plain")
    assert version.classification == "restricted"
    made = entries("data:version:intake")[-1]
    assert made["outcome"] == "ok"
    assert (made["context"]["digest"], made["context"]["report_sha256"]) == (version.digest, version.report_sha256)
    signed = perform("read_data_report", stella, path_of(version))
    report = json.loads(signed.report)
    assert report["gates"]["passed"]
    assert IBANS[0] not in signed.report
    assert "example.org" not in signed.report


def test_nothing_of_it_lies_in_the_clear(taken_in, blobs, settings):
    taken_in()
    for path in blobs():
        raw = path.read_bytes()
        assert not any(value.encode() in raw for value in (*IBANS, "example.org", "ward 1", "PAR1"))
    spool = settings.data_spool_path
    assert not list(spool.rglob("*.*"))


def test_readers_get_the_columns_that_their_decision_has(taken_in, rows, stella, mel, entries):
    version = taken_in()
    all_of_it = rows(stella, version, purpose="care")
    assert all_of_it.get_column("iban").to_list() == [IBANS[at % 3] for at in range(60)]
    assert all_of_it.get_column("on").dtype.is_temporal()
    trained = rows(mel, version, purpose="care")
    assert set(trained.get_column("iban")) == {"•••"}
    assert trained.get_column("email").to_list() == all_of_it.get_column("email").to_list()
    read = entries("data:version:read")[-1]["context"]
    assert (read["rows"], read["masked"], read["purpose"]) == (60, 1, "care")
    without = rows(mel, version)
    assert set(without.get_column("email")) == {"•••"}
    assert without.get_column("cost").to_list() == all_of_it.get_column("cost").to_list()
    assert rows(mel, version, columns="cost,visit").columns == ["visit", "cost"]


def test_somebody_of_another_role_reads_nothing(taken_in, rows, entries):
    from registered_models import person

    version = taken_in()
    with pytest.raises(Denied):
        rows(person("ada", "auditor"), version)
    assert entries("data:version:read")[-1]["effect"] == "deny"


def test_an_export_says_what_for_and_is_counted(taken_in, rows, perform, stella, mel):
    version = taken_in()
    with pytest.raises(Invalid, match="what it is for"):
        rows(mel, version, "export_data_rows")
    rows(mel, version, "export_data_rows", purpose="care")
    (counted,) = perform("list_data_egress", stella, subject=mel.render())
    assert (counted.rows, counted.exports, counted.dataset) == (60, 1, "visits")


def test_the_same_content_twice_is_the_same_version(taken_in):
    first = taken_in()
    assert taken_in() == first
    other = taken_in(visits(61))
    assert (other.number, other.digest == first.digest) == (2, False)


def test_columns_that_a_purpose_may_not_have_do_not_leave_intake(taken_in, rows, stella, perform):
    version = taken_in(purpose="planning")
    assert [c.name for c in version.columns] == ["ward"]
    assert set(version.dropped) == {"visit", "email", "iban", "cost", "on"}
    assert rows(stella, version, purpose="planning").columns == ["ward"]
    assert "10.5" not in perform("read_data_report", stella, path_of(version)).report
    with pytest.raises(Invalid, match="names no column"):
        taken_in(purpose="marketing")


def test_rows_that_fail_are_held_and_the_rest_is_available(taken_in, rows, perform, stella, stan, mel):
    version = taken_in(visits(spoil=(3, 40)))
    assert (version.state, version.rows, version.quarantined) == ("available", 58, 2)
    assert not {3, 40} & set(rows(stella, version).get_column("visit"))
    (case,) = perform("list_quarantine", mel)
    assert [(one.row, one.kind, one.reason) for one in case.reasons] == [
        (3, "gate", "cost: InRange"), (40, "gate", "cost: InRange"),
    ]  # fmt: skip
    with pytest.raises(Denied):
        perform("read_quarantined_rows", mel, {"case": case.id})
    held = perform("read_quarantined_rows", stella, {"case": case.id})
    assert [(one.row, one.values["iban"]) for one in held] == [(3, IBANS[0]), (40, IBANS[1])]
    with pytest.raises((Denied, OwnRequest)):
        perform("release_quarantine", stella, {"case": case.id}, reason=REASON)
    released = perform("release_quarantine", stan, {"case": case.id}, reason=REASON)
    assert (released.number, released.rows, released.derived_from) == (2, 60, 1)
    assert {3, 40} <= set(rows(stella, released).get_column("visit"))
    with pytest.raises(CaseDecided):
        perform("destroy_quarantine", stan, {"case": case.id}, reason=REASON)


def test_held_rows_are_destroyed_with_their_key(taken_in, perform, stan, catalogue, blobs, entries):
    taken_in(visits(spoil=(3,)))
    (case,) = perform("list_quarantine", stan)
    before = len(blobs())
    done = perform("destroy_quarantine", stan, {"case": case.id}, reason=REASON)
    assert (done.state, done.note) == ("destroyed", REASON)
    assert entries("data:quarantine:destroy")[-1]["context"]["reason"] == REASON
    with pytest.raises(CaseDecided):
        perform("read_quarantined_rows", stan, {"case": case.id})
    catalogue.tidy()
    assert len(blobs()) < before


def test_too_many_bad_rows_fail_the_version(taken_in, rows, perform, stella):
    version = taken_in(visits(spoil=range(30)))
    assert (version.state, version.rows) == ("failed", 0)
    with pytest.raises(Denied):
        rows(stella, version)
    report = json.loads(perform("read_data_report", stella, path_of(version)).report)
    assert "more than 20%" in report["gates"]["checks"][-1]["reason"]


def test_a_gate_that_did_not_run_fails_the_version(taken_in):
    rule = "{check: leakage, arguments: {properties: [visit]}}"
    more = f"    quality:\n      - {{type: custom, engine: vallum, implementation: {rule}}}\n"
    assert taken_in(agreed=contract(more=more)).state == "failed"


def test_personal_data_without_a_purpose_fails(taken_in):
    assert taken_in(agreed=contract(purpose='""')).state == "failed"


def test_a_restricted_column_may_be_joined_on_where_the_contract_says_so(taken_in, rows, stella):
    version = taken_in(agreed=contract(email="restricted"))
    assert {c.name: c.field for c in version.columns}["email"] == "joinable"
    assert rows(stella, version, purpose="care").get_column("email").n_unique() == 7


def test_somebody_else_vouches(taken_in, perform, stella, stan, mel):
    version = taken_in()
    with pytest.raises(Denied):
        perform("approve_data_version", stella, path_of(version), reason=REASON)
    with pytest.raises(Denied):
        perform("approve_data_version", mel, path_of(version), reason=REASON)
    approved = perform("approve_data_version", stan, path_of(version), reason=REASON)
    assert approved.approved_by == stan.render()
    with pytest.raises(Conflict):
        perform("approve_data_version", stan, path_of(version), reason=REASON)


def test_promotions_know_what_a_model_was_trained_on(taken_in, perform, platform, mel, stan):
    version = taken_in()
    data = platform.control.services.data

    def unapproved():
        with platform.records.read() as conn:
            return data.unapproved(conn, "churn", 3)

    assert unapproved() is None
    perform("record_data_use", mel, path_of(version), kind="model", used_by="churn/3")
    perform("record_data_use", mel, path_of(version), kind="model", used_by="churn/3")
    assert len(perform("list_data_uses", mel, {"name": "visits"})) == 1
    assert unapproved() == ["visits/1"]
    perform("approve_data_version", stan, path_of(version), reason=REASON)
    assert unapproved() == []


def test_a_model_that_learnt_from_rows_now_held_is_found(taken_in, perform, platform, mel, stan):
    loose = contract().replace(b", logicalTypeOptions: {minimum: 0}", b"")
    former = taken_in(visits(spoil=(5,)), loose)
    assert former.quarantined == 0
    perform("record_data_use", mel, path_of(former), kind="model", used_by="churn/3")
    perform("approve_data_version", stan, path_of(former), reason=REASON)
    strict = taken_in(visits(spoil=(5,)))
    assert strict.quarantined == 1
    (case,) = perform("list_quarantine", mel)
    assert case.affected == ("churn/3",)
    with platform.records.read() as conn:
        assert platform.control.services.data.unapproved(conn, "churn", 3) == ["visits/2"]


def test_a_person_is_erased_everywhere(taken_in, rows, perform, stella, catalogue, blobs, entries):
    former = taken_in(visits(spoil=(3,)))
    done = perform(
        "erase_data_subject", stella, {"name": "visits"}, column="email", value="p3@example.org", reference="DSR-17"
    )
    assert (done.erased, done.made, done.rows) == ((1,), (2,), 9)
    assert len(done.cases) == 1
    made = perform("read_data_version", stella, {"name": "visits", "number": "2"})
    assert "p3@example.org" not in set(rows(stella, made, purpose="care").get_column("email"))
    with pytest.raises(Denied):
        rows(stella, former, purpose="care")
    with pytest.raises(DataUnavailable):
        perform("read_data_report", stella, path_of(former))
    assert perform("read_quarantined_rows", stella, {"case": done.cases[0]}) == []
    before = len(blobs())
    catalogue.tidy()
    assert len(blobs()) < before
    entry = entries("data:subject:erase")[-1]
    assert (entry["context"]["reference"], entry["context"]["rows"]) == ("DSR-17", 9)
    assert "p3@" not in json.dumps(entry)
    assert perform("list_data_erasures", stella, {"name": "visits"}) == [done]
    with pytest.raises(Invalid, match="no version of visits has a column"):
        perform("erase_data_subject", stella, {"name": "visits"}, column="nobody", value="x", reference="DSR-18")


def test_a_legal_hold_keeps_everything(taken_in, perform, stella, stan):
    taken_in(visits(spoil=(3,)))
    perform("hold_data_set", stan, {"name": "visits"}, reason="litigation 2026/4 asks for it")
    with pytest.raises(Denied):
        perform("erase_data_subject", stella, {"name": "visits"}, column="email", value="p3@example.org", reference="r")
    (case,) = perform("list_quarantine", stan)
    with pytest.raises(Denied):
        perform("destroy_quarantine", stan, {"case": case.id}, reason=REASON)
    with pytest.raises(DataHeld):
        perform("hold_data_set", stan, {"name": "visits"}, reason="litigation 2026/4 asks for it")
    assert perform("release_data_hold", stan, {"name": "visits"}).hold == ""
    perform("destroy_quarantine", stan, {"case": case.id}, reason=REASON)


def test_provenance_in_the_fields_own_formats(taken_in, perform, mel):
    version = taken_in()
    event = json.loads(b"".join(perform("read_data_lineage_event", mel, path_of(version)).chunks))
    assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert event["outputs"][0]["facets"]["schema"]["_schemaURL"].endswith(
        "1-1-1/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet"
    )
    card = json.loads(b"".join(perform("read_data_card", mel, path_of(version)).chunks))
    assert card["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert [f["name"] for f in card["recordSet"][0]["field"]] == [c.name for c in version.columns]


def test_nobody_goes_on_with_somebody_elses_intake(begin, send, stan, complete):
    intake = begin()
    with pytest.raises(NotFound):
        send(intake, visits(), stan)
    with pytest.raises(Invalid, match="nothing arrived"):
        complete(intake)


def test_an_unusual_export_raises_an_alert(taken_in, rows, perform, mel, platform, entries):
    """Forty days of the same little, and then a version that is many times that."""
    from datetime import UTC, datetime, timedelta

    from sqlalchemy import insert

    from vallum.data.catalogue import records as table

    version = taken_in(visits(2000))
    today = datetime.now(UTC)
    with platform.records.write() as conn:
        for back in range(1, 41):
            conn.execute(
                insert(table.exports).values(
                    subject=mel.render(), day=(today - timedelta(days=back)).isoformat()[:10], dataset="visits",
                    rows=100 + back % 5, size=1000, exports=1, hours=(1 << 24) - 1,
                )
            )  # fmt: skip
    rows(mel, version, "export_data_rows", purpose="care")
    rows(mel, version, "export_data_rows", purpose="care")  # the same day: told once
    (alert,) = platform.control.services.alerts.list(subject=mel.render())
    assert alert.detectors == ("export_volume",)
    assert "2000 rows today" in alert.explanation
    assert entries("monitor:alert:raise")[-1]["context"]["about"] == mel.render()


def test_drift_is_learned_from_the_versions_before(taken_in, perform, stella):
    rule = "        quality: [{type: custom, engine: vallum, implementation: {check: labelDrift}}]\n"
    ward = (
        b'      - {name: ward, logicalType: string, customProperties: [{property: purposes, value: "care,planning"}]}\n'
    )
    assert ward in contract()
    agreed = contract().replace(ward, b"      - name: ward\n        logicalType: string\n" + rule.encode())
    first = taken_in(visits(4000), agreed)
    assert (first.state, first.quarantined) == ("available", 0)
    report = json.loads(perform("read_data_report", stella, path_of(first)).report)
    assert any("later ones are held to it" in one["reason"] for one in report["gates"]["checks"])
    assert taken_in(visits(4000, first=4000), agreed).state == "available"
    shifted = visits(4000, first=8000).replace(b"ward 1", b"ward 2")
    assert taken_in(shifted, agreed).state == "failed"


def test_measurements_are_nobodys_cards(taken_in):
    import io
    import math

    import polars as pl

    agreed = b"""apiVersion: v3.1.0
kind: DataContract
id: sensors
version: 1.0.0
status: active
schema:
  - name: sensors
    properties:
      - {name: volts, logicalType: number}
      - {name: reading, logicalType: number}
"""
    cards = [4111111111111111.0, 5500005555555559.0, 4012888888881881.0] * 100
    out = io.BytesIO()
    pl.DataFrame({"volts": [math.sin(n) for n in range(300)], "reading": cards}).write_parquet(out)
    version = taken_in(out.getvalue(), agreed, name="sensors", file_name="sensors.parquet")
    assert [c.classification for c in version.columns] == ["internal", "restricted"]
    assert version.state == "failed"  # what is restricted wants a purpose


def test_a_full_scan_finds_what_one_row_in_thirty_thousand_holds(taken_in):
    raw = visits(30_000).replace(b",ward 3,", b",ward FR1420041010050500013M02606,", 1)
    asked = contract().replace(
        b"  - name: visits\n", b"  - name: visits\n    customProperties: [{property: classification, value: full}]\n"
    )
    whole = {c.name: c for c in taken_in(raw, asked).columns}
    assert whole["ward"].classification == "restricted"
    assert {c.missed_at_most for c in whole.values()} == {0.0}
    sampled = {c.name: c for c in taken_in(raw).columns}
    assert sampled["cost"].missed_at_most > 0


def test_a_scan_that_is_none_is_refused_when_the_intake_begins(begin):
    asked = contract().replace(
        b"  - name: visits\n", b"  - name: visits\n    customProperties: [{property: classification, value: most}]\n"
    )
    with pytest.raises(BadContract, match="sample or full is due"):
        begin(asked)
