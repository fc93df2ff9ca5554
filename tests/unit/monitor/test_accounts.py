"""Following the ledger: nothing twice, nothing left out, and an alert that is in the ledger as all else is."""

import time
from dataclasses import replace

import msgspec
import pytest
from sqlalchemy import insert, select, update

from vallum.compose import SYSTEM_SUBJECT
from vallum.kernel.errors import Conflict, Denied, Invalid, NotFound
from vallum.kernel.gate import AccessDenied
from vallum.kernel.identity.records import persons, session_places
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.policy import PolicySet, shipped_policies, shipped_schema
from vallum.kernel.policy.changes import OwnRequest
from vallum.kernel.values import Subject, SubjectKind, TenantId
from vallum.monitor import AccountWatch, AlertDecided, Follower, Profile
from vallum.monitor import records as table

STEP_UP = "this needs a fresh second factor"


@pytest.fixture
def open_watch(platform):
    alerts = platform.control.services.alerts
    return lambda: AccountWatch(platform.records, platform.ledger, platform.gate, alerts, SYSTEM_SUBJECT)


@pytest.fixture
def watch(open_watch):
    opened = open_watch()
    opened.poll()
    return opened


@pytest.fixture
def alerts(platform):
    return platform.control.services.alerts


def somebody(name="per_9", holder="per_9", role="security"):
    """With a second factor proven just now."""
    now = int(time.time())
    return Subject(SubjectKind.PERSON, name, TenantId("default"), frozenset({role}), mfa_at_seconds=now, holder=holder)


def denied(record, times=5, **changes):
    return [record(effect="deny", outcome="denied", **changes) for _ in range(times)]


def test_what_is_unusual_is_an_alert_and_an_entry(platform, watch, alerts, record, integrate):
    *_, last = denied(record)
    assert watch.poll() == 1
    (alert,) = alerts.list()
    assert (alert.subject, alert.detectors, alert.entry_id, alert.state) == ("person:per_1", ("denials",), last, "open")
    integrate()
    with platform.records.read() as conn:
        (entry,) = platform.ledger.entries(conn, kind="alert")
        said = platform.ledger.content(conn, entry.entry_id, "explanation").decode()
    assert (entry.subject, entry.action) == ("system:vallum", "monitor:alert:raise")
    told = {"alert": alert.id, "about": "person:per_1", "because": last, "detectors": "denials"}
    assert entry.context | told == entry.context
    assert said == alert.explanation
    assert "5 refusals within 10 minutes" in said
    assert watch.poll() == 0


def test_what_was_before_is_no_news_and_nothing_is_read_twice(open_watch, alerts, record):
    denied(record, 4)
    first = open_watch()
    assert first.poll() == 0  # begins here
    denied(record, 4)
    assert first.poll() == 0
    again = open_watch()  # a restart goes on where the first was
    assert again.poll() == 0
    denied(record, 1)
    assert again.poll() == 1
    assert first.poll() == 0
    assert len(alerts.list()) == 1


def test_asking_for_a_fresh_factor_applications_and_the_system_are_left_alone(watch, alerts, record):
    denied(record, 9, reason=STEP_UP)
    denied(record, 9, subject="application:handbook", kind="inference")
    denied(record, 9, subject="system:vallum")
    assert watch.poll() == 0
    assert alerts.list() == []


def test_guesses_of_nobody_are_counted(watch, alerts, record):
    record(subject="nobody", kind="authentication", effect="deny", outcome="refused", context={"attempts": 49})
    assert watch.poll() == 0
    record(subject="nobody", kind="authentication", effect="deny", outcome="refused", context={"attempts": 1})
    assert watch.poll() == 1
    assert alerts.list()[0].subject == "nobody"


def test_places_come_from_sessions_and_stay_out_of_the_ledger(platform, watch, alerts, record, integrate):
    """Sessions that have ended meanwhile among them."""
    with platform.records.write() as conn:
        for name, network in (("ses_a", "10.1.2.0/24"), ("ses_b", "203.0.113.0/24")):
            conn.execute(insert(session_places).values(session_id=name, from_seconds=0, network=network))
    for credential in ("ses_a", "ses_b", "ses_a"):
        record(credential=credential)
    assert watch.poll() == 1
    assert alerts.list()[0].detectors == ("concurrency",)
    assert "203.0.113.0/24" in alerts.list()[0].explanation
    integrate()
    with platform.records.read() as conn:
        (entry,) = platform.ledger.entries(conn, kind="alert")
        canonical = platform.ledger.canonical(conn, entry.entry_id)
    assert b"203.0.113" not in canonical


