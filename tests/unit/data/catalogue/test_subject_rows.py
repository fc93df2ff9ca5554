"""A person is erased from everything: asked for by one, approved by another, held, crashed into, proven."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from governed_data import visits
from registered_models import person
from sqlalchemy import select, text

from vallum.data.catalogue import records as table
from vallum.data.catalogue.versions import key_of
from vallum.data.subjects import records as erasure_table
from vallum.kernel.errors import Conflict, Denied, IntegrityError, Invalid
from vallum.kernel.ids import new_id
from vallum.kernel.keys import decrypt_stream
from vallum.kernel.ledger.audit import verify_store
from vallum.kernel.ledger.entry import EntryDraft
from vallum.models.attestations import verify_envelope
from vallum.models.registry.signing_keys import SigningKeys
from vallum.settings import load_settings

WHOM = "p3@example.org"
ELSA = replace(person("elsa", "data_steward"), tenant="other")
REASON = "asked for by letter, identity checked"


@pytest.fixture
def settings(migrated_url, tmp_path):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


@pytest.fixture
def erasures(platform):
    return platform.control.services.subject_erasures


def exchange(question, answer="fine", behalf=""):
    """One whose contents are kept for a month."""
    return EntryDraft(
        tenant="default", kind="inference", subject="application:app_1", action="gateway:model:invoke",
        asset="Model:m", effect="allow", outcome="ok",
        context={"keep_days": 30} | ({"on_behalf_of": behalf} if behalf else {}),
        contents={"request": json.dumps({"content": question}).encode(), "answer": answer.encode()},
        retention_seconds=30 * 86_400,
    )  # fmt: skip


@pytest.fixture
def said(platform):
    """The entry of an exchange."""
    return lambda *told, **more: platform.writer.record_sync(exchange(*told, **more)).entry_id


@pytest.fixture
def verified(platform):
    """The whole store, held to the log."""

    def _verified():
        if platform.records.dialect == "postgresql":
            with platform.records.write() as conn:
                platform.ledger.sequence(conn, 10_000)
        with platform.records.read() as conn:
            return verify_store(conn, platform.ledger, platform.keyring, None)

    return _verified


@pytest.fixture
def asked(perform, stella):
    def _asked(*identifiers, reference="DSR-17"):
        return perform("request_erasure", stella, identifiers=identifiers or (WHOM,), reference=reference)

    return _asked


def approve(perform, stan, erasure):
    return perform("approve_erasure", stan, {"erasure": erasure.id}, reason=REASON)


def test_everything_of_theirs_goes_and_nothing_of_anybody_elses(
    taken_in, rows, perform, stella, stan, asked, said, erasures, platform, verified, entries
):
    taken_in(visits(spoil=(3,)))
    other = taken_in(visits(7, first=100), name="stays")
    untouched = taken_in(visits(3), name="calm")  # p0, p1, p2
    perform("record_data_use", stella, {"name": "visits", "number": "1"}, kind="model", used_by="churn/3")
    theirs, answered = said(f"who is {WHOM}?"), said("who came on Tuesday?", f"it was {WHOM}.")
    nobodys = said("who is xp3@example.org?")
    found = asked()
    assert [(one.place, one.count, one.columns) for one in found.found] == [
        ("stays/1", 1, {"email": 1}), ("visits/1", 8, {"email": 8}),
        (found.found[2].place, 1, {"email": 1}), ("exchanges", 2, {"request": 1, "answer": 1}),
    ]  # fmt: skip
    assert found.found[1].made_from_it == ("model churn/3",)
    assert erasures.go_on() == 0, "nothing goes before somebody else approved"
    with pytest.raises(Denied):
        approve(perform, stella, found)
    approve(perform, stan, found)
    assert erasures.go_on() == 1

    done = perform("read_erasure", stella, {"erasure": found.id})
    assert (done.state, [step.count for step in done.steps]) == ("done", [1, 9, 2])
    for name, number in (("visits", "2"), ("stays", "2")):
        made = perform("read_data_version", stella, {"name": name, "number": number})
        assert WHOM not in set(rows(stella, made, purpose="care").get_column("email"))
    assert rows(stella, untouched, purpose="care").height == 3
    for version in (other, perform("read_data_version", stella, {"name": "visits", "number": "1"})):
        with pytest.raises(Denied):
            rows(stella, version, purpose="care")
    with platform.records.read() as conn:
        kept = set(conn.execute(text("SELECT entry_id FROM ledger_contents")).scalars())
        sealed = conn.execute(select(erasure_table.erasures.c.sealed)).scalar_one()
    assert nobodys in kept
    assert kept.isdisjoint({theirs, answered})
    assert bytes(sealed) == b""
    report = verified()
    assert report.shredded == 4, "two exchanges' requests and answers"
    told = json.dumps([entries(a) for a in ("data:erasure:request", "data:subject:erase", "ledger:content:erase")])
    assert WHOM not in told
    assert found.id in told


def test_the_report_is_signed_and_one_that_was_touched_is_not(
    taken_in, perform, stella, stan, asked, erasures, platform
):
    taken_in()
    erasure = asked()
    with pytest.raises(Conflict, match="when it is done"):
        perform("read_erasure_report", stella, {"erasure": erasure.id})
    approve(perform, stan, erasure)
    erasures.go_on()
    signed = perform("read_erasure_report", stella, {"erasure": erasure.id})
    signer, key = SigningKeys(platform.records, platform.keyring, platform.clock, lambda conn: ()).current()
    statement = verify_envelope(signed.envelope.encode(), {signer: key.public_key()})
    digest = hashlib.sha256(signed.report.encode()).hexdigest()
    assert statement.subjects[0].digest == {"sha256": digest}
    report = json.loads(signed.report)
    assert (report["left"], report["steps"][0]["count"], WHOM in signed.report) == (0, 9, False)
    body = json.loads(signed.envelope)
    said = base64.b64decode(body["payload"]).replace(digest[:8].encode(), b"00000000")
    body["payload"] = base64.b64encode(said).decode()
    with pytest.raises(IntegrityError):
        verify_envelope(json.dumps(body).encode(), {signer: key.public_key()})


def test_a_second_erasure_says_what_is_gone_already(taken_in, perform, stella, stan, asked, erasures):
    taken_in()
    first = asked()
    approve(perform, stan, first)
    erasures.go_on()
    again = asked("P3@Example.org", reference="DSR-18")
    assert (again.found, again.before) == ((), (first.id,))
    approve(perform, stan, again)
    assert erasures.go_on() == 1
    report = json.loads(perform("read_erasure_report", stella, {"erasure": again.id}).report)
    assert (report["steps"], report["already_erased_by"]) == ([], [first.id])
    assert asked("p4@example.org", reference="DSR-19").before == ()
    with pytest.raises(Conflict, match="decided already"):
        approve(perform, stan, first)


def test_a_legal_hold_stops_it_until_it_ends(taken_in, rows, perform, stella, stan, asked, said, erasures, entries):
    held, free = taken_in(), taken_in(visits(20), name="stays")
    said(f"who is {WHOM}?")
    perform("hold_data_set", stan, {"name": "visits"}, reason="litigation 2026/4 asks for it")
    erasure = asked()
    assert {one.place: bool(one.held) for one in erasure.found}["visits/1"]
    approve(perform, stan, erasure)
    assert erasures.go_on() == 0
    now = perform("read_erasure", stella, {"erasure": erasure.id})
    assert (now.state, [one.place for one in now.held]) == ("held", ["visits/1"])
    assert {step.place for step in now.steps} == {"stays", "exchanges"}
    assert WHOM in set(rows(stella, held, purpose="care").get_column("email"))
    with pytest.raises(Denied):
        rows(stella, free, purpose="care")
    assert erasures.go_on() == 0
    perform("release_data_hold", stan, {"name": "visits"})
    assert erasures.go_on() == 1
    assert perform("read_erasure", stella, {"erasure": erasure.id}).state == "done"
    with pytest.raises(Denied):
        rows(stella, held, purpose="care")


def test_what_was_under_way_is_waited_for_and_erased_too(
    begin, send, catalogue, platform, rows, perform, stella, stan, asked, erasures
):
    """Judged before anybody approved, and a version after: nothing of judging knew that they go."""
    coming = begin(name="stays")
    send(coming, visits(20))
    erasure = asked()
    judged = catalogue.intakes.complete("stays", coming.id, stella)
    approve(perform, stan, erasure)
    assert erasures.go_on() == 0
    assert coming.id in perform("read_erasure", stella, {"erasure": erasure.id}).problem
    with platform.records.write() as conn:
        assert catalogue.intakes.finish(conn, judged).rows == 20
    assert erasures.go_on() == 1
    made = perform("read_data_version", stella, {"name": "stays", "number": "2"})
    assert WHOM not in set(rows(stella, made, purpose="care").get_column("email"))


def test_who_acts_for_a_person_leaves_nothing_of_what_they_said(asked, said, perform, stan, erasures, platform):
    hers = said("what is the weather?", behalf="person:per_01JHER")
    said("what is the weather?", behalf="person:per_01JHIM")
    erasure = asked("person:per_01JHER")
    assert [(one.place, one.count) for one in erasure.found] == [("exchanges", 1)]
    approve(perform, stan, erasure)
    assert erasures.go_on() == 1
    with platform.records.read() as conn:
        assert hers not in set(conn.execute(text("SELECT entry_id FROM ledger_contents")).scalars())


def test_only_stewards_ask_nobody_decides_for_themselves_and_a_request_can_be_let_go(
    taken_in, perform, stella, stan, mel, asked, erasures, platform
):
    taken_in(visits(3))
    with pytest.raises(Denied):
        perform("request_erasure", mel, identifiers=(WHOM,), reference="r")
    with pytest.raises(Denied):
        perform("list_erasures", mel)
    with pytest.raises(Invalid, match="names the request and not the person"):
        asked(reference=f"erase {WHOM.upper()}")
    erasure = asked("p1@example.org")
    for nobody in (stella, mel, person("ann", "administrator"), ELSA):
        with pytest.raises(Denied):
            approve(perform, nobody, erasure)
    let_go = perform("cancel_erasure", stella, {"erasure": erasure.id}, reason="the letter was not hers")
    assert let_go.state == "cancelled"
    with pytest.raises(Conflict):
        approve(perform, stan, erasure)
    assert erasures.go_on() == 0
    with platform.records.read() as conn:
        assert bytes(conn.execute(select(erasure_table.erasures.c.sealed)).scalar_one()) == b""


def test_another_tenants_steward_reaches_none_of_it(taken_in, perform, asked):
    taken_in(visits(60, spoil=(3,)))
    (case,) = perform("list_quarantine", person("stan", "data_steward"))
    erasure = asked("p1@example.org")
    attempts = [
        ("read_data_set", {"name": "visits"}, {}), ("read_data_version", {"name": "visits", "number": "1"}, {}),
        ("list_data_uses", {"name": "visits"}, {}), ("read_quarantine_case", {"case": case.id}, {}),
        ("read_quarantined_rows", {"case": case.id}, {}), ("release_quarantine", {"case": case.id}, {"reason": REASON}),
        ("destroy_quarantine", {"case": case.id}, {"reason": REASON}),
        ("erase_data_subject", {"name": "visits"}, {"column": "email", "value": WHOM, "reference": "r"}),
        ("hold_data_set", {"name": "visits"}, {"reason": REASON}), ("read_erasure", {"erasure": erasure.id}, {}),
        ("cancel_erasure", {"erasure": erasure.id}, {"reason": REASON}), ("list_data_sets", {}, {}),
        ("list_quarantine", {}, {}), ("list_erasures", {}, {}), ("list_data_egress", {}, {}),
    ]  # fmt: skip
    for name, path, body in attempts:
        with pytest.raises(Denied):
            perform(name, ELSA, path, **body)


def test_a_content_that_went_without_an_erasures_entry_is_tampering(said, verified, platform):
    said("about nobody")
    verified()
    with platform.records.write() as conn:
        conn.execute(text("DELETE FROM ledger_contents"))
    with pytest.raises(IntegrityError, match="removed before its time was over"):
        verified()


def test_a_backup_of_the_blobs_is_noise_after_it(taken_in, perform, stan, asked, erasures, blobs, platform):
    """Whoever copied the blob store before has rows that no key opens: not the former's, and not the present one's."""
    taken_in()
    with platform.records.read() as conn:
        row = conn.execute(select(table.versions)).one()
        assert conn.execute(select(table.intakes.c.sealed_key)).scalars().all() == [b""], "its source's went before"
    backup = {path.parent.name: path.read_bytes() for path in blobs()}
    key = key_of(platform.keyring, "version", row)
    erasure = asked()
    approve(perform, stan, erasure)
    erasures.go_on()
    with platform.records.read() as conn:
        now = conn.execute(select(table.versions).order_by(table.versions.c.number)).all()
    assert bytes(now[0].sealed_key) == b""
    raw, aad = backup[row.id], b"\x00".join((b"vallum/data/part/1", row.id.encode(), b"0"))
    assert b"".join(decrypt_stream(key, [raw], aad))[:4] == b"PAR1", "with its key it was rows"
    for other in (key_of(platform.keyring, "version", now[1]), bytes(32)):
        with pytest.raises(IntegrityError):
            b"".join(decrypt_stream(other, [raw], aad))
    if platform.records.dialect == "sqlite":
        files = list(Path(platform.settings.records_url.removeprefix("sqlite:///")).parent.glob("records.db*"))
        assert files
        assert not any(bytes(row.sealed_key) in path.read_bytes() for path in files)


def test_two_erasures_at_once_bring_nobodys_rows_back(taken_in, catalogue, platform, stella):
    """Both read a case before either wrote it: the second must not put back what the first made go."""
    taken_in(visits(10, spoil=(3, 4)))
    first = catalogue.erasures.plan("visits", "visit", "3", "a")
    second = catalogue.erasures.plan("visits", "visit", "4", "b")
    assert len(first.versions) == len(second.versions) == 0, "only the case has them"
    with platform.records.write() as conn:
        catalogue.erasures.carry_out(conn, first, stella)
    with pytest.raises(Conflict, match="ask again"), platform.records.write() as conn:
        catalogue.erasures.carry_out(conn, second, stella)


def test_rows_erased_while_a_release_was_prepared_do_not_come_back(taken_in, catalogue, platform, stan, stella):
    taken_in(visits(10, spoil=(3,)))
    with platform.records.read() as conn:
        (case,) = catalogue.desk.cases(conn)
    prepared = catalogue.desk.prepare_release(case.id)
    plan = catalogue.erasures.plan("visits", "visit", "3", "a")
    with platform.records.write() as conn:
        catalogue.erasures.carry_out(conn, plan, stella)
    with pytest.raises(Conflict, match="changed"), platform.records.write() as conn:
        catalogue.desk.release(conn, case.id, prepared, stan, REASON)


def test_an_erasure_keeps_a_versions_time(taken_in, perform, stella):
    """What takes its place goes when it would have gone: erasing somebody keeps everybody else no longer."""
    former = taken_in()
    perform("erase_data_subject", stella, {"name": "visits"}, column="email", value=WHOM, reference="r")
    made = perform("read_data_version", stella, {"name": "visits", "number": "2"})
    assert made.expires_at == former.expires_at


def test_an_altered_record_of_identifiers_erases_nobody(taken_in, perform, stella, stan, asked, erasures, platform):
    """Somebody with the database swaps the sealed identifiers of two requests, so that the wrong person goes."""
    taken_in()
    one, two = asked("p1@example.org", reference="a"), asked("p2@example.org", reference="b")
    approve(perform, stan, one)
    e = erasure_table.erasures.c
    with platform.records.write() as conn:
        sealed = dict(conn.execute(select(e.id, e.sealed)).all())
        for mine, theirs in ((one, two), (two, one)):
            swapped = erasure_table.erasures.update().where(e.id == mine.id).values(sealed=sealed[theirs.id])
            conn.execute(swapped)
    with pytest.raises(IntegrityError):
        approve(perform, stan, two)
    assert erasures.go_on() == 0
    assert perform("read_erasure", stan, {"erasure": one.id}).problem.startswith("seal_broken")
    with platform.records.read() as conn:
        assert conn.execute(select(table.versions.c.state)).scalars().all() == ["available"]


KILLED = """
import os, signal, sys
from pathlib import Path
from vallum.compose import Platform
from vallum.settings import load_settings
from vallum.data.subjects import service

