import pyotp
import pytest
from sqlalchemy import select, text

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.identity import CredentialRefused, EnrolmentRefused, NameTaken, SignInRefused
from vallum.kernel.identity import records as table
from vallum.kernel.values import SubjectKind

PASSWORD = "correct horse battery"  # as the enrol fixture chooses


def test_an_enrolment_link_works_once(identity, records, clock):
    with records.write() as conn:
        token = identity.people.begin_first_run(conn)
    shown = identity.people.read_enrolment(token)
    assert shown.roles == ("administrator", "security")
    code = pyotp.TOTP(shown.totp_secret).at(clock.now())
    with records.write() as conn:
        person = identity.people.finish_enrolment(conn, token, "Ada", PASSWORD, code)
    assert person.name == "ada"
    with pytest.raises(EnrolmentRefused), records.write() as conn:
        identity.people.finish_enrolment(conn, token, "eve", PASSWORD, code)
    with records.write() as conn:
        assert identity.people.begin_first_run(conn) is None


def test_a_second_start_before_anybody_enrolled_ends_the_first_link(identity, records):
    with records.write() as conn:
        first = identity.people.begin_first_run(conn)
        second = identity.people.begin_first_run(conn)
    assert identity.people.read_enrolment(second)
    with pytest.raises(EnrolmentRefused):
        identity.people.read_enrolment(first)


def test_an_enrolment_link_expires(identity, records, clock):
    with records.write() as conn:
        token = identity.people.invite(conn, ["auditor"])
    clock.pass_(86_401)
    with pytest.raises(EnrolmentRefused):
        identity.people.read_enrolment(token)


def test_a_wrong_code_leaves_the_enrolment_open(identity, records, clock):
    with records.write() as conn:
        token = identity.people.invite(conn, ["auditor"])
    with pytest.raises(SignInRefused), records.write() as conn:
        identity.people.finish_enrolment(conn, token, "ada", PASSWORD, "000000")
    assert identity.people.read_enrolment(token).roles == ("auditor",)


def test_a_taken_name_is_refused_and_the_link_stays(identity, records, enrol, clock):
    enrol("ada")
    with records.write() as conn:
        token = identity.people.invite(conn, ["auditor"])
    secret = identity.people.read_enrolment(token).totp_secret
    with pytest.raises(NameTaken), records.write() as conn:
        identity.people.finish_enrolment(conn, token, "ADA", PASSWORD, pyotp.TOTP(secret).at(clock.now()))
    assert identity.people.read_enrolment(token)


@pytest.mark.parametrize("password", ["short", "a" * 40, "x" * 2000, "ada@example.org"])
def test_a_weak_password_is_refused(identity, records, clock, password):
    with records.write() as conn:
        token = identity.people.invite(conn, ["auditor"])
    secret = identity.people.read_enrolment(token).totp_secret
    with pytest.raises(Invalid), records.write() as conn:
        identity.people.finish_enrolment(conn, token, "ada@example.org", password, pyotp.TOTP(secret).at(clock.now()))


@pytest.mark.parametrize("roles", [[], ["root"], ["administrator", "application"]])
def test_an_unknown_role_is_refused(identity, records, roles):
    with pytest.raises(Invalid), records.write() as conn:
        identity.people.invite(conn, roles)


def test_signing_in_gives_a_subject_with_its_roles(identity, enrol, sign_in):
    ada = enrol(roles=("auditor", "security"))
    issued = sign_in(ada)
    subject, session = identity.sessions.authenticate(issued.secret)
    assert (subject.kind, subject.id) == (SubjectKind.PERSON, ada.person.id)
    assert subject.roles == {"auditor", "security"}
    assert subject.credential == session.id == issued.session.id
    assert issued.secret not in repr(issued)


def test_a_code_works_once(enrol, sign_in, clock):
    ada = enrol()
    code = ada.code()
    sign_in(ada, code)
    with pytest.raises(SignInRefused):
        sign_in(ada, code)
    clock.pass_(30)
    sign_in(ada)


def test_of_two_sign_ins_with_one_code_one_wins(identity, records, enrol):
    ada = enrol()
    code = ada.code()
    first = identity.sign_in.check("ada", PASSWORD, code)
    second = identity.sign_in.check("ada", PASSWORD, code)
    with records.write() as conn:
        identity.sessions.open(conn, first)
    with pytest.raises(SignInRefused), records.write() as conn:
        identity.sessions.open(conn, second)


