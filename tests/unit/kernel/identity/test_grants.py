"""Just-in-time grants: the states, who may decide, and every race there is."""

import os
import threading
import time

import pytest
from sqlalchemy import select, text, update

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.identity import GrantEnded
from vallum.kernel.identity import records as table
from vallum.kernel.identity.grants import MAX_WAITING, GrantDecided, live_grants
from vallum.kernel.policy import OwnRequest
from vallum.kernel.store.now import database_now
from vallum.kernel.values import AssetRef, Subject, SubjectKind, TenantId

RACES = int(os.environ.get("VALLUM_TEST_RACE_ROUNDS", "150"))  # the figures of docs/security-model.md take 10000
REASON = "the nightly export is stuck"


def person(name, holder=None):
    return Subject(SubjectKind.PERSON, f"per_{name}", TenantId("default"), holder=holder or f"per_{name}")


ADA, BOB, EVE = person("ada"), person("bob"), person("eve")


@pytest.fixture
def grants(identity):
    return identity.grants


@pytest.fixture
def ask(grants, records):
    def _ask(subject=ADA, role="security", seconds=600, reason=REASON, **more):
        with records.write() as conn:
            return grants.request(conn, subject, role, seconds, reason, **more)

    return _ask


@pytest.fixture
def decide(grants, records):
    def _decide(method, grant, by, **more):
        with records.write() as conn:
            return getattr(grants, method)(conn, grant.id, by, **more)

    return _decide


def move(records, grant, seconds, *columns):
    """Shift a grant's times: the database's clock is nobody's to turn."""
    c = table.grants.c
    with records.write() as conn:
        conn.execute(update(table.grants).where(c.id == grant.id).values({n: c[n] + seconds for n in columns}))


def roles_of(records, subject):
    with records.read() as conn:
        return [grant.role for grant in live_grants(conn, subject.id)]


def test_a_request_gives_nothing_until_somebody_else_approves(ask, decide, records):
    asked = ask(asset="Application:handbook")
    assert (asked.state, asked.requester_id, asked.expires_at_seconds) == ("waiting", "per_ada", None)
    assert roles_of(records, ADA) == []
    given = decide("approve", asked, BOB, note="go ahead")
    assert (given.state, given.decided_by, given.note) == ("active", "person:per_bob", "go ahead")
    assert given.expires_at_seconds - given.starts_at_seconds in (600, 601)
    with records.read() as conn:
        (live,) = live_grants(conn, ADA.id)
    assert live.covers(AssetRef("Application", "handbook"))
    assert not live.covers(AssetRef("Application", "other"))
    assert roles_of(records, BOB) == []


def test_nobody_decides_their_own_request_from_whatever_account(ask, decide, records):
    asked = ask()
    second_account = person("ada-admin", holder="per_ada")
    for me in (ADA, second_account):
        for method in ("approve", "deny"):
            with pytest.raises(OwnRequest):
                decide(method, asked, me)
    assert roles_of(records, ADA) == []
    other_way = ask(second_account)
    with pytest.raises(OwnRequest):
        decide("approve", other_way, ADA)


def test_what_was_decided_stays_decided(ask, decide, grants):
    asked = ask()
    decide("deny", asked, BOB, note="not today")
    for method in ("approve", "deny"):
        with pytest.raises(GrantDecided, match="denied"):
            decide(method, asked, EVE)
    assert grants.grant(asked.id).note == "not today"
    with pytest.raises(NotFound):
        grants.grant("grt_nothing")
    with pytest.raises(NotFound):
        decide("approve", type("G", (), {"id": "grt_nothing"}), BOB)


def test_it_expires_by_the_databases_clock(ask, decide, records, grants, clock):
    asked = ask(seconds=60)
    decide("approve", asked, BOB)
    clock.pass_(3600)  # a replica whose clock runs ahead ends nothing
    assert roles_of(records, ADA) == ["security"]
    clock.pass_(-7200)  # nor does one that runs behind keep anything alive
    move(records, asked, -61, "starts_at_seconds", "expires_at_seconds")
    assert roles_of(records, ADA) == []
    assert grants.grant(asked.id).state == "expired"
    with pytest.raises(GrantDecided, match="expired"):
        decide("end", asked, BOB, own=False)


