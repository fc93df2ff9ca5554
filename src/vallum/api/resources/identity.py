"""People, their sessions, services, and applications' API keys."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.gate import Change
from vallum.kernel.identity import (
    ApiKey,
    Enrolment,
    IssuedKey,
    IssuedService,
    IssuedSession,
    Person,
    Service,
    Session,
    VerifiedSignIn,
)
from vallum.kernel.values import AssetRef

__all__ = ["ROUTES"]

_DAY_SECONDS = 86_400
Short = Annotated[str, Meta(max_length=256)]
Secret = Annotated[str, Meta(max_length=1024)]


class EnrolmentToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Secret


class EnrolmentFinish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Secret
    name: Short
    password: Secret
    code: Short


class Invite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`same_as`: the id of a person whose second account this will be; neither decides what the other asks for."""

    roles: Annotated[tuple[Short, ...], Meta(min_length=1, max_length=20)]
    same_as: Short | None = None


class Invitation(msgspec.Struct, frozen=True):
    """`url` carries the token in its fragment, which browsers do not send. Shown once."""

    token: str
    url: str


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Short
    password: Secret
    code: Short


class NewService(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With `jwks`, a set of public keys (RFC 7517): the service signs with one of them and has no secret.

    With `spiffe_id`, it has certificates: its mesh's, or for `auto` those that are issued here.
    """

    name: Short
    roles: Annotated[tuple[Short, ...], Meta(min_length=1, max_length=20)]
    jwks: dict[str, Any] | None = None
    spiffe_id: Annotated[str, Meta(max_length=2048)] | None = None


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    application_id: Short
    label: Short
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    models: Annotated[tuple[Short, ...], Meta(min_length=1, max_length=100)] | None = None


class KeyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    application_id: Short | None = None


# Enrolling and signing in: the request carries its own proof.


def read_enrolment(services: Services, call: Call, conn: Connection) -> tuple[Enrolment, str]:
    return services.identity.people.read_enrolment(call.body.token), "nobody"


def hash_password(services: Services, call: Call) -> str:
    given = call.body
    return services.identity.people.hash_for_enrolment(given.token, given.name, given.password)


def finish_enrolment(services: Services, call: Call, conn: Connection) -> tuple[Person, str]:
    given = call.body
    people = services.identity.people
    person = people.finish_enrolment(conn, given.token, given.name, given.password, given.code, call.prepared)
    return person, f"person:{person.id}"


def check_sign_in(services: Services, call: Call) -> VerifiedSignIn:
    given = call.body
    return services.identity.sign_in.check(given.name, given.password, given.code, call.peer)


def open_session(services: Services, call: Call, conn: Connection) -> tuple[IssuedSession, str]:
    issued = services.identity.sessions.open(conn, call.prepared)
    return issued, f"person:{issued.session.person_id}"


# Sessions.


def read_session(services: Services, call: Call) -> Session:
    if call.session is None:
        raise NotFound("this credential is no session of a person's")
    return call.session


def end_session(services: Services, call: Call, change: Change) -> None:
    if call.session is not None:
        services.identity.sessions.end(change.conn, call.session.id, call.session.person_id)
    elif call.credential:
        services.identity.services.revoke_token(change.conn, call.credential)


# People.


def list_persons(services: Services, call: Call) -> list[Person]:
    return services.identity.people.persons()


def invite(services: Services, call: Call, change: Change) -> Invitation:
    wanted = call.body
    token = services.identity.people.invite(change.conn, wanted.roles, same_as=wanted.same_as, by=call.subject)
    return Invitation(token, f"{services.public_url}/console/enrol#{token}")


def disable_person(services: Services, call: Call, change: Change) -> None:
    services.identity.people.disable_person(change.conn, call.path["id"])


def unlock_person(services: Services, call: Call, change: Change) -> None:
    services.identity.sign_in.unlock(change.conn, call.path["id"])


# Services.


def list_services(services: Services, call: Call) -> list[Service]:
    return services.identity.services.list()


def create_service(services: Services, call: Call, change: Change) -> IssuedService:
    wanted = call.body
    return services.identity.services.create(
        change.conn, wanted.name, wanted.roles, jwks=wanted.jwks, spiffe_id=wanted.spiffe_id
    )


def disable_service(services: Services, call: Call, change: Change) -> None:
    services.identity.services.disable(change.conn, call.path["id"])


# API keys.


def list_keys(services: Services, call: Call) -> list[ApiKey]:
    return services.identity.api_keys.list(call.query.application_id)


def issue_key(services: Services, call: Call, change: Change) -> IssuedKey:
    wanted = call.body
    application = services.inventory.application(wanted.application_id)
    if application is None:
        raise NotFound(f"there is no application {wanted.application_id}: declare it first (vallum apply)")
    strange = sorted(set(wanted.models or ()) - set(application.models))
    if strange:
        names = ", ".join(strange)[:200]
        raise Invalid(f"models: not of {wanted.application_id}: {names}; it has {', '.join(application.models)}")
    now = int(services.clock.now().timestamp())
    expires = None if wanted.expires_in_days is None else now + wanted.expires_in_days * _DAY_SECONDS
    grant_id = None
    if change.grants:  # what a grant makes goes with it
        grant = services.identity.grants.grant(change.grants[0])
        grant_id, until = grant.id, grant.expires_at_seconds or now
        expires = until if expires is None else min(expires, until)
    return services.identity.api_keys.issue(
        change.conn,
        wanted.application_id,
        label=wanted.label,
        expires_at_seconds=expires,
        grant_id=grant_id,
        models=wanted.models,
    )


def revoke_key(services: Services, call: Call, change: Change) -> None:
    services.identity.api_keys.revoke(change.conn, call.path["id"])


ROUTES = (
    Route(
        method="POST", path="/enrolments", name="read_enrolment", summary="What an enrolment link is for",
        access="open", action="identity:enrolment:read", asset=system, perform=read_enrolment,
        body=EnrolmentToken, answer=Enrolment,
    ),
    Route(
        method="POST", path="/persons", name="finish_enrolment", summary="Become the person an enrolment link is for",
        access="open", action="identity:enrolment:finish", asset=system, prepare=hash_password,
        perform=finish_enrolment,
        body=EnrolmentFinish, answer=Person, status=201,
    ),
    Route(
        method="POST", path="/sessions", name="sign_in", summary="Sign in with name, password and code",
        access="open", action="identity:session:create", asset=system, prepare=check_sign_in,
        perform=open_session, body=SignIn, answer=IssuedSession, status=201,
    ),
    Route(
        method="GET", path="/sessions/current", name="read_session", summary="Who is signed in here",
        access="read", action=Action.SESSION_READ, asset=system, perform=read_session, answer=Session,
    ),
    Route(
        method="DELETE", path="/sessions/current", name="end_session", summary="Sign out, or revoke this access token",
        access="change", action=Action.SESSION_END, asset=system, perform=end_session, status=204,
    ),
    Route(
        method="GET", path="/persons", name="list_persons", summary="People and their roles",
        access="read", action=Action.PERSON_READ, asset=system, perform=list_persons, answer=list[Person],
    ),
    Route(
        method="POST", path="/invitations", name="invite", summary="A one-time enrolment link with these roles",
        access="change", action=Action.PERSON_INVITE, asset=system, perform=invite,
        body=Invite, answer=Invitation, status=201,
        context=lambda path, body: {"roles": " ".join(body.roles)},
    ),
    Route(
        method="DELETE", path="/persons/{id}", name="disable_person", summary="End somebody's access",
        access="change", action=Action.PERSON_DISABLE, asset=named("Person", "id"), perform=disable_person, status=204,
    ),
    Route(
        method="POST", path="/persons/{id}/unlock", name="unlock_person",
        summary="Let somebody's codes be judged again at once, after too many wrong ones",
        access="change", action=Action.PERSON_UNLOCK, asset=named("Person", "id"), perform=unlock_person, status=204,
    ),
    Route(
        method="GET", path="/services", name="list_services", summary="Services and their roles",
        access="read", action=Action.SERVICE_READ, asset=system, perform=list_services, answer=list[Service],
    ),
    Route(
        method="POST", path="/services", name="create_service", summary="A service; its secret is shown once",
        access="change", action=Action.SERVICE_CREATE, asset=system, perform=create_service,
        body=NewService, answer=IssuedService, status=201,
        context=lambda path, body: {"roles": " ".join(body.roles)},
    ),
    Route(
        method="DELETE", path="/services/{id}", name="disable_service", summary="End a service's access",
        access="change", action=Action.SERVICE_DISABLE, asset=named("Service", "id"), perform=disable_service,
        status=204,
    ),
    Route(
        method="GET", path="/keys", name="list_keys", summary="API keys, without their secrets",
        access="read", action=Action.KEY_READ, asset=system, perform=list_keys, query=KeyQuery, answer=list[ApiKey],
    ),
    Route(
        method="POST", path="/keys", name="issue_key", summary="A key for an application; its secret is shown once",
        access="change", action=Action.KEY_ISSUE,
        asset=lambda path, body: AssetRef("Application", body.application_id if body is not None else ""),
        perform=issue_key,
        body=NewKey, answer=IssuedKey, status=201,
        context=lambda path, body: {"application": body.application_id[:128]},
    ),
    Route(
        method="DELETE", path="/keys/{id}", name="revoke_key", summary="Revoke a key, everywhere within a second",
        access="change", action=Action.KEY_REVOKE, asset=named("ApiKey", "id"), perform=revoke_key, status=204,
    ),
)  # fmt: skip
