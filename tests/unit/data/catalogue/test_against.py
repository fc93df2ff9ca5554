"""A source is held against other governed versions, of which the answer tells nothing to who may not read them."""

import json

import pytest
from governed_data import contract, visits
from registered_models import person

from vallum.kernel.errors import Denied, Invalid, NotFound

PATIENTS = b"""apiVersion: v3.1.0
kind: DataContract
id: patients
version: 1.0.0
status: active
description: {purpose: care}
schema:
  - name: patients
    properties:
      - {name: address, logicalType: string, classification: confidential, primaryKey: true}
"""
REFERRING = contract().replace(b"classification: confidential", b"relationships: [{to: patients.address}]")


def patients(count=7):
    return ("address\n" + "".join(f"p{at}@example.org\n" for at in range(count))).encode()


@pytest.fixture
def hold(begin, send, complete, perform, stella):
    def _hold(raw, agreed, by=None, **against):
        by = by or stella
        body = {"file_name": "visits.csv", "contract": agreed.decode(), **against}
        intake = perform("begin_data_intake", by, {"name": "visits"}, **body)
        send(intake, raw, by)
        return complete(intake, by)

    return _hold


@pytest.fixture
def parent(taken_in, perform, stella):
    perform("create_data_set", stella, name="visits")
    return taken_in(patients(6), PATIENTS, name="patients", file_name="patients.csv")


def report_of(perform, subject, version):
    path = {"name": version.dataset, "number": str(version.number)}
    return json.loads(perform("read_data_report", subject, path).report)


def test_rows_that_refer_to_nobody_are_held(parent, hold, perform, stella, entries):
    version = hold(visits(60), REFERRING, parents={"patients": "patients"})
    assert (version.state, version.rows, version.quarantined) == ("available", 52, 8)
    (case,) = perform("list_quarantine", stella, dataset="visits")
    assert {one.reason for one in case.reasons} == {"email: RefersTo patients/1"}
    assert report_of(perform, stella, version)["against"]["parents"] == {"patients": "patients/1"}
    assert any(one["context"].get("parents") == "patients" for one in entries("data:version:intake"))


def test_a_reference_without_its_table_fails(parent, hold):
    assert hold(visits(60), REFERRING).state == "failed"


def test_the_same_source_against_another_version_is_another_question(parent, hold, taken_in):
    first = hold(visits(60), REFERRING, parents={"patients": "patients/1"})
    taken_in(patients(7), PATIENTS, name="patients", file_name="patients.csv")
    assert hold(visits(60), REFERRING, parents={"patients": "patients/1"}) == first
    second = hold(visits(60), REFERRING, parents={"patients": "patients"})
    assert (second.number, second.quarantined) == (2, 0)


def test_who_may_not_read_the_other_is_told_nothing_of_it(parent, catalogue, perform, stella, entries):
    """A referential check is an oracle: guesses go in, and what is in quarantine says which were right."""
    mia = person("mia", "ml_engineer", "data_steward")
    asked = []
    with pytest.raises(Denied, match="would tell of it"), catalogue._records.write() as conn:
        catalogue.intakes.begin(
            conn, "visits", "visits.csv", REFERRING, "", mia, parents={"patients": "patients"},
            allowed=lambda version, column: asked.append((version, column.name, column.classification)),
        )  # fmt: skip
    assert asked == [("patients/1", "address", "confidential")]


def test_rows_of_the_evaluation_set_do_not_leak_into_training(taken_in, hold, perform, stella):
    perform("create_data_set", stella, name="visits")
    taken_in(visits(5, first=20), name="exam")
    version = hold(visits(60), contract(), evaluation="exam")
    assert (version.state, version.rows, version.quarantined) == ("available", 55, 5)
    (case,) = perform("list_quarantine", stella, dataset="visits")
    assert [one.row for one in case.reasons] == [20, 21, 22, 23, 24]
    assert report_of(perform, stella, version)["against"]["evaluation"] == "exam/1"


@pytest.mark.parametrize(
    ("against", "why"),
    [
        ({"parents": {"wards": "patients"}}, "refers to no table"),
        ({"parents": {"patients": "nobody"}}, "no available version"),
        ({"parents": {"patients": "patients/9"}}, "no version 9"),
        ({"parents": {"patients": "patients/x"}}, "NAME/NUMBER"),
        ({"evaluation": "patients"}, "no column stands in both"),
    ],
)
def test_what_cannot_be_held_against_is_said_before_anything_is_sent(parent, perform, stella, against, why):
    body = {"file_name": "visits.csv", "contract": REFERRING.decode(), **against}
    with pytest.raises((Invalid, NotFound), match=why):
        perform("begin_data_intake", stella, {"name": "visits"}, **body)


def test_a_column_that_lies_treated_there_matches_nothing_and_is_refused(taken_in, perform, stella):
    """Compared with hashes, no row of the evaluation set would be found: a check that passes everything."""
    perform("create_data_set", stella, name="visits")
    hashed = PATIENTS.replace(b"primaryKey: true", b"customProperties: [{property: treatment, value: hash}]")
    taken_in(patients(), hashed, name="patients", file_name="patients.csv")
    body = {"file_name": "visits.csv", "contract": REFERRING.decode(), "parents": {"patients": "patients"}}
    with pytest.raises(Invalid, match="lies treated"):
        perform("begin_data_intake", stella, {"name": "visits"}, **body)
