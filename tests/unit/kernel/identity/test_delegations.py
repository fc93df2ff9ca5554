"""Delegations: one application, one person, for a while; and everything else that is presented instead."""

import pytest
from sqlalchemy import select, update

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.identity import CredentialRefused, Delegated
from vallum.kernel.identity import records as table
from vallum.kernel.identity.delegations import ACCESS_TOKEN_TYPE, SubjectTokenRefused
from vallum.kernel.identity.secrets import DELEGATION_PREFIX, new_secret
from vallum.kernel.store.epochs import EpochWatch


@pytest.fixture
def key(identity, records):
    def _key(application="app_demo", **changes):
        with records.write() as conn:
            issued = identity.api_keys.issue(conn, application, label="test", **changes)
        return identity.api_keys.authenticate(issued.secret)

    return _key


@pytest.fixture
def delegate(identity, records):
    def _delegate(somebody, application="app_demo", seconds=3600):
        with records.write() as conn:
            return identity.delegations.create(conn, somebody.person.id, application, seconds)

    return _delegate


@pytest.fixture
def exchange(identity, key, delegate):
    def _exchange(somebody, seconds=3600):
        made, application = delegate(somebody, seconds=seconds), key()
        return identity.delegations.grant(application, identity.delegations.check(made.token, "app_demo")), made

    return _exchange


def test_a_token_says_who_acts_and_for_whom(identity, enrol, exchange):
    ada = enrol(roles=("auditor", "member"))
    token, made = exchange(ada)
    assert (token.expires_in, token.issued_token_type) == (600, ACCESS_TOKEN_TYPE)
    assert identity.delegations.recognise(token.access_token) is None
    subject = identity.delegations.authenticate(token.access_token)
    assert subject.render() == "application:app_demo"
    assert subject.roles == {"application"}
    assert subject.on_behalf_of.render() == f"person:{ada.person.id}"
    assert subject.on_behalf_of.roles == {"auditor", "member"}
    assert identity.delegations.recognise(token.access_token) == subject
    assert made.token not in repr(made)
    assert made.token not in repr(token)


def test_what_was_given_to_one_application_is_worth_nothing_to_another(identity, enrol, delegate):
    made = delegate(enrol())
    for wrong in ((made.token, "app_other"), (made.token, ""), (new_secret(DELEGATION_PREFIX), "app_demo"),
                  (made.delegation.id, "app_demo"), ("", "app_demo"), (made.token[:-1], "app_demo")):  # fmt: skip
        with pytest.raises(SubjectTokenRefused) as refused:
            identity.delegations.check(*wrong)
        assert str(refused.value).startswith("subject_token: not one that")


def test_no_door_takes_the_token_of_another(identity, enrol, exchange, records):
    """Type confusion: a delegated token is no service's, and a service's is no delegated one."""
    token, _ = exchange(enrol())
    with pytest.raises(CredentialRefused):
        identity.services.authenticate_token(token.access_token)
    with records.write() as conn:
        service = identity.services.create(conn, "job", ["auditor"]).service
    for other in (identity.services.grant(service).access_token, "eyJ", "eyJhbGciOiJub25lIn0.e30.", "eyJ\ud800", ""):
        with pytest.raises(CredentialRefused):
            identity.delegations.authenticate(other)
        assert identity.delegations.recognise(other) is None


def end_delegation(identity, conn, made, somebody, application):
    identity.delegations.end(conn, made.delegation.id, somebody.person.id)


def revoke_key(identity, conn, made, somebody, application):
    identity.api_keys.revoke(conn, application.credential)


def disable_person(identity, conn, made, somebody, application):
    identity.people.disable_person(conn, somebody.person.id)


@pytest.mark.parametrize("end", [end_delegation, revoke_key, disable_person])
def test_it_ends_with_what_it_was_made_of_in_every_process(identity, open_identity, records, enrol, key, delegate, end):
    enrol("root")
    ada, application = enrol("ada"), key()
    made = delegate(ada)
    token = identity.delegations.grant(application, identity.delegations.check(made.token, "app_demo")).access_token
    other, watch = open_identity(), EpochWatch(records)
    watch.subscribe("identity", other.refresh)
    watch.poll_once()
    assert other.delegations.authenticate(token) == other.delegations.recognise(token)
    with records.write() as conn:
        end(identity, conn, made, ada, application)
    watch.poll_once()
    assert other.delegations.recognise(token) is None
    with pytest.raises(CredentialRefused):
        other.delegations.authenticate(token)
    if end is not revoke_key:
        with pytest.raises(SubjectTokenRefused):
            other.delegations.check(made.token, "app_demo")


