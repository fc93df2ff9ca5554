"""Handing a session over: once, to who asked, and nothing lasts longer for it."""

from base64 import urlsafe_b64encode
from hashlib import sha256

import pytest

from vallum.kernel.errors import Invalid
from vallum.kernel.identity import SignInRefused, VerifiedSignIn

VERIFIER = "v" * 64


def challenge_of(verifier):
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def ada(enrol, sign_in):
    somebody = enrol()
    return somebody, sign_in(somebody).session


@pytest.fixture
def begin(identity):
    return lambda session, verifier=VERIFIER: identity.hand_over.begin(session, challenge_of(verifier)).code


@pytest.fixture
def finish(identity, records):
    def _finish(code, verifier=VERIFIER):
        verified = VerifiedSignIn(identity.hand_over.check(code, verifier))
        with records.write() as conn:
            return identity.sessions.open(conn, verified)

    return _finish


def test_what_comes_of_it_is_a_session_beside_the_first(identity, ada, begin, finish, clock):
    somebody, first = ada
    clock.pass_(3600)
    issued = finish(begin(first))
    second = issued.session
    assert (second.person_id, second.method) == (somebody.person.id, first.method)
    assert second.id != first.id
    assert second.expires_at_seconds == first.expires_at_seconds  # handing over makes nothing last longer
    assert second.mfa_at_seconds == first.mfa_at_seconds  # and no factor fresher
    assert identity.sessions.authenticate(issued.secret)[0].id == somebody.person.id


def test_a_code_works_once_for_a_minute_and_for_who_asked(ada, begin, finish, clock):
    _, session = ada
    code = begin(session)
    for verifier in ("w" * 64, "", "v" * 42, "v" * 129, "\ud800" * 64):
        with pytest.raises(SignInRefused):
            finish(code, verifier)
    finish(code)
    with pytest.raises(SignInRefused):
        finish(code)
    late = begin(session)
    clock.pass_(66)
    with pytest.raises(SignInRefused):
        finish(late)
    for wrong in ("", "eyJ", code[:-4] + "AAAA"):
        with pytest.raises(SignInRefused):
            finish(wrong)


def test_nothing_comes_of_a_session_that_has_ended_or_somebody_disabled(identity, records, enrol, ada, begin, finish):
    somebody, session = ada
    code = begin(session)
    with records.write() as conn:
        identity.sessions.end(conn, session.id, somebody.person.id)
    with pytest.raises(SignInRefused):
        finish(code)


def test_nothing_comes_of_somebody_disabled(identity, records, enrol, sign_in, begin, finish):
    enrol("root")
    somebody = enrol("bob")
    code = begin(sign_in(somebody).session)
    with records.write() as conn:
        identity.people.disable_person(conn, somebody.person.id)
    with pytest.raises(SignInRefused):
        finish(code)


def test_other_tokens_and_challenges_do_not_do(identity, ada, records, finish):
    _, session = ada
    for challenge in ("", "short", "x" * 44, "é" * 43, challenge_of(VERIFIER) + "="):
        with pytest.raises(Invalid):
            identity.hand_over.begin(session, challenge)
    with records.write() as conn:
        service = identity.services.create(conn, "job", ["auditor"]).service
    with pytest.raises(SignInRefused):
        finish(identity.services.grant(service).access_token)
