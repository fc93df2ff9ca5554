"""What is due is rotated, what is overdue is said once a week: each with its entry, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from vallum.compose import SYSTEM_SUBJECT, Platform, prepare
from vallum.kernel.errors import Unavailable
from vallum.kernel.keys import DEFAULT_TENANT, Purpose, RotationRules, Rotations, Vault
from vallum.kernel.upkeep import Upkeep
from vallum.settings import load_settings


class SetClock:
    def __init__(self):
        self.at = datetime.now(UTC)

    def now(self):
        return self.at

    def advance(self, days):
        self.at += timedelta(days=days)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def platform(migrated_url, tmp_path):
    settings = load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})
    prepare(settings)
    opened = Platform.open(settings)
    opened.start()
    opened.keyring.seal(DEFAULT_TENANT, Purpose.CONTENT, b"", b"")
    yield opened
    opened.close()


def upkeep(platform, clock, **rules):
    rotations = Rotations(platform.keyring, clock, RotationRules(**{"rotation_days": 90, "max_age_days": 365, **rules}))
    return Upkeep(platform.records, platform.keyring, platform.vault, rotations, platform.gate, clock, SYSTEM_SUBJECT)


def entries(platform, kind):
    if platform.records.dialect == "postgresql":
        with platform.records.write() as conn:
            platform.ledger.sequence(conn, 1000)
    with platform.records.read() as conn:
        return platform.ledger.entries(conn, kind=kind)


def versions(platform):
    with platform.records.read() as conn:
        (found,) = [k for k in platform.keyring.describe(conn) if k.purpose == Purpose.CONTENT]
    return [v.state for v in found.versions]


def test_nothing_due_leaves_no_entry(platform, clock):
    upkeep(platform, clock).run()
    assert entries(platform, "change") == entries(platform, "alert") == []


def test_what_is_due_is_rotated_once_with_its_entry(platform, clock):
    clock.advance(90.01)
    upkeep(platform, clock).run()
    assert versions(platform) == ["former", "current"]
    made = [e for e in entries(platform, "change") if e.context["purpose"] == "content"]
    (entry,) = made
    assert (entry.subject, entry.action, entry.outcome) == ("system:vallum", "keys:keyset:rotate", "ok")
    assert entry.context["tenant"] == "default"
    with platform.records.write() as conn:  # as old as the clock of this test says, which the keyring's own is not
        conn.exec_driver_sql("UPDATE keyset_versions SET created_at = '2999-01-01T00:00:00.000000Z'")
    upkeep(platform, clock).run()
    assert versions(platform) == ["former", "current"]


def test_where_people_rotate_the_overdue_is_said_once_a_week(platform, clock):
    mine = upkeep(platform, clock, automatic=False)
    clock.advance(91)
    mine.run()
    assert entries(platform, "alert") == []  # due, and not overdue yet
    clock.advance(7)
    for _ in range(3):
        mine.run()
    (entry,) = [e for e in entries(platform, "alert") if e.context["name"] == "default/content"]
    assert (entry.action, entry.subject, entry.effect) == ("keys:rotation:overdue", "system:vallum", "allow")
    assert entry.context["thing"] == "keyset"
    assert versions(platform) == ["current"]
    clock.advance(6.9)
    upkeep(platform, clock, automatic=False).run()  # another process, that knows only the database
    assert len([e for e in entries(platform, "alert") if e.context["name"] == "default/content"]) == 1
    clock.advance(0.2)
    mine.run()
    assert len([e for e in entries(platform, "alert") if e.context["name"] == "default/content"]) == 2


def test_a_clock_that_was_in_the_future_silences_no_alert(platform, clock):
    mine = upkeep(platform, clock, automatic=False)
    clock.advance(20_000)
    mine.run()
    before = len(entries(platform, "alert"))
    clock.advance(-19_000)
    mine.run()
    assert len(entries(platform, "alert")) == 2 * before > 0


def test_root_and_signing_keys_and_credentials_are_only_reported(platform, clock):
    with platform.records.write() as conn:
        key = platform.identity.api_keys.issue(conn, "app", label="old")
    platform.keyring.signing_key("a key")
    clock.advance(373)
    mine = upkeep(platform, clock)
    status = mine.status()
    assert status.root == "file"
    overdue = {(one.kind, one.name) for one in status.rotations if one.state == "overdue" and not one.automatic}
    assert {("root_key", "file"), ("signing_key", "a key"), ("api_key", key.key.id)} <= overdue
    mine.run()
    said = {(e.context["thing"], e.context["name"]) for e in entries(platform, "alert")}
    assert said == overdue


def test_versions_of_secrets_past_their_overlap_are_erased_with_an_entry(platform, clock):
    vault = Vault(platform.records, platform.keyring, clock)
    for value in (b"first", b"second"):
        with platform.records.write() as conn:
            vault.put(conn, "openai", value, overlap_seconds=60)
    rotations = Rotations(platform.keyring, clock, RotationRules(0, max_age_days=0))
    mine = Upkeep(platform.records, platform.keyring, vault, rotations, platform.gate, clock, SYSTEM_SUBJECT)
    mine.run()
    assert entries(platform, "change") == []
    clock.advance(1)
    for _ in range(2):
        mine.run()
    (entry,) = entries(platform, "change")
    assert (entry.action, entry.subject, entry.context["versions"]) == ("vault:secret:expire", "system:vallum", 1)
    with platform.records.read() as conn:
        assert conn.exec_driver_sql("SELECT version FROM secret_versions").scalars().all() == [2]


def test_one_that_fails_keeps_no_other_from_being_rotated(platform, clock, monkeypatch):
    platform.keyring.seal(DEFAULT_TENANT, Purpose.FIELDS, b"", b"")
    clock.advance(91)
    mine, rotate = upkeep(platform, clock), platform.keyring.rotate

    def fails_once(conn, tenant, purpose):
        if purpose == Purpose.CONTENT:
            raise Unavailable("the root key's service does not answer")
        return rotate(conn, tenant, purpose)

    monkeypatch.setattr(platform.keyring, "rotate", fails_once)
    mine.run()
    outcomes = {e.context["purpose"]: e.outcome for e in entries(platform, "change")}
    assert (outcomes["content"], outcomes["fields"]) == ("error", "ok")
