"""Treatments within intake: what is treated is stored nowhere else, and a contract cannot ask for less than policy."""

import json
import types

import polars as pl
import pytest
from governed_data import IBANS, contract, visits

from vallum.data.anonymise import Keep, Mask, Redact, Spans
from vallum.data.catalogue.treatments import Asked, TreatmentPolicy, planned
from vallum.data.classify import Category, ColumnReport, Evidence, SpanClassifier
from vallum.data.contracts import BadContract, parse_contract
from vallum.data.table import BadData
from vallum.guards.adapters.presidio import PresidioGuard
from vallum.kernel.errors import Unavailable

CARE = {"purpose": "care"}
TREATED = b"""apiVersion: v3.1.0
kind: DataContract
id: visits
version: 1.0.0
status: active
description: {purpose: care}
schema:
  - name: visits
    properties:
      - {name: visit, logicalType: integer, required: true, unique: true}
      - {name: email, logicalType: string, customProperties: [{property: treatment, value: hash}]}
      - {name: iban, logicalType: string, customProperties: [{property: treatment, value: {type: tokenise}}]}
      - {name: ward, logicalType: string, customProperties: [{property: treatment, value: drop}]}
      - name: cost
        logicalType: number
        customProperties: [{property: treatment, value: {type: generalise, width: 20}}]
      - name: on
        logicalType: date
        customProperties: [{property: treatment, value: {type: shift_date, subject: email}}]
"""


def path_of(version):
    return {"name": version.dataset, "number": str(version.number)}


def test_what_the_contract_treats_is_stored_treated_alone(taken_in, rows, perform, stella, platform):
    version = taken_in(visits(60, spoil=(7,)), TREATED)
    found = {c.name: (c.treatment, c.classification, c.field) for c in version.columns}
    assert found["email"] == ("hash", "confidential", "plain")
    assert found["iban"] == ("tokenise", "confidential", "plain")
    assert "ward" in version.dropped
    got = rows(stella, version, **CARE)
    assert not {v for v in got.get_column("email") if "@" in v}
    assert got.get_column("email").n_unique() == 7
    assert not set(IBANS) & set(got.get_column("iban"))
    assert got.get_column("iban").n_unique() == 3
    assert got.get_column("cost")[0] == "[0, 20)"
    signed = perform("read_data_report", stella, path_of(version)).report
    told = {one["column"]: one for one in json.loads(signed)["treatments"]}
    assert (told["iban"]["treatment"], told["iban"]["by"], told["iban"]["values"]) == ("tokenise", "contract", 60)
    assert (told["iban"]["classification_found"], told["iban"]["classification_left"]) == ("restricted", "confidential")
    assert not any(value in signed for value in (*IBANS, "example.org"))
    facets = json.loads(b"".join(perform("read_data_lineage_event", stella, path_of(version)).chunks))["outputs"][0]
    lineage = facets["facets"]["columnLineage"]["fields"]["iban"]["inputFields"][0]
    assert (lineage["field"], lineage["transformations"][0]["masking"]) == ("iban", True)
    card = b"".join(perform("read_data_card", stella, path_of(version)).chunks).decode()
    assert "tokenise" in card


def test_dates_of_one_subject_stay_apart_as_they_were(taken_in, rows, stella):
    version = taken_in(visits(56), TREATED)
    got = rows(stella, version, **CARE).sort("visit")
    assert got.schema["on"] == pl.Date
    one = got.filter(pl.col("visit") % 7 == 0)
    gaps = one.get_column("on").diff().drop_nulls().to_list()
    plain = (
        pl.Series([f"2026-03-{at % 28 + 1:02}" for at in range(0, 56, 7)]).str.to_date().diff().drop_nulls().to_list()
    )
    assert gaps == plain
    assert str(one.get_column("on")[0]) != "2026-03-01"


def test_versions_compare_and_purposes_do_not(taken_in, rows, stella):
    first, second = taken_in(visits(60), TREATED), taken_in(visits(70), TREATED)
    mine, later = rows(stella, first, **CARE), rows(stella, second, **CARE)
    for name in ("email", "iban", "on"):
        assert mine.get_column(name).to_list() == later.get_column(name).to_list()[:60]
    other = taken_in(visits(60), TREATED.replace(b"purpose: care", b"purpose: cost"))
    assert not set(rows(stella, other, purpose="cost").get_column("email")) & set(mine.get_column("email"))