def test_a_code_older_than_the_last_used_is_refused(enrol, sign_in, clock):
    ada = enrol()
    old = ada.code()
    clock.pass_(30)
    sign_in(ada)
    with pytest.raises(SignInRefused):
        sign_in(ada, old)


@pytest.mark.parametrize(
    ("name", "password", "code"),
    [("ada", "wrong password", None), ("ada", PASSWORD, "123 456"), ("ada", PASSWORD, ""), ("eve", PASSWORD, None),
     ("", "", ""), ("ada' OR 1=1", PASSWORD, None), ("ada", "\ud800", None), ("ada", PASSWORD, "１２３４５６")],
)  # fmt: skip
def test_every_wrong_part_gets_the_same_answer(identity, enrol, name, password, code):
    ada = enrol()
    with pytest.raises(SignInRefused, match="the name, password or code is wrong"):
        identity.sign_in.check(name, password, ada.code() if code is None else code)


def test_a_session_ends_when_told_and_by_itself(identity, records, enrol, sign_in, clock):
    ada = enrol()
    first = sign_in(ada)
    with records.write() as conn:
        identity.sessions.end(conn, first.session.id, ada.person.id)
    with pytest.raises(CredentialRefused):
        identity.sessions.authenticate(first.secret)
    clock.pass_(30)
    second = sign_in(ada)
    clock.pass_(8 * 3600)
    with pytest.raises(CredentialRefused):
        identity.sessions.authenticate(second.secret)


def test_disabling_a_person_ends_every_session(identity, records, enrol, sign_in, clock):
    enrol("root")
    ada = enrol("ada", roles=("auditor",))
    issued = sign_in(ada)
    with records.write() as conn:
        identity.people.disable_person(conn, ada.person.id)
    with pytest.raises(CredentialRefused):
        identity.sessions.authenticate(issued.secret)
    clock.pass_(30)
    with pytest.raises(SignInRefused):
        sign_in(ada)
    with pytest.raises(NotFound), records.write() as conn:
        identity.people.disable_person(conn, ada.person.id)


def test_the_last_administrator_stays(identity, records, enrol):
    ada = enrol()
    enrol("bob", roles=("auditor",))
    with pytest.raises(Conflict), records.write() as conn:
        identity.people.disable_person(conn, ada.person.id)


def test_step_up_freshens_the_second_factor_once_per_code(identity, records, enrol, sign_in, clock):
    ada = enrol()
    issued = sign_in(ada)
    clock.pass_(1000)
    verified = identity.sign_in.check_again(ada.person.id, ada.code())
    with records.write() as conn:
        fresh = identity.sessions.step_up(conn, issued.session, verified)
    subject, _ = identity.sessions.authenticate(fresh.secret)
    assert subject.mfa_at_seconds == int(clock.now().timestamp())
    with pytest.raises(SignInRefused), records.write() as conn:
        identity.sessions.step_up(conn, issued.session, verified)


def test_a_copied_totp_secret_does_not_open_for_another_person(identity, records, enrol):
    """An administrator of the database cannot give somebody else their own second factor."""
    ada, eve = enrol("ada"), enrol("eve")
    with records.write() as conn:
        sealed = conn.execute(select(table.persons.c.totp_sealed).where(table.persons.c.id == eve.person.id)).scalar()
        conn.execute(table.persons.update().where(table.persons.c.id == ada.person.id).values(totp_sealed=sealed))
    with pytest.raises(Exception, match="altered"):
        identity.sign_in.check("ada", PASSWORD, eve.code())


def test_no_secret_lies_readable_in_the_database(identity, records, enrol, sign_in, clock):
    ada = enrol()
    issued = sign_in(ada)
    with records.write() as conn:
        token = identity.people.invite(conn, ["auditor"])
    totp = identity.people.read_enrolment(token).totp_secret
    with records.read() as conn:
        for name in ("persons", "sessions", "enrolments"):
            rows = str(conn.execute(text(f"SELECT * FROM {name}")).all())
            for secret in (PASSWORD, issued.secret, token, totp):
                assert secret not in rows
