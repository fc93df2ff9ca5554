import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.identity import CredentialRefused
from vallum.kernel.identity.secrets import API_KEY_PREFIX, is_well_formed, new_secret
from vallum.kernel.store.epochs import EpochWatch


@pytest.fixture
def issue(identity, records):
    def _issue(**changes):
        with records.write() as conn:
            return identity.api_keys.issue(conn, "app_demo", label="test", **changes)

    return _issue


def test_a_key_proves_its_application(identity, issue):
    issued = issue()
    assert identity.api_keys.recognise(issued.secret) is None
    subject = identity.api_keys.authenticate(issued.secret)
    assert (subject.render(), subject.credential) == ("application:app_demo", issued.key.id)
    assert identity.api_keys.recognise(issued.secret) == subject
    assert issued.secret not in repr(issued)


def test_a_revoked_key_is_refused_by_every_process(identity, open_identity, records, issue):
    issued = issue()
    other = open_identity()
    watch = EpochWatch(records)
    watch.subscribe("identity", other.refresh)
    watch.poll_once()
    other.api_keys.authenticate(issued.secret)
    with records.write() as conn:
        identity.api_keys.revoke(conn, issued.key.id)
    watch.poll_once()
    assert other.api_keys.recognise(issued.secret) is None
    with pytest.raises(CredentialRefused):
        other.api_keys.authenticate(issued.secret)
    with pytest.raises(NotFound), records.write() as conn:
        identity.api_keys.revoke(conn, issued.key.id)
    assert identity.api_keys.key(issued.key.id).revoked_at is not None


def test_a_key_looked_up_before_a_refresh_is_not_kept_after_it(identity, issue, records, monkeypatch):
    """The lookup read the row, then the key was revoked and memory dropped, then the lookup went on."""
    issued = issue()
    keys = identity.api_keys
    now = keys._clock.now

    class RefreshingClock:
        def now(self):
            keys.refresh()
            return now()

    with records.write() as conn:
        limited = keys.issue(conn, "app_demo", label="short", expires_at_seconds=int(now().timestamp()) + 60)
    keys._clock = RefreshingClock()
    keys.authenticate(limited.secret)
    assert not keys._held
    assert issued


def test_an_expired_key_is_refused_even_from_memory(identity, issue, clock):
    issued = issue(expires_at_seconds=int(clock.now().timestamp()) + 60)
    identity.api_keys.authenticate(issued.secret)
    clock.pass_(60)
    assert identity.api_keys.recognise(issued.secret) is None
    with pytest.raises(CredentialRefused):
        identity.api_keys.authenticate(issued.secret)


@pytest.mark.parametrize("changes", [{"expires_at_seconds": 1}, {"label": ""}, {"label": "x" * 101}, {"label": "a\nb"}])
def test_a_key_that_would_not_do_is_refused(identity, records, changes):
    with pytest.raises(Invalid), records.write() as conn:
        identity.api_keys.issue(conn, "app_demo", **({"label": "test"} | changes))


def test_the_database_holds_no_key(records, issue):
    issued = issue()
    with records.read() as conn:
        assert issued.secret not in str(conn.execute(text("SELECT * FROM api_keys")).all())


def test_listing_shows_what_tells_keys_apart(identity, issue):
    issued = issue()
    (listed,) = identity.api_keys.list("app_demo")
    assert listed.last4 == issued.secret[-4:]
    assert identity.api_keys.list("app_other") == []


@given(st.integers(0, 45), st.characters(codec="ascii"))
def test_a_mistyped_key_is_told_without_the_database(place, char):
    secret = new_secret(API_KEY_PREFIX)
    changed = secret[:place] + char + secret[place + 1 :]
    assert is_well_formed(changed, API_KEY_PREFIX) == (changed == secret)


@given(st.text())
def test_noise_is_no_key(noise):
    assert not is_well_formed(noise, API_KEY_PREFIX)


def test_last_use_is_written_down_now_and_then(identity, open_identity, issue, clock):
    issued, other = issue(), issue()
    identity.api_keys.flush_uses()
    assert identity.api_keys.key(issued.key.id).last_used_at is None
    identity.api_keys.authenticate(issued.secret)
    clock.pass_(60)
    identity.api_keys.recognise(issued.secret)
    identity.api_keys.flush_uses()
    assert identity.api_keys.key(issued.key.id).last_used_at == "2026-05-04T12:01:05.000000Z"
    assert identity.api_keys.key(other.key.id).last_used_at is None
    with pytest.raises(CredentialRefused):
        identity.api_keys.authenticate(new_secret(API_KEY_PREFIX))