def test_a_request_that_nobody_looks_at_lapses(ask, decide, records, grants):
    asked = ask()
    move(records, asked, -86_401, "decide_by_seconds")
    assert grants.grant(asked.id).state == "lapsed"
    with pytest.raises(GrantDecided, match="lapsed"):
        decide("approve", asked, BOB)
    with pytest.raises(GrantDecided):
        decide("end", asked, ADA, own=True)


def test_it_may_start_later(ask, decide, records, grants):
    asked = ask(start_after_seconds=3600)
    assert decide("approve", asked, BOB).state == "scheduled"
    assert roles_of(records, ADA) == []
    move(records, asked, -3601, "starts_at_seconds", "expires_at_seconds")
    assert grants.grant(asked.id).state == "active"
    assert roles_of(records, ADA) == ["security"]


def test_one_gives_back_ones_own_and_no_others(ask, decide, records):
    waiting, given = ask(), ask()
    decide("approve", given, BOB)
    with pytest.raises(NotFound):
        decide("end", given, EVE, own=True)
    assert decide("end", waiting, ADA, own=True).state == "withdrawn"
    assert decide("end", given, ADA, own=True).state == "revoked"
    assert roles_of(records, ADA) == []
    with pytest.raises(GrantDecided):
        decide("end", given, ADA, own=True)
    with pytest.raises(GrantDecided, match="withdrawn"):
        decide("approve", waiting, BOB)


def test_revoking_ends_a_grant_but_decides_no_request(ask, decide, records):
    asked = ask()
    with pytest.raises(GrantDecided, match="waiting"):
        decide("end", asked, BOB, own=False)
    decide("approve", asked, BOB)
    assert decide("end", asked, EVE, own=False).ended_by == "person:per_eve"
    assert roles_of(records, ADA) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "root"}, {"role": ""}, {"seconds": 0}, {"seconds": 86_401}, {"seconds": -5}, {"reason": "because"},
        {"reason": " " * 20}, {"reason": "x" * 501}, {"reason": "line\nbreak in it"}, {"asset": "nonsense"},
        {"asset": "Application:"}, {"asset": "A" * 300 + ":x"}, {"asset": "App lication:x"},
        {"break_glass": True, "seconds": 4 * 3600 + 1}, {"break_glass": True, "start_after_seconds": 5},
        {"start_after_seconds": 700_000},
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(ask, wrong):
    with pytest.raises(Invalid):
        ask(**wrong)


def test_nobody_buries_the_approvers(ask):
    for _ in range(MAX_WAITING):
        ask()
    with pytest.raises(Conflict, match="withdraw"):
        ask()
    ask(EVE)


def test_confirming_refuses_what_is_not_in_force(ask, decide, records, grants):
    asked = ask()

    def confirm(*ids):
        with records.write() as conn:
            grants.confirm(conn, ids)

    with pytest.raises(GrantEnded):
        confirm(asked.id)
    decide("approve", asked, BOB)
    confirm(asked.id)
    with pytest.raises(GrantEnded):
        confirm(asked.id, "grt_nothing")
    decide("end", asked, BOB, own=False)
    with pytest.raises(GrantEnded):
        confirm(asked.id)


def test_lists_are_newest_first_and_name_who_asked(identity, enrol, records, ask, grants):
    ada = enrol()
    subject = Subject(SubjectKind.PERSON, ada.person.id, TenantId("default"), holder=ada.person.id)
    first, second = ask(subject), ask(EVE)
    assert [grant.id for grant in grants.list()] in ([second.id, first.id], [first.id, second.id])
    assert [grant.requester for grant in grants.list(ada.person.id)] == ["ada"]


