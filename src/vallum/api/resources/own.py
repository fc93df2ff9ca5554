"""One's own account: step-up, the devices that are signed in, passkeys, recovery codes, the password."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.resources.identity import open_session
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.gate import Change
from vallum.kernel.identity import (
    HandOverCode,
    IssuedSession,
    NoRoleLeft,
    Passkey,
    PasskeyChallenge,
    Proof,
    RecoveryCodes,
    Session,
    SingleSignOn,
    SsoBegin,
    VerifiedPasskey,
    VerifiedSignIn,
    VerifiedSso,
)
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.ledger.entry import EntryDraft

__all__ = ["ROUTES"]

Short = Annotated[str, Meta(max_length=256)]
Secret = Annotated[str, Meta(max_length=1024)]
State = Annotated[str, Meta(max_length=4096)]
Response = dict[str, Any]  # WebAuthn's JSON; fido2 is its parser


class PasskeyAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`state` is the challenge's, `response` what `navigator.credentials.get` gave, as WebAuthn's JSON."""

    state: State
    response: Response


class SsoAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the provider sent back with the browser, and what the browser `kept` meanwhile."""

    kept: State
    state: Short
    code: Annotated[str, Meta(max_length=4096)]
    iss: Secret | None = None


class NewPasskey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`response` is what `navigator.credentials.create` gave."""

    state: State
    response: Response
    label: Short


class Challenge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """RFC 7636: the S256 challenge of a verifier that the command line keeps."""

    challenge: Short


class HandedOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: State
    verifier: Short


class StepUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A one-time or recovery `code`, or a passkey's answer."""

    code: Short | None = None
    passkey: PasskeyAnswer | None = None


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: Secret


class Ended(msgspec.Struct, frozen=True):
    sessions: int


# Signing in with a passkey: the device's signature is the proof.


def begin_passkey_sign_in(services: Services, call: Call) -> PasskeyChallenge:
    return services.identity.passkeys.begin_sign_in()


def check_passkey(services: Services, call: Call) -> VerifiedSignIn:
    given = call.body
    return VerifiedSignIn(services.identity.passkeys.check_sign_in(given.state, given.response), call.peer)


# Single sign-on: the provider's ID token is the proof.


def begin_sso(services: Services, call: Call) -> SsoBegin:
    return _sso(services).begin()


def check_sso(services: Services, call: Call) -> VerifiedSso:
    given = call.body
    services.identity.services.count_attempt("single sign-on", call.peer)
    try:
        return _sso(services).check(given.kept, given.state, given.code, given.iss)
    except NoRoleLeft as left:
        with services.records.write() as conn:
            person_id = _sso(services).withdraw(conn, left.subject)
            if person_id is not None:
                services.ledger.append(conn, [_provisioned(person_id, ("member",), "withdrawn")])
        raise


def open_sso_session(services: Services, call: Call, conn: Connection) -> tuple[IssuedSession, str]:
    services.identity.services.attempt_succeeded(conn, "single sign-on", call.peer)
    proof, changed = _sso(services).admit(conn, call.prepared)
    if changed:
        services.ledger.append(conn, [_provisioned(proof.person_id, call.prepared.roles, "ok")])
    issued = services.identity.sessions.open(conn, VerifiedSignIn(proof, call.peer))
    return issued, f"person:{issued.session.person_id}"


def _provisioned(person_id: str, roles: tuple[str, ...], outcome: str) -> EntryDraft:
    """The directory said who somebody is here: a change of rights, and so an entry of its own."""
    return EntryDraft(
        tenant=DEFAULT_TENANT,
        kind="change",
        subject=f"person:{person_id}",
        action="identity:person:provision",
        asset=f"Person:{person_id}",
        effect="allow",
        outcome=outcome,
        reason="the single sign-on provider's groups",
        context={"roles": " ".join(roles)},
    )


def _sso(services: Services) -> SingleSignOn:
    if services.identity.single_sign_on is None:
        raise NotFound("there is no single sign-on here: set oidc.issuer")
    return services.identity.single_sign_on


# Handing a session over to the command line on the same machine.


def hand_over(services: Services, call: Call, change: Change) -> HandOverCode:
    return services.identity.hand_over.begin(_session(call), call.body.challenge)


def check_hand_over(services: Services, call: Call) -> VerifiedSignIn:
    given = call.body
    return VerifiedSignIn(services.identity.hand_over.check(given.code, given.verifier), call.peer)


# Step-up.


def check_factor(services: Services, call: Call) -> Proof:
    session, given = _session(call), call.body
    if (given.code is None) == (given.passkey is None):
        raise Invalid("give a code or a passkey's answer")
    if given.passkey is not None:
        return services.identity.passkeys.check_sign_in(given.passkey.state, given.passkey.response)
    return services.identity.sign_in.check_again(session.person_id, given.code)


def step_up(services: Services, call: Call, change: Change) -> IssuedSession:
    return services.identity.sessions.step_up(change.conn, _session(call), call.prepared)


# Devices.


def list_own_sessions(services: Services, call: Call) -> list[Session]:
    return services.identity.sessions.list(_session(call).person_id)


def end_own_session(services: Services, call: Call, change: Change) -> None:
    services.identity.sessions.end(change.conn, call.path["id"], _session(call).person_id)


def end_other_sessions(services: Services, call: Call, change: Change) -> Ended:
    session = _session(call)
    return Ended(services.identity.sessions.end_all(change.conn, session.person_id, but=session.id))


# Passkeys.


def list_passkeys(services: Services, call: Call) -> list[Passkey]:
    return services.identity.passkeys.list(_session(call).person_id)


def begin_passkey(services: Services, call: Call, change: Change) -> PasskeyChallenge:
    session = _session(call)
    return services.identity.passkeys.begin_registration(session.person_id, session.name)


