"""Guessing: what it costs whom. Recovery codes. Sessions: idle, listed, rotated, ended."""

import threading

import pytest
from sqlalchemy import func, select

from vallum.kernel.errors import LimitExceeded, NotFound
from vallum.kernel.identity import CredentialRefused, Peer, SignInRefused, network_of
from vallum.kernel.identity import records as table

PASSWORD = "correct horse battery"
HOME, ELSEWHERE = Peer("192.0.2.0/24", "laptop"), Peer("198.51.100.0/24", "somebody's")


@pytest.fixture
def attempt(identity, records):
    def _attempt(name, password, code, peer=ELSEWHERE):
        verified = identity.sign_in.check(name, password, code, peer)
        with records.write() as conn:
            return identity.sessions.open(conn, verified)

    return _attempt


def guess(attempt, times, *arguments):
    for _ in range(times):
        with pytest.raises((SignInRefused, LimitExceeded)):
            attempt(*arguments)


def test_a_stranger_slows_themselves_down_and_nobody_who_is_elsewhere(attempt, enrol, clock):
    ada = enrol()
    guess(attempt, 30, "ada", "wrong password", "000000")
    with pytest.raises(LimitExceeded) as refused:
        attempt("ada", PASSWORD, ada.code(), ELSEWHERE)
    assert 0 < refused.value.retry_after_seconds <= 60
    assert attempt("ada", PASSWORD, ada.code(), HOME)


def test_who_mistypes_is_slowed_for_a_minute(attempt, enrol, clock):
    ada = enrol()
    guess(attempt, 20, "ada", "wrong password", "000000", HOME)
    with pytest.raises(LimitExceeded):
        attempt("ada", PASSWORD, ada.code(), HOME)
    clock.pass_(61)
    assert attempt("ada", PASSWORD, ada.code(), HOME)


def test_an_office_that_mistypes_now_and_then_is_never_locked_out(attempt, enrol, clock):
    """Forty right sign-ins and five mistypes a day from one network, for a month."""
    ada = enrol()
    for _ in range(30):
        for n in range(12):
            clock.pass_(120)
            if n % 4 == 3:
                with pytest.raises(SignInRefused):
                    attempt("ada", "a slip of the finger", "000000", HOME)
            else:
                attempt("ada", PASSWORD, ada.code(), HOME)
        clock.pass_(12 * 3600)


def test_no_status_tells_which_names_there_are(attempt, enrol, clock):
    """The same answers in the same order: for one who signed in from there before, one who did not, and nobody."""
    ada = enrol("ada")
    enrol("bob")
    attempt("ada", PASSWORD, ada.code(), HOME)
    clock.pass_(60)
    answers = {}
    for name in ("ada", "bob", "ghost"):
        answers[name] = []
        for _ in range(9):
            with pytest.raises((SignInRefused, LimitExceeded)) as refused:
                attempt(name, "wrong password", "000000", HOME)
            answers[name].append((type(refused.value), str(refused.value)))
        clock.pass_(600)
    assert answers["ada"] == answers["bob"] == answers["ghost"]