def test_held_rows_are_treated_too(taken_in, perform, stella, stan, rows):
    agreed = TREATED.replace(
        b"cost\n        logicalType: number\n",
        b"cost\n        logicalType: number\n        logicalTypeOptions: {minimum: 0}\n",
    )
    version = taken_in(visits(60, spoil=(7,)), agreed)
    assert version.quarantined == 1
    (case,) = perform("list_quarantine", stella)
    (held,) = perform("read_quarantined_rows", stella, {"case": case.id})
    assert held.values["iban"] not in IBANS
    assert "@" not in held.values["email"]
    reason = "the costs were credited, I asked the ward"
    released = perform("release_quarantine", stan, {"case": case.id}, reason=reason)
    assert released.rows == 60
    assert {c.name: c.treatment for c in released.columns}["iban"] == "tokenise"


def test_tokens_open_through_the_gate_alone(taken_in, rows, perform, stella, mel, entries, platform):
    from sqlalchemy import text

    from vallum.kernel.errors import Denied, NotFound

    version = taken_in(visits(60), TREATED)
    token = rows(stella, version, **CARE).get_column("iban")[0]
    body = {"column": "iban", "token": token}
    with pytest.raises(Denied):
        perform("reveal_data_token", mel, {"name": "visits"}, **body)
    assert perform("reveal_data_token", stella, {"name": "visits"}, **body).value == IBANS[0]
    assert token not in json.dumps(entries("data:token:reveal"))
    with pytest.raises(NotFound):
        perform("reveal_data_token", stella, {"name": "visits"}, column="email", token=token)
    with platform.records.read() as conn:
        sealed = conn.execute(text("SELECT sealed FROM data_tokens")).scalars().all()
    assert not any(value.encode() in bytes(one) for one in sealed for value in IBANS)


def test_a_treated_value_is_looked_for_by_what_stands_in_its_place(taken_in, rows, stella, catalogue):
    got = rows(stella, taken_in(visits(60), TREATED), **CARE)
    find = catalogue.treatments.stored_form
    assert find("visits", "care", "email", "hash", "p3@example.org") == got.get_column("email")[3]
    assert find("visits", "cost", "email", "hash", "p3@example.org") not in set(got.get_column("email"))
    assert find("visits", "care", "iban", "tokenise", IBANS[0]) == got.get_column("iban")[0]
    assert find("visits", "care", "iban", "tokenise", "DE00") is None
    assert find("visits", "care", "cost", "generalise", "10.5") is None


class Recogniser:
    """Answers as Presidio's analyzer does."""

    def get_supported_entities(self, language):
        return ["PERSON"]

    def analyze(self, text, *, language, entities, score_threshold):
        at = text.find("Ada Lovelace")
        return [types.SimpleNamespace(entity_type="PERSON", start=at, end=at + 12, score=0.85)] if at >= 0 else []


def test_a_recogniser_finds_names_that_rules_do_not(taken_in, rows, stella, catalogue):
    finder = SpanClassifier([PresidioGuard(Recogniser())])
    catalogue.intakes._finder = catalogue.treatments._finder = lambda: finder
    agreed = contract().replace(
        b"ward, logicalType: string, customProperties: [",
        b"ward, logicalType: string, customProperties: [{property: treatment, value: spans}, ",
    )
    version = taken_in(visits(20).replace(b"ward 2", b"ask Ada Lovelace about it"), agreed)
    ward = next(c for c in version.columns if c.name == "ward")
    assert (ward.classification, ward.kinds, ward.treatment) == ("confidential", ("name_person",), "spans")
    assert "ask [NAME_PERSON] about it" in set(rows(stella, version, **CARE).get_column("ward"))


def test_a_recogniser_that_cannot_be_loaded_takes_nothing_in(records_url, tmp_path):
    from vallum.compose_domains import _span_finder

    with pytest.raises(Unavailable, match="no installed package offers a guard named nobody"):
        _span_finder("nobody")()


KEYS = "AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE"


def logs(keep=""):
    return f"""apiVersion: v3.1.0
kind: DataContract
id: logs
version: 1.0.0
status: active
description: {{purpose: answers}}
schema:
  - name: logs
    properties:
      - {{name: key, logicalType: string{keep}}}
      - {{name: note, logicalType: string, customProperties: [{{property: role, value: text}}]}}
""".encode()