def check_new_passkey(services: Services, call: Call) -> VerifiedPasskey:
    given = call.body
    return services.identity.passkeys.check_registration(_session(call).person_id, given.state, given.response)


def register_passkey(services: Services, call: Call, change: Change) -> Passkey:
    return services.identity.passkeys.register(change.conn, call.prepared, call.body.label)


def remove_passkey(services: Services, call: Call, change: Change) -> None:
    services.identity.passkeys.remove(change.conn, call.path["id"], _session(call).person_id)


# Recovery codes and the password.


def new_recovery_codes(services: Services, call: Call, change: Change) -> RecoveryCodes:
    return services.identity.people.new_recovery_codes(change.conn, _session(call).person_id)


def hash_password(services: Services, call: Call) -> str:
    return services.identity.people.hash_password(_session(call).person_id, call.body.password)


def change_password(services: Services, call: Call, change: Change) -> Ended:
    """Whoever knew the old one is signed out with it, and so is every copy of this session."""
    session = _session(call)
    services.identity.people.change_password(change.conn, session.person_id, call.prepared)
    return Ended(services.identity.sessions.end_all(change.conn, session.person_id))


def _session(call: Call) -> Session:
    if call.session is None:
        raise Invalid("this is for people who are signed in: vallum login")
    return call.session


ROUTES = (
    Route(
        method="POST", path="/passkeys/challenges", name="begin_passkey_sign_in",
        summary="A challenge for a passkey, to sign in or step up with",
        access="open", action="identity:session:begin", asset=system, perform=begin_passkey_sign_in,
        answer=PasskeyChallenge, recorded=False,
    ),
    Route(
        method="POST", path="/sessions/passkey", name="sign_in_with_passkey", summary="Sign in with a passkey",
        access="open", action="identity:session:create", asset=system, prepare=check_passkey, perform=open_session,
        body=PasskeyAnswer, answer=IssuedSession, status=201,
    ),
    Route(
        method="POST", path="/sso/begin", name="begin_sso", summary="Where single sign-on begins",
        access="open", action="identity:session:begin", asset=system, perform=begin_sso,
        answer=SsoBegin, recorded=False,
    ),
    Route(
        method="POST", path="/sessions/sso", name="sign_in_with_sso", summary="Sign in with the provider's answer",
        access="open", action="identity:session:create", asset=system, prepare=check_sso, perform=open_sso_session,
        body=SsoAnswer, answer=IssuedSession, status=201,
    ),
    Route(
        method="POST", path="/sessions/current/hand-over", name="hand_over",
        summary="A code with which your command line opens a session of its own",
        access="change", action=Action.SESSION_SHARE, asset=system, perform=hand_over, body=Challenge,
        answer=HandOverCode,
    ),
    Route(
        method="POST", path="/sessions/hand-over", name="sign_in_handed_over",
        summary="Sign in with a code that a session was handed over by",
        access="open", action="identity:session:create", asset=system, prepare=check_hand_over, perform=open_session,
        body=HandedOver, answer=IssuedSession, status=201,
    ),
    Route(
        method="POST", path="/sessions/current/step-up", name="step_up",
        summary="Prove the second factor afresh; the session's secret changes",
        access="change", action=Action.SESSION_PROVE, asset=system, prepare=check_factor, perform=step_up,
        body=StepUp, answer=IssuedSession,
    ),
    Route(
        method="GET", path="/sessions", name="list_own_sessions", summary="The devices you are signed in on",
        access="read", action=Action.ACCOUNT_READ, asset=system, perform=list_own_sessions, answer=list[Session],
    ),
    Route(
        method="DELETE", path="/sessions/others", name="end_other_sessions", summary="Sign out everywhere but here",
        access="change", action=Action.SESSION_END, asset=system, perform=end_other_sessions, answer=Ended,
    ),
    Route(
        method="DELETE", path="/sessions/own/{id}", name="end_own_session", summary="Sign out one of your devices",
        access="change", action=Action.SESSION_END, asset=system, perform=end_own_session, status=204,
    ),
    Route(
        method="GET", path="/passkeys", name="list_passkeys", summary="Your passkeys",
        access="read", action=Action.ACCOUNT_READ, asset=system, perform=list_passkeys, answer=list[Passkey],
    ),
    Route(
        method="POST", path="/passkeys/registrations", name="begin_passkey", summary="A challenge for a new passkey",
        access="change", action=Action.ACCOUNT_CHANGE, asset=system, perform=begin_passkey, answer=PasskeyChallenge,
    ),
    Route(
        method="POST", path="/passkeys", name="register_passkey", summary="Register a new passkey",
        access="change", action=Action.ACCOUNT_CHANGE, asset=system, prepare=check_new_passkey,
        perform=register_passkey, body=NewPasskey, answer=Passkey, status=201,
    ),
    Route(
        method="DELETE", path="/passkeys/{id}", name="remove_passkey", summary="Remove one of your passkeys",
        access="change", action=Action.ACCOUNT_CHANGE, asset=system, perform=remove_passkey, status=204,
    ),
    Route(
        method="POST", path="/recovery-codes", name="new_recovery_codes",
        summary="Ten recovery codes, in place of all you had; shown once",
        access="change", action=Action.ACCOUNT_CHANGE, asset=system, perform=new_recovery_codes, answer=RecoveryCodes,
        status=201,
    ),
    Route(
        method="PUT", path="/password", name="change_password", summary="Change your password; every device signs out",
        access="change", action=Action.ACCOUNT_CHANGE, asset=system, prepare=hash_password,
        perform=change_password, body=NewPassword, answer=Ended,
    ),
)  # fmt: skip