def test_a_second_account_has_the_first_ones_holder(identity, enrol, records, clock):
    import pyotp

    ada = enrol()
    with records.write() as conn:
        token = identity.people.invite(conn, ["approver"], same_as=ada.person.id)
        with pytest.raises(NotFound):
            identity.people.invite(conn, ["approver"], same_as="per_nobody")
    secret = identity.people.read_enrolment(token).totp_secret
    with records.write() as conn:
        code = pyotp.TOTP(secret).at(clock.now())
        second = identity.people.finish_enrolment(conn, token, "ada-approver", "correct horse battery", code)
    assert second.holder == ada.person.holder == ada.person.id


def test_a_session_carries_what_was_granted_and_no_longer(identity, enrol, sign_in, records, ask, decide):
    issued = sign_in(enrol(roles=("member",)))
    subject, _ = identity.sessions.authenticate(issued.secret)
    assert (subject.grants, subject.roles) == ((), frozenset({"member"}))
    asked = ask(subject)
    decide("approve", asked, BOB)
    subject, _ = identity.sessions.authenticate(issued.secret)
    assert [grant.id for grant in subject.grants] == [asked.id]
    decide("end", asked, BOB, own=False)
    subject, _ = identity.sessions.authenticate(issued.secret)
    assert subject.grants == ()


def test_the_databases_clock_is_the_machines(records):
    with records.read() as conn:
        assert abs(conn.execute(select(database_now())).scalar_one() - time.time()) < 2


def in_threads(*functions):
    failures = []

    def guarded(function):
        try:
            function()
        except BaseException as e:  # handed to the test's own thread
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_of_deciders_who_race_exactly_one_wins(ask, grants, records):
    """Three people approve and one denies every request, all at once."""
    asked = [ask(person(f"asker{n}")) for n in range(RACES)]
    wins = {grant.id: [] for grant in asked}
    start = threading.Barrier(4)

    def decider(method, by):
        def run():
            start.wait()
            for grant in asked:
                try:
                    with records.write() as conn:
                        getattr(grants, method)(conn, grant.id, by)
                    wins[grant.id].append(method)
                except GrantDecided:
                    pass

        return run

    in_threads(*(decider("approve", person(f"boss{n}")) for n in range(3)), decider("deny", person("no")))
    assert {len(won) for won in wins.values()} == {1}
    for grant in asked:
        assert (grants.grant(grant.id).state == "active") == (wins[grant.id] == ["approve"])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_end_of_a_grant_wins_every_race(ask, decide, grants, records):
    """Changes confirmed while grants expire and are revoked: none commits under a grant that is over."""
    wrong, done, refused = [], 0, 0
    lock = threading.Lock()
    revoked_at: dict[str, float] = {}

    def use(grant, expires):
        nonlocal done, refused
        try:
            with records.write() as conn:
                at = conn.execute(select(database_now())).scalar_one()
                grants.confirm(conn, [grant.id])
                conn.execute(text("SELECT 1"))
                still = time.monotonic()
            with lock:
                done += 1
                if at >= expires or revoked_at.get(grant.id, float("inf")) < still:
                    wrong.append(grant.id)
        except GrantEnded:
            with lock:
                refused += 1

    def revoke(grant):
        try:
            with records.write() as conn:
                grants.end(conn, grant.id, BOB, own=False)
            revoked_at[grant.id] = time.monotonic()
        except GrantDecided:
            pass

    for n in range(RACES):
        grant = ask(person(f"racer{n}"))
        decide("approve", grant, BOB)
        c = table.grants.c
        with records.write() as conn:  # it ends while the threads below are at work
            left = (n % 7) * 0.001
            conn.execute(update(table.grants).where(c.id == grant.id).values(expires_at_seconds=database_now() + left))
            expires = conn.execute(select(c.expires_at_seconds).where(c.id == grant.id)).scalar_one()
        if n % 2:
            with records.write() as conn:
                conn.execute(update(table.grants).where(c.id == grant.id).values(expires_at_seconds=expires + 60))
            expires += 60
            in_threads(
                lambda g=grant, e=expires: use(g, e), lambda g=grant: revoke(g), lambda g=grant, e=expires: use(g, e)
            )
        else:
            in_threads(lambda g=grant, e=expires: use(g, e), lambda g=grant, e=expires: use(g, e))
    assert wrong == []
    assert done
    assert refused