def test_the_same_again_is_counted_while_nobody_has_closed_it_and_costs_no_budget(platform, watch, alerts, record):
    *_, last = denied(record, 700)
    assert watch.poll() == 1
    (alert,) = alerts.list()
    assert (alert.count, alert.last_entry_id) == (696, last)
    with platform.records.read() as conn:
        raw = bytes(conn.execute(select(table.profiles.c.learnt)).scalar())
    assert len(msgspec.json.decode(raw, type=Profile).alarms["denials"]) == 1
    with platform.records.write() as conn:
        alerts.close(conn, alert.id, somebody(), "expected")
    denied(record, 1)
    assert watch.poll() == 0  # one a day
    assert [one.state for one in alerts.list()] == ["closed"]


def test_strangers_spend_nobodys_budget(platform, watch, alerts, record, monkeypatch):
    """Refusals of nobody known are an alert on the hundredth day as on the first."""
    for _ in range(30):
        with platform.records.write() as conn:
            for alert in alerts.open_for(conn, "nobody"):
                alerts.close(conn, alert.id, somebody(), "expected")
            row = conn.execute(select(table.profiles.c.learnt).where(table.profiles.c.subject == "nobody")).scalar()
            if row is not None:  # as if each were another day
                profile = msgspec.json.decode(bytes(row), type=Profile)
                profile.alarms = {name: [day - 1 for day in days] for name, days in profile.alarms.items()}
                conn.execute(update(table.profiles).values(learnt=msgspec.json.encode(profile)))
        record(subject="nobody", kind="authentication", effect="deny", outcome="refused", context={"attempts": 60})
        assert watch.poll() == 1


def test_policies_that_forbid_alerts_do_not_stop_the_reading(platform, watch, alerts, record, integrate):
    files = {
        **shipped_policies(),
        "ours.cedar": '@id("quiet") forbid (principal, action == Vallum::Action::"monitor:alert:raise", resource);',
    }
    platform.policy.replace(PolicySet.parse(files, shipped_schema()))
    denied(record)
    assert watch.poll() == 0
    denied(record, subject="person:per_2")
    assert watch.poll() == 0
    integrate()
    with platform.records.read() as conn:
        entries = platform.ledger.entries(conn, kind="alert")
    assert [(e.effect, e.policies) for e in entries] == [("deny", ("quiet",))] * 2


def test_no_program_says_what_an_alert_was(watch, alerts, record, perform):
    denied(record, subject="service:svc_1")
    watch.poll()
    service = Subject(SubjectKind.SERVICE, "svc_1", TenantId("default"), frozenset({"security"}))
    for subject in (service, replace(service, id="svc_2")):
        with pytest.raises(AccessDenied):
            perform("close_alert", subject, {"id": alerts.list()[0].id}, verdict="expected")


def test_an_alert_that_cannot_be_written_is_raised_later(platform, watch, alerts, record, monkeypatch):
    denied(record)
    monkeypatch.setattr(type(alerts), "raise_", lambda *a: (_ for _ in ()).throw(Conflict("the disk is full")))
    with pytest.raises(Conflict):
        watch.poll()
    assert alerts.list() == []
    monkeypatch.undo()
    assert watch.poll() == 1


def test_two_processes_do_not_both_deal_with_an_entry(platform, open_watch, record):
    one, other = (Follower("reader", platform.records, platform.ledger) for _ in range(2))
    one.next_page()
    record()
    at, entries, end = one.next_page()
    assert (len(entries), other.next_page()[0]) == (1, at)
    with platform.records.write() as conn:
        one.advance(conn, at, end)
    with pytest.raises(Conflict), platform.records.write() as conn:
        other.advance(conn, at, end)


def test_many_entries_are_read_page_by_page(platform, watch, record, integrate):
    draft = EntryDraft(
        tenant="default", kind="decision", subject="service:svc_1", action="a:b:c", asset="System:vallum",
        effect="allow", outcome="ok",
    )  # fmt: skip
    with platform.records.write() as conn:
        platform.ledger.append(conn, [draft] * 1200)
    integrate()
    assert watch.poll() == 0
    with platform.records.read() as conn:
        assert conn.execute(select(table.cursors.c.next_index)).scalar() == platform.ledger.size(conn)
        assert conn.execute(select(table.profiles.c.subject)).scalars().all() == ["service:svc_1"]


