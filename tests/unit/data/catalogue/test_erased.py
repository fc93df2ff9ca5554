"""Rows of somebody who was erased do not come back by a new intake, unless a steward says why they may."""

import json

import pytest
from governed_data import contract, visits
from sqlalchemy import select, text, update

from vallum.data.catalogue import records as table
from vallum.kernel.errors import Conflict, Denied, IntegrityError, Invalid, NotFound
from vallum.kernel.keys import DEFAULT_TENANT, Purpose
from vallum.settings import load_settings

CARE = {"purpose": "care"}
WHOM = "p3@example.org"
REASON = "asked for by letter, identity checked"
CONSENT = "came back as a customer, consent of 3 March"


@pytest.fixture
def policy():
    return "hold"


@pytest.fixture
def settings(migrated_url, tmp_path, policy):
    said = {"data": str(tmp_path / "data"), "records.url": migrated_url, "datasets.erased": policy}
    return load_settings(None, {}, said)


@pytest.fixture
def erased(platform, perform, stella, stan):
    """Somebody, from everything."""

    def _erased(*identifiers, done=True):
        body = {"identifiers": identifiers or (WHOM,), "reference": "DSR-17"}
        asked = perform("request_erasure", stella, **body)
        perform("approve_erasure", stan, {"erasure": asked.id}, reason=REASON)
        if done:
            assert platform.control.services.subject_erasures.go_on() == 1
        return asked

    return _erased


@pytest.fixture
def cases(perform, stella):
    """Open cases of a version, those who were erased last."""

    def _cases(version):
        found = [one for one in perform("list_quarantine", stella, state="open") if one.dataset == version.dataset]
        mine = [one for one in found if one.number == version.number]
        return sorted(mine, key=lambda one: {reason.kind for reason in one.reasons} >= {"erased"})

    return _cases


def emails(rows, subject, version):
    return set(rows(subject, version, **CARE).get_column("email"))


def report_of(perform, stella, version):
    path = {"name": version.dataset, "number": str(version.number)}
    return perform("read_data_report", stella, path).report


def test_the_same_source_again_brings_nobody_back(taken_in, rows, perform, stella, erased, cases, entries):
    taken_in(name="trips")
    erasure = erased()
    again, elsewhere = taken_in(name="trips"), taken_in(visits(20, first=100))
    for version, held in ((again, 9), (elsewhere, 3)):
        assert (version.state, version.quarantined) == ("available", held)
        assert WHOM not in emails(rows, stella, version)
        (case,) = cases(version)
        assert {reason.kind for reason in case.reasons} == {"erased"}
        assert {reason.reason for reason in case.reasons} == {
            f"column 'email' names somebody who was erased ({erasure.id})"
        }
        said = report_of(perform, stella, version)
        assert {"check": "people who were erased", "ran": True, "passed": True, "reason": f"{held} rows are held"} in (
            json.loads(said)["gates"]["checks"]
        )
        assert WHOM not in said
    assert WHOM not in json.dumps(entries("data:version:intake"))


def test_without_an_erasure_nothing_is_looked_for(taken_in, perform, stella, catalogue):
    version = taken_in()
    assert catalogue.erased.known("visits") is None
    assert "erased" not in report_of(perform, stella, version)


def test_who_lets_a_mistyped_number_out_lets_nobody_back_in_with_it(taken_in, rows, perform, stan, erased, cases):
    erased()
    version = taken_in(visits(40, spoil=(3, 5)))
    other, theirs = cases(version)
    assert [reason.row for reason in other.reasons] == [5]
    assert [(reason.row, reason.kind) for reason in theirs.reasons][:2] == [(3, "gate"), (3, "erased")]
    released = perform("release_quarantine", stan, {"case": other.id}, reason="the amount was meant")
    assert (released.number, released.rows, released.quarantined) == (2, 34, 6)
    assert WHOM not in emails(rows, stan, released)
    back = perform("release_quarantine", stan, {"case": theirs.id}, reason=CONSENT)
    assert (back.number, back.derived_from, back.rows, back.quarantined) == (3, 2, 40, 0)
    assert WHOM in emails(rows, stan, back)