def test_counts_hold_when_all_try_at_once(identity, enrol, records):
    """Counted before they are judged: of sixty at once, five are."""
    enrol("ada")
    judged, limited = [], []

    def one():
        try:
            identity.sign_in.check("ada", "wrong password", "000000", ELSEWHERE)
        except LimitExceeded as e:
            (judged if "sign in at this moment" in str(e) else limited).append(1)
        except SignInRefused:
            judged.append(1)

    threads = [threading.Thread(target=one) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(judged) in (5, 6)  # a sixth, when the clock has moved on by a second meanwhile
    assert len(judged) + len(limited) == 60


def test_codes_beside_the_right_password_are_guessed_for_years(identity, records, attempt, enrol, clock):
    """Whoever knows the password gets five codes, then one in a minute, then in two, up to one a day.

    The guesses are answered alike; that codes are refused by then is not told. A recovery code still works.
    """
    ada = enrol()
    with records.write() as conn:
        recovery = identity.people.new_recovery_codes(conn, ada.person.id).codes[0]
    for n in range(40):
        clock.pass_(61)
        with pytest.raises(SignInRefused, match="the name, password or code is wrong"):
            attempt("ada", PASSWORD, "000000", Peer(f"10.{n}.0.0/24"))
    with pytest.raises(SignInRefused, match="the name, password or code is wrong"):
        attempt("ada", PASSWORD, ada.code(), Peer("203.0.113.0/24"))
    assert attempt("ada", PASSWORD, recovery, Peer("203.0.113.0/24"))
    clock.pass_(61)
    assert attempt("ada", PASSWORD, ada.code(), Peer("203.0.113.0/24"))  # signing in forgave what was counted


def test_who_knows_no_password_stops_no_codes_and_an_administrator_lifts_the_wait(
    identity, records, attempt, enrol, clock
):
    ada = enrol()
    for n in range(20):
        with pytest.raises(SignInRefused):
            attempt("ada", "wrong password", "000000", Peer(f"10.{n}.0.0/24"))
    assert attempt("ada", PASSWORD, ada.code(), HOME)
    for n in range(6):
        clock.pass_(30)
        with pytest.raises(SignInRefused):
            attempt("ada", PASSWORD, "000000", Peer(f"10.{n}.0.0/24"))
    clock.pass_(10)
    with pytest.raises(SignInRefused):
        attempt("ada", PASSWORD, ada.code(), HOME)
    with pytest.raises(LimitExceeded, match="recovery code"):  # who is signed in is told
        identity.sign_in.check_again(ada.person.id, ada.code())
    with records.write() as conn:
        identity.sign_in.unlock(conn, ada.person.id)
    assert attempt("ada", PASSWORD, ada.code(), HOME)
    with pytest.raises(NotFound), records.write() as conn:
        identity.sign_in.unlock(conn, "per_nobody")


def test_trying_while_codes_wait_does_not_make_it_longer(attempt, enrol, clock):
    ada = enrol()
    for n in range(6):
        clock.pass_(1)
        with pytest.raises(SignInRefused):
            attempt("ada", PASSWORD, "000000", Peer(f"10.{n}.0.0/24"))
    for n in range(20):
        clock.pass_(1)
        with pytest.raises(SignInRefused):
            attempt("ada", PASSWORD, ada.code(), Peer(f"11.{n}.0.0/24"))
    clock.pass_(7200)
    assert attempt("ada", PASSWORD, ada.code(), HOME)


def test_no_answer_tells_which_part_was_wrong_even_while_codes_are_refused(attempt, enrol, clock):
    ada = enrol()
    for n in range(12):
        with pytest.raises((SignInRefused, LimitExceeded)):
            attempt("ada", PASSWORD, "000000", Peer(f"10.{n}.0.0/24"))
        clock.pass_(61)
    said = set()
    for password, code in ((PASSWORD, ada.code()), (PASSWORD, "000000"), ("wrong password", "000000")):
        clock.pass_(61)
        with pytest.raises(SignInRefused) as refused:
            attempt("ada", password, code, Peer("10.200.0.0/24"))
        said.add((type(refused.value).code, str(refused.value)))
    assert len(said) == 1


def test_one_network_guessing_at_many_names_is_slowed(attempt, clock):
    for n in range(100):
        with pytest.raises(SignInRefused):
            attempt(f"name{n}", "some password", "000000")
    with pytest.raises(LimitExceeded):
        attempt("yet-another", "some password", "000000")
    with pytest.raises(SignInRefused):
        attempt("yet-another", "some password", "000000", HOME)


def test_a_recovery_code_works_once_in_place_of_a_code(identity, records, attempt, enrol, clock):
    ada, eve = enrol("ada"), enrol("eve")
    with records.write() as conn:
        codes = identity.people.new_recovery_codes(conn, ada.person.id).codes
    assert len(set(codes)) == 10
    assert codes[0] not in repr(identity.people.persons())
    issued = attempt("ada", PASSWORD, codes[0].lower().replace("-", " "))
    assert issued.session.method == "recovery code"
    with pytest.raises(SignInRefused):
        attempt("ada", PASSWORD, codes[0])
    with pytest.raises(SignInRefused):
        attempt("eve", PASSWORD, codes[1])
    with pytest.raises(SignInRefused):
        attempt("ada", "wrong password", codes[1])
    with records.write() as conn:
        identity.people.new_recovery_codes(conn, ada.person.id)
    clock.pass_(61)
    with pytest.raises(SignInRefused):
        attempt("ada", PASSWORD, codes[1])
    assert eve


def test_of_two_with_one_recovery_code_one_wins(identity, records, enrol):
    ada = enrol()
    with records.write() as conn:
        code = identity.people.new_recovery_codes(conn, ada.person.id).codes[0]
    both = [identity.sign_in.check("ada", PASSWORD, code) for _ in range(2)]
    with records.write() as conn:
        identity.sessions.open(conn, both[0])
    with pytest.raises(SignInRefused), records.write() as conn:
        identity.sessions.open(conn, both[1])


def test_an_idle_session_ends_and_one_in_use_lasts_its_day(identity, enrol, sign_in, clock):
    issued = sign_in(enrol())
    for _ in range(4):
        clock.pass_(7000)
        identity.sessions.authenticate(issued.secret)
    clock.pass_(900)
    with pytest.raises(CredentialRefused):  # eight hours are over, whatever is done with it
        identity.sessions.authenticate(issued.secret)
    clock.pass_(30)


def test_two_idle_hours_end_a_session(identity, enrol, sign_in, clock):
    issued = sign_in(enrol())
    clock.pass_(7201)
    with pytest.raises(CredentialRefused):
        identity.sessions.authenticate(issued.secret)


def test_the_secret_changes_with_step_up_and_the_old_one_ends(identity, records, enrol, sign_in, clock):
    """A copy of the cookie that was taken before is worth nothing after."""
    ada = enrol()
    issued = sign_in(ada)
    clock.pass_(60)
    proof = identity.sign_in.check_again(ada.person.id, ada.code())
    with records.write() as conn:
        fresh = identity.sessions.step_up(conn, issued.session, proof)
    assert fresh.session.id == issued.session.id
    under_way, _ = identity.sessions.authenticate(issued.secret)
    assert under_way.mfa_at_seconds is None  # what was proven with the new secret is not the old one's
    clock.pass_(11)
    with pytest.raises(CredentialRefused):
        identity.sessions.authenticate(issued.secret)
    subject, _ = identity.sessions.authenticate(fresh.secret)
    assert subject.mfa_at_seconds == int(clock.now().timestamp()) - 11


def test_somebody_elses_proof_freshens_nothing(identity, records, enrol, sign_in, clock):
    ada, eve = enrol("ada"), enrol("eve")
    issued = sign_in(ada)
    proof = identity.sign_in.check_again(eve.person.id, eve.code())
    with pytest.raises(SignInRefused), records.write() as conn:
        identity.sessions.step_up(conn, issued.session, proof)


def test_devices_are_listed_and_signed_out(identity, records, attempt, enrol, clock):
    ada, eve = enrol("ada"), enrol("eve")
    here = attempt("ada", PASSWORD, ada.code(), HOME)
    clock.pass_(30)
    there = attempt("ada", PASSWORD, ada.code(), ELSEWHERE)
    clock.pass_(30)
    hers = attempt("eve", PASSWORD, eve.code(), HOME)
    listed = identity.sessions.list(ada.person.id)
    assert [(s.id, s.device, s.network) for s in listed] == [
        (there.session.id, "somebody's", "198.51.100.0/24"), (here.session.id, "laptop", "192.0.2.0/24"),
    ]  # fmt: skip
    with pytest.raises(NotFound), records.write() as conn:
        identity.sessions.end(conn, hers.session.id, ada.person.id)
    with records.write() as conn:
        assert identity.sessions.end_all(conn, ada.person.id, but=here.session.id) == 1
    with pytest.raises(CredentialRefused):
        identity.sessions.authenticate(there.secret)
    identity.sessions.authenticate(here.secret)
    identity.sessions.authenticate(hers.secret)


def test_a_new_password_replaces_the_old(identity, records, attempt, enrol, clock):
    ada = enrol()
    with records.write() as conn:
        hashed = identity.people.hash_password(ada.person.id, "another horse altogether")
        identity.people.change_password(conn, ada.person.id, hashed)
    with pytest.raises(SignInRefused):
        attempt("ada", PASSWORD, ada.code())
    clock.pass_(30)
    assert attempt("ada", "another horse altogether", ada.code())


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.77", "192.0.2.0/24"),
     ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("::ffff:192.0.2.9", "192.0.2.0/24"),
     ("fe80::1%eth0", "fe80::/64"), ("", ""), ("unix:/run/x", ""), ("1.2.3.4.5", "")],
)  # fmt: skip
def test_networks(address, network):
    assert network_of(address) == network


def test_what_counts_for_nothing_any_more_is_swept(identity, records, clock):
    for n in range(50):
        with pytest.raises(SignInRefused):
            identity.sign_in.check(f"name{n}", "some password", "000000", Peer(f"10.{n}.0.0/24"))
    with records.read() as conn:
        assert conn.execute(select(func.count()).select_from(table.attempts)).scalar_one() == 100
    clock.pass_(60)
    identity.sign_in.sweep()
    with records.read() as conn:
        assert conn.execute(select(func.count()).select_from(table.attempts)).scalar_one() == 0