platform = Platform.open(load_settings(None, {}, {"data": sys.argv[1], "records.url": sys.argv[2]}))
platform.writer.start()
after, seen = int(sys.argv[3]), 0
info = service._log.info

def dies(*told):
    global seen
    seen += 1
    if seen == after:
        os.kill(os.getpid(), signal.SIGKILL)

service._log.info = dies
platform.control.services.subject_erasures.go_on()
"""


def test_one_that_is_killed_in_the_middle_is_finished(
    taken_in, perform, stella, stan, asked, said, erasures, settings, verified, entries, platform
):
    """After the first of three steps, and after the last of them, before the report."""
    after = 1 if platform.records.dialect == "sqlite" else 3
    taken_in()
    taken_in(visits(20), name="stays")
    said(f"who is {WHOM}?")
    erasure = asked()
    approve(perform, stan, erasure)
    arguments = [sys.executable, "-c", KILLED, str(settings.data), settings.records_url, str(after)]
    died = subprocess.run(arguments, env={**os.environ}, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    halfway = perform("read_erasure", stella, {"erasure": erasure.id})
    assert (halfway.state, len(halfway.steps)) == ("approved", after)
    assert erasures.go_on() == 1
    done = perform("read_erasure", stella, {"erasure": erasure.id})
    assert (done.state, sorted(step.place for step in done.steps)) == ("done", ["exchanges", "stays", "visits"])
    assert len(entries("data:subject:erase")) == 2, "nothing was done twice"
    verified()


def test_what_no_record_names_is_swept_once_it_is_old_and_nothing_else(taken_in, catalogue, platform, blobs, stella):
    """A case that was made anew leaves its former parts under an owner that is still there."""
    taken_in(visits(10, spoil=(3,)))
    with platform.records.read() as conn:
        (case,) = catalogue.desk.cases(conn)
    catalogue.tidy()
    kept = set(blobs())
    folder = next(path.parent for path in kept if path.parent.name == case.id)
    former, fresh = folder / f"0-{'0' * 26}", folder / f"0-{new_id('blb')[4:]}"
    unknown = folder.parent / "dsv_unknown" / f"0-{'0' * 26}"
    unknown.parent.mkdir()
    for file in (former, fresh, unknown):
        file.write_bytes(b"noise")
    catalogue.tidy()
    assert set(blobs()) == kept | {fresh}
    assert catalogue.desk.rows(case.id)


def test_nothing_that_is_kept_names_the_person(taken_in, perform, stella, stan, asked, entries):
    """Whoever writes the person into a reason or a reference is told, before the ledger has it for good."""
    taken_in(visits(10))
    body = {"column": "email", "value": WHOM, "reference": f"erase {WHOM.upper()}"}
    with pytest.raises(Invalid, match="names the request"):
        perform("erase_data_subject", stella, {"name": "visits"}, **body)
    erasure = asked()
    for name, by in (("approve_erasure", stan), ("cancel_erasure", stella)):
        with pytest.raises(Invalid, match="says why and not whom"):
            perform(name, by, {"erasure": erasure.id}, reason=f"a letter of  {WHOM.title()} came")
    actions = ("data:subject:erase", "data:erasure:request", "data:erasure:approve", "data:erasure:cancel")
    assert WHOM not in json.dumps([entries(action) for action in actions]).casefold()


def test_nobody_lets_their_own_rows_out_nor_anybodys_without_a_reason(taken_in, perform, stella, stan, entries):
    taken_in(visits(60, spoil=(3,)))
    (case,) = perform("list_quarantine", stan)
    for by, reason in ((stan, " " * 12), (stan, "it is ok\n" * 3)):
        with pytest.raises(Invalid, match="reason"):
            perform("release_quarantine", by, {"case": case.id}, reason=reason)
    with pytest.raises(Denied):
        perform("release_quarantine", stella, {"case": case.id}, reason=REASON)
    again = replace(person("stella2", "data_steward"), holder=stella.holder)  # the same human being's other account
    with pytest.raises(Denied):
        perform("release_quarantine", again, {"case": case.id}, reason=REASON)
    stale = person("stan", "data_steward", fresh=False)
    for name in ("release_quarantine", "destroy_quarantine"):
        with pytest.raises(Denied):
            perform(name, stale, {"case": case.id}, reason=REASON)
    assert perform("read_quarantine_case", stan, {"case": case.id}).state == "open"


def test_more_exchanges_than_one_entry_names_go_all_the_same(asked, said, perform, stan, erasures, platform, verified):
    said("about nobody")  # makes the tenant's key: in the transaction below it would be asked for with each content
    with platform.records.write() as conn:
        many = [exchange(f"{n}: who is {WHOM if n % 52 else 'somebody'}?") for n in range(520)]
        platform.ledger.append(conn, many)
    erasure = asked()
    assert [(one.place, one.count) for one in erasure.found] == [("exchanges", 510)]
    approve(perform, stan, erasure)
    assert erasures.go_on() == 1
    done = perform("read_erasure", stan, {"erasure": erasure.id})
    assert sorted(step.count for step in done.steps) == [10, 500]
    assert verified().shredded == 1020
    with platform.records.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM ledger_contents")).scalar_one() == 22