# What people say of alerts.


def test_somebody_looks_says_what_it_was_and_it_counts(platform, watch, alerts, record, perform):
    denied(record)
    watch.poll()
    alert = alerts.list()[0]
    sam = somebody()
    assert perform("acknowledge_alert", sam, {"id": alert.id}, note="asking her").state == "acknowledged"
    closed = perform("close_alert", sam, {"id": alert.id}, verdict="false_alarm", note="a new script")
    assert (closed.state, closed.verdict, closed.decided_by) == ("closed", "false_alarm", "person:per_9")
    for again in ("acknowledge_alert", "close_alert"):
        body = {"verdict": "incident"} if again == "close_alert" else {}
        with pytest.raises(AlertDecided):
            perform(again, sam, {"id": alert.id}, **body)
    tally = {one.detector: one for one in perform("tally_alerts", sam)}
    assert (tally["denials"].raised, tally["denials"].false_alarm, tally["denials"].open) == (1, 1, 0)
    assert tally["volume"].raised == 0
    assert [one.id for one in perform("list_alerts", sam, state="closed")] == [alert.id]
    assert alerts.list(subject="person:somebody") == []
    assert perform("read_alert", sam, {"id": alert.id}) == closed


def test_nobody_decides_about_themselves_from_whatever_account(platform, watch, alerts, record, perform):
    with platform.records.write() as conn:
        conn.execute(insert(persons).values(
            id="per_1", tenant="default", name="ada", password_hash="", totp_sealed=b"", totp_last_step=0,
            roles="security", version=1, created_at="", holder="per_1", inviter="",
        ))  # fmt: skip
    denied(record)
    watch.poll()
    alert = alerts.list()[0]
    for account in ("per_1", "per_2"):
        ada = somebody(account, holder="per_1")
        with pytest.raises(AccessDenied, match="forbidden by policy"):
            perform("close_alert", ada, {"id": alert.id}, verdict="expected")
        with pytest.raises(OwnRequest), platform.records.write() as conn:
            alerts.close(conn, alert.id, ada, "expected")
    assert perform("close_alert", somebody(), {"id": alert.id}, verdict="expected").state == "closed"


def test_a_stolen_session_says_nothing(watch, alerts, record, perform):
    denied(record)
    watch.poll()
    stale = replace(somebody(), mfa_at_seconds=int(time.time()) - 301)
    with pytest.raises(AccessDenied, match="fresh second factor"):
        perform("close_alert", stale, {"id": alerts.list()[0].id}, verdict="expected")


def test_status_says_how_far_behind_watching_is(watch, record, perform):
    before = perform("read_status").unwatched  # reading is an entry, too
    denied(record, 3)
    assert perform("read_status").unwatched >= before + 3
    watch.poll()
    assert perform("read_status").unwatched <= 1


def test_closed_alerts_go_after_a_year(platform, watch, alerts, record):
    denied(record)
    watch.poll()
    with platform.records.write() as conn:
        conn.execute(update(table.alerts).values(raised_at="2020-01-01T00:00:00.000000Z"))
    alerts.sweep()
    assert len(alerts.list()) == 1  # nobody has closed it
    with platform.records.write() as conn:
        alerts.close(conn, alerts.list()[0].id, somebody(), "expected")
    alerts.sweep()
    assert alerts.list() == []


def test_who_may_see_and_say(platform, watch, alerts, record, perform):
    denied(record)
    watch.poll()
    alert = alerts.list()[0]
    auditor = somebody(role="auditor")
    assert perform("list_alerts", auditor)
    with pytest.raises(Denied):
        perform("acknowledge_alert", auditor, {"id": alert.id})
    with pytest.raises(Denied):
        perform("list_alerts", somebody(role="member"))
    with pytest.raises(Denied, match="no such asset"):
        perform("read_alert", auditor, {"id": "alr_unknown"})
    with pytest.raises(NotFound):
        alerts.alert("alr_unknown")
    with pytest.raises(Invalid), platform.records.write() as conn:
        alerts.close(conn, alert.id, somebody(), "expected", "\x1b[2J")