def test_only_another_steward_lets_them_back_and_says_why(taken_in, perform, stella, stan, mel, erased, cases, entries):
    erased()
    (case,) = cases(taken_in())
    for nobody, reason in ((stella, CONSENT), (mel, CONSENT)):
        with pytest.raises(Denied):
            perform("release_quarantine", nobody, {"case": case.id}, reason=reason)
    perform("release_quarantine", stan, {"case": case.id}, reason=CONSENT)
    assert perform("read_quarantine_case", stan, {"case": case.id}).note == CONSENT
    assert entries("data:quarantine:release")[-1]["context"]["reason"] == CONSENT


def test_of_two_cases_let_out_at_once_neither_is_lost(taken_in, catalogue, platform, erased, cases, stan):
    erased()
    one, other = cases(taken_in(visits(40, spoil=(5,))))
    first, second = catalogue.desk.prepare_release(one.id), catalogue.desk.prepare_release(other.id)
    with platform.records.write() as conn:
        catalogue.desk.release(conn, one.id, first, stan, CONSENT)
    with pytest.raises(Conflict, match="ask again"), platform.records.write() as conn:
        catalogue.desk.release(conn, other.id, second, stan, CONSENT)


def test_an_intake_begun_while_they_are_being_erased_holds_them(taken_in, rows, stella, erased, erasures_go_on):
    """Approved, and not carried out yet: nobody waits for what comes now, so that it is judged with the marks."""
    erased(done=False)
    version = taken_in()
    assert WHOM not in emails(rows, stella, version)
    assert erasures_go_on() == 1


@pytest.fixture
def erasures_go_on(platform):
    return platform.control.services.subject_erasures.go_on


def test_another_name_of_the_column_or_a_purpose_without_it_hides_nobody(taken_in, rows, stella, erased, cases):
    erased(WHOM, "DE89370400440532013001")
    renamed = contract().decode().replace("name: email", "name: contact").encode()
    version = taken_in(visits(20).replace(b"email", b"contact"), renamed)
    assert WHOM not in set(rows(stella, version, **CARE).get_column("contact"))
    planned = taken_in(visits(20, first=50), purpose="planning")
    assert "email" not in [column.name for column in planned.columns]
    (case,) = cases(planned)
    assert len(case.reasons) == planned.quarantined == 3


@pytest.mark.parametrize("policy", ["refuse"])
def test_policy_refuses_the_version(taken_in, erased, perform, stella):
    erased()
    version = taken_in()
    assert (version.state, taken_in(visits(3)).state) == ("failed", "available")
    assert "9 rows name somebody" in report_of(perform, stella, version)


def test_a_contract_refuses_the_version_and_one_that_says_nonsense_is_refused(taken_in, erased):
    erased()
    said = "    customProperties: [{property: erased, value: refuse}]\n"
    assert taken_in(agreed=contract(more=said)).state == "failed"
    with pytest.raises(Exception, match="erased: hold or refuse"):
        taken_in(agreed=contract(more=said.replace("refuse", "ignore")))


def test_more_than_a_fifth_of_the_rows_fails_the_version(taken_in, erased):
    erased(*(f"p{at}@example.org" for at in range(3)))
    assert taken_in().state == "failed"


def test_who_was_erased_from_one_column_is_looked_for_there_alone(taken_in, rows, perform, stella, catalogue):
    taken_in()
    taken_in(visits(60, first=0), name="trips")
    perform("erase_data_subject", stella, {"name": "visits"}, column="email", value=WHOM, reference="DSR-1")
    again = taken_in()
    assert (again.number, again.quarantined) == (3, 9)
    assert WHOM not in emails(rows, stella, again)
    assert catalogue.erased.known("trips") is None
    assert WHOM in emails(rows, stella, taken_in(visits(20), name="trips"))