def lines():
    words = [f"{a}{b}" for a in ("oak", "river", "lamp", "stone", "cloud") for b in ("s", "y", "less")]
    made = []
    for n in range(30):
        prose = " ".join(words[(n * k + k * k) % 15] for k in range(1, 12))
        made.append({"key": KEYS[n % 2], "note": f"{prose} {n * 7919} {KEYS[n % 2]} was in the environment"})
    return "\n".join(json.dumps(one) for one in made).encode()


@pytest.mark.parametrize("said", ["keep", "{type: spans, of: [personal]}", "{type: mask, keep_last: 19}"])
def test_a_contract_cannot_keep_what_policy_wants_treated(taken_in, rows, perform, stella, said):
    keep = f", customProperties: [{{property: treatment, value: {said}}}]"
    version = taken_in(lines(), logs(keep), name="logs", file_name="logs.jsonl")
    got = rows(stella, version, purpose="answers")
    assert set(got.get_column("key")) == {"[redacted]"}
    assert not any(key in value for key in KEYS for value in got.get_column("note"))
    assert got.get_column("note")[0].endswith("] was in the environment")
    told = json.loads(perform("read_data_report", stella, path_of(version)).report)["treatments"]
    assert {one["column"]: (one["treatment"], one["by"]) for one in told} == {
        "key": ("redact", "policy"), "note": ("spans", "policy"),
    }  # fmt: skip


def test_policy_may_refuse_instead(taken_in, catalogue, perform, stella):
    catalogue.intakes._policy = TreatmentPolicy(("credential",), "refuse")
    version = taken_in(lines(), logs(), name="logs", file_name="logs.jsonl")
    assert version.state == "failed"
    checks = json.loads(perform("read_data_report", stella, path_of(version)).report)["gates"]["checks"]
    assert "key" in next(c["reason"] for c in checks if c["check"] == "controls: treatment")


def test_a_stricter_policy_judges_the_same_source_anew(taken_in, catalogue, rows, stella):
    first = taken_in()
    catalogue.intakes._policy = TreatmentPolicy(("financial",))
    second = taken_in()
    assert second.number == first.number + 1
    assert set(rows(stella, second, **CARE).get_column("iban")) == {"[redacted]"}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("[{property: treatment, value: scramble}]", "one of"),
        ("[{property: treatment, value: {type: mask, keep_lst: 2}}]", "keep_lst"),
        ("[{property: treatment, value: {type: generalise}}]", "one of: width"),
        ("[{property: treatment, value: {type: shift_date, subject: visit}}]", "is for dates"),
    ],
)
def test_a_treatment_that_is_none_is_refused_before_anything_is_sent(begin, more, why):
    agreed = contract().replace(
        b"iban, logicalType: string", f"iban, logicalType: string, customProperties: {more}".encode()
    )
    with pytest.raises(BadContract, match=why):
        begin(agreed)


def test_a_value_that_cannot_be_treated_is_named_by_row_and_not_shown(begin, send, complete):
    agreed = contract().replace(
        b"ward, logicalType: string, customProperties: [",
        b"ward, logicalType: string, customProperties: [{property: treatment, value: {type: generalise, width: 5}}, ",
    )
    intake = begin(agreed)
    send(intake, visits(9, spoil=(0,)))
    with pytest.raises(BadData, match=r"visits.csv: row 2, column 'ward': a value is no number") as e:
        complete(intake)
    assert "ward 1" not in str(e.value)


def report(*evidence):
    return ColumnReport("password", "full", 10, 10, 0.0, evidence, "restricted")


@pytest.mark.parametrize(
    ("by", "treatment", "expected"),
    [
        ("name", Keep(), None),  # a corpus of words may have a column called token
        ("values", Keep(), Redact()),
        ("both", Spans(), Redact()),  # rules find no span in a password
        ("values", Spans(), Spans()),
        ("name", None, Redact()),
        ("values", Mask(4), Mask(4)),
    ],
)
def test_what_is_enough_for_policy(by, treatment, expected):
    of = parse_contract(logs().replace(b"name: key", b"name: password")).table()
    found = report(Evidence("credential", Category.CREDENTIAL, "restricted", by, 5, 0.5, 0.3))
    wanted = Asked({} if treatment is None else {"password": treatment}, {})
    plan, _ = planned(wanted, of, {"password": found}, {"password": "restricted"}, (), TreatmentPolicy())
    assert (plan["password"].treatment if "password" in plan else None) == expected
