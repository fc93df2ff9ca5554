from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.clock import format_time
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose, RotationRules, Rotations, rotation_of
from vallum.kernel.values import TenantId

DAY = 86_400
ACME = TenantId("acme")
RULES = RotationRules(rotation_days=30, automatic=True, max_age_days=365)


@pytest.fixture
def rotations(keyring, clock):
    return Rotations(keyring, clock, RULES)


def state(records, rotations, name="acme/content"):
    with records.read() as conn:
        found = {one.name: one for one in rotations.status(conn)}
    return found[name].state, found[name].due_at and found[name].due_at[:10]


def schedule(records, rotations, days, tenant=ACME):
    with records.write() as conn:
        rotations.schedule(conn, tenant, Purpose.CONTENT, days)


instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(instants, instants, st.integers(1, 36_500))
def test_a_thing_is_current_until_its_day_and_overdue_a_week_later(since, now, days):
    found = rotation_of("keyset", "a/content", format_time(since), days, now)
    age = now - since
    expected = "overdue" if age >= timedelta(days + 7) else "due" if age >= timedelta(days) else "current"
    assert found.state == expected
    assert found.due_at == format_time(since + timedelta(days))


@given(instants, instants)
def test_without_a_period_nothing_is_ever_due(since, now):
    found = rotation_of("root_key", "file", format_time(since), 0, now)
    assert (found.state, found.due_at) == ("current", None)


def test_a_keyset_is_as_old_as_its_newest_version(records, rotations, keyring, clock):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    assert state(records, rotations) == ("current", "2026-02-01")
    clock.advance(30 * DAY)
    assert state(records, rotations)[0] == "due"
    clock.advance(7 * DAY)
    assert state(records, rotations)[0] == "overdue"
    with records.write() as conn:
        keyring.rotate(conn, ACME, Purpose.CONTENT)
    assert state(records, rotations) == ("current", "2026-03-10")


def test_a_keyset_has_a_schedule_of_its_own_until_it_is_taken_away(records, rotations, keyring, clock):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    keyring.seal(DEFAULT_TENANT, Purpose.CONTENT, b"", b"")
    schedule(records, rotations, 2)
    clock.advance(2 * DAY)
    assert state(records, rotations)[0] == "due"
    assert state(records, rotations, "default/content")[0] == "current"
    schedule(records, rotations, 0)
    clock.advance(100 * DAY)
    assert state(records, rotations) == ("current", None)
    schedule(records, rotations, None)
    assert state(records, rotations)[0] == "overdue"


@pytest.mark.parametrize("days", [-1, 36_501])
def test_a_period_out_of_range_is_refused(records, rotations, keyring, days):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    with pytest.raises(Invalid):
        schedule(records, rotations, days)


def test_what_was_never_used_has_no_schedule(records, rotations):
    with pytest.raises(NotFound):
        schedule(records, rotations, 30)


def test_a_destroyed_keyset_is_not_due(records, rotations, keyring, clock):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    with records.write() as conn:
        keyring.destroy(conn, ACME, Purpose.CONTENT)
    clock.advance(1000 * DAY)
    assert state(records, rotations) == ("current", None)


def test_a_clock_that_goes_back_makes_nothing_due(records, rotations, keyring, clock):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    clock.advance(-1000 * DAY)
    assert state(records, rotations)[0] == "current"


def test_the_root_key_is_as_old_as_the_oldest_wrapping_in_use(records, rotations, keyring, clock):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    clock.advance(300 * DAY)
    keyring.seal(ACME, Purpose.FIELDS, b"", b"")
    clock.advance(80 * DAY)
    assert state(records, rotations, "file")[0] == "overdue"
    with records.write() as conn:
        keyring.rewrap(conn)
    assert state(records, rotations, "file")[0] == "current"


def test_signing_keys_are_reported_and_not_rotated(records, rotations, keyring, clock):
    keyring.signing_key("ledger")
    clock.advance(366 * DAY)
    with records.read() as conn:
        (found,) = [one for one in rotations.status(conn) if one.kind == "signing_key"]
    assert (found.name, found.state, found.automatic) == ("ledger", "due", False)


def test_what_an_earlier_release_wrapped_has_an_age_too(records, rotations, keyring, clock, root):
    keyring.seal(ACME, Purpose.CONTENT, b"", b"")
    with records.write() as conn:
        conn.exec_driver_sql("UPDATE keyset_versions SET wrapped_at = NULL, check_value = NULL")
    clock.advance(373 * DAY)
    assert state(records, rotations, "file")[0] == "overdue"
    with records.write() as conn:
        Keyring(records, root, clock).rewrap(conn)
    assert state(records, rotations, "file")[0] == "current"