def test_the_database_says_nobody(taken_in, erased, platform, catalogue):
    """Neither the identifier, nor anything that a guess could be tested against without the root key."""
    erased(WHOM)
    with platform.records.read() as conn:
        kept = [bytes(row.sealed) for t in (table.erased, table.erased_keys) for row in conn.execute(select(t))]
        kept += [str(row).encode() for row in conn.execute(select(table.erased.c.erasure, table.erased.c.dataset))]
        marking = catalogue.erased._marking(conn)
    (mark,) = marking.of_identifiers([WHOM])
    assert len(kept) == 3
    assert not any(WHOM.encode() in raw or mark.digest in raw for raw in kept)


def test_marks_outlive_the_version_of_the_key_that_sealed_them(taken_in, erased, platform, catalogue, rows, stella):
    erased()
    with platform.records.write() as conn:
        platform.keyring.rotate(conn, DEFAULT_TENANT, Purpose.FIELDS)
    catalogue.tidy()
    with platform.records.write() as conn:
        platform.keyring.destroy(conn, DEFAULT_TENANT, Purpose.FIELDS, 1)
    assert WHOM not in emails(rows, stella, taken_in())


def test_marks_that_do_not_open_let_nobody_in(taken_in, erased, platform):
    """Whoever edits the database to let somebody back in stops every intake instead."""
    erased()
    erased("p4@example.org")
    e = table.erased.c
    with platform.records.write() as conn:
        first, second = conn.execute(select(e.erasure, e.sealed).order_by(e.erasure)).all()
        conn.execute(update(table.erased).where(e.erasure == first.erasure).values(sealed=second.sealed))
    with pytest.raises(IntegrityError):
        taken_in()
    with platform.records.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM data_set_versions")).scalar_one() == 0


def test_who_is_being_erased_is_not_readmitted(perform, stan, erased):
    asked = erased(done=False)
    path = {"erasure": asked.id}
    with pytest.raises(Conflict, match="being erased"):
        perform("readmit_erased_subject", stan, path, reason=CONSENT)


def test_who_gave_consent_anew_comes_back(taken_in, rows, perform, stella, stan, mel, erased, entries):
    asked = erased()
    path = {"erasure": asked.id}
    assert taken_in(visits(20)).quarantined == 3
    assert perform("read_erasure", stella, path).kept_out
    for nobody in (stella, mel):
        with pytest.raises(Denied):
            perform("readmit_erased_subject", nobody, path, reason=CONSENT)
    with pytest.raises(Invalid, match="why and not whom"):
        perform("readmit_erased_subject", stan, path, reason=f"{WHOM.upper()} asked for it in writing")
    assert not perform("readmit_erased_subject", stan, path, reason=CONSENT).kept_out
    assert entries("data:erasure:readmit")[-1]["context"]["reason"] == CONSENT
    assert WHOM in emails(rows, stella, taken_in(visits(30)))
    with pytest.raises(NotFound):
        perform("readmit_erased_subject", stan, path, reason=CONSENT)


def test_an_erasure_from_one_column_is_lifted_for_its_data_set_alone(taken_in, perform, stella, stan, rows):
    taken_in()
    done = perform("erase_data_subject", stella, {"name": "visits"}, column="email", value=WHOM, reference="DSR-1")
    taken_in(name="trips")
    with pytest.raises(NotFound):
        perform("readmit_to_data_set", stan, {"name": "trips", "erasure": done.id}, reason=CONSENT)
    with pytest.raises(Invalid, match="why and not whom"):
        perform("readmit_to_data_set", stan, {"name": "visits", "erasure": done.id}, reason=WHOM)
    perform("readmit_to_data_set", stan, {"name": "visits", "erasure": done.id}, reason=CONSENT)
    assert WHOM in emails(rows, stella, taken_in(visits(20)))