def test_a_change_of_the_persons_roles_is_seen(identity, records, enrol, exchange):
    ada = enrol(roles=("auditor",))
    token = exchange(ada)[0].access_token
    assert identity.delegations.authenticate(token).on_behalf_of.roles == {"auditor"}
    with records.write() as conn:
        conn.execute(update(table.persons).values(roles="member", version=2))
    identity.refresh()
    behalf = identity.delegations.authenticate(token).on_behalf_of
    assert (behalf.roles, behalf.version) == ({"member"}, 2)


def test_time_ends_it(identity, enrol, exchange, clock):
    token, made = exchange(enrol(), seconds=300)
    assert token.expires_in == 300  # never longer than what the person gave
    identity.delegations.authenticate(token.access_token)
    clock.pass_(306)
    assert identity.delegations.recognise(token.access_token) is None
    for attempt in (identity.delegations.authenticate, lambda _: identity.delegations.check(made.token, "app_demo")):
        with pytest.raises((CredentialRefused, SubjectTokenRefused)):
            attempt(token.access_token)


def test_a_key_that_expired_carries_nobody(identity, enrol, key, delegate, clock):
    application = key(expires_at_seconds=int(clock.now().timestamp()) + 60)
    delegated = identity.delegations.check(delegate(enrol()).token, "app_demo")
    clock.pass_(-30)
    token = identity.delegations.grant(application, delegated).access_token
    identity.delegations.authenticate(token)
    clock.pass_(100)
    assert identity.delegations.recognise(token) is None  # nor from memory
    with pytest.raises(CredentialRefused):
        identity.delegations.authenticate(token)


def test_a_person_sees_and_ends_their_own_alone(identity, records, enrol, delegate, clock):
    ada, bob = enrol("ada"), enrol("bob")
    first, second = delegate(ada, seconds=60), delegate(ada, "app_other")
    clock.pass_(90)
    assert identity.delegations.list(ada.person.id) == [second.delegation]
    assert identity.delegations.list(bob.person.id) == []
    for person, wrong in ((bob, second.delegation.id), (ada, "dlg_unknown")):
        with pytest.raises(NotFound), records.write() as conn:
            identity.delegations.end(conn, wrong, person.person.id)
    with records.write() as conn:
        identity.delegations.end(conn, second.delegation.id, ada.person.id)
    assert identity.delegations.list(ada.person.id) == []
    assert first.delegation.expires_at_seconds - 60 < clock.now().timestamp()


def test_they_are_bounded_and_those_that_are_over_go(identity, records, enrol, delegate, clock):
    ada = enrol()
    for _ in range(100):
        delegate(ada, seconds=60)
    with pytest.raises(Conflict, match="end one"):
        delegate(ada)
    clock.pass_(61)
    delegate(ada)
    with records.read() as conn:
        assert len(conn.execute(select(table.delegations.c.id)).all()) == 1


def test_bad_times_and_strangers(identity, records, enrol, key, clock):
    ada = enrol()
    for seconds in (0, 59, 30 * 86_400 + 1):
        with pytest.raises(Invalid), records.write() as conn:
            identity.delegations.create(conn, ada.person.id, "app_demo", seconds)
    now = int(clock.now().timestamp())
    assert identity.delegations.check_known(ada.person.id, now + 60) == Delegated(ada.person.id, "", now + 60)
    for stranger in (None, "per_unknown"):
        with pytest.raises(SubjectTokenRefused, match="no access here"):
            identity.delegations.check_known(stranger, now + 60)
    with pytest.raises(SubjectTokenRefused, match="over"):
        identity.delegations.grant(key(), Delegated(ada.person.id, "", now))


def test_a_key_for_some_models_carries_its_bounds_into_the_token(identity, enrol, key, delegate):
    application = key(models=["handbook"])
    assert application.models == {"handbook"}
    delegated = identity.delegations.check(delegate(enrol()).token, "app_demo")
    token = identity.delegations.grant(application, delegated).access_token
    assert identity.delegations.authenticate(token).models == {"handbook"}
    assert key().models is None
