"""The token endpoint: services prove themselves for an access token; applications exchange what a person gave them.

RFC 6749 (client credentials), RFC 7523 (assertions), RFC 8705 (mutual TLS), RFC 9449 (DPoP) and RFC 8693 (token
exchange), as JSON or a form.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Prepared, Route
from vallum.kernel.errors import Invalid, Unauthenticated
from vallum.kernel.identity import (
    AccessToken,
    Delegated,
    DpopProof,
    Service,
    SignedAssertion,
    SignInRefused,
)
from vallum.kernel.identity.delegations import ACCESS_TOKEN_TYPE
from vallum.kernel.identity.proofs import subject_of
from vallum.kernel.values import Subject

__all__ = ["DELEGATION_TYPE", "ID_TOKEN_TYPE", "JWT_BEARER", "ROUTES", "TOKEN_EXCHANGE"]

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, section 2.2
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  RFC 8693, section 2.1
ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105  RFC 8693, section 3
DELEGATION_TYPE = "urn:vallum:token-type:delegation"
Short = Annotated[str, Meta(max_length=256)]
Secret = Annotated[str, Meta(max_length=1024)]
Signed = Annotated[str, Meta(max_length=8192)]


class UnsupportedGrant(Invalid):
    """The token endpoint knows no such grant."""

    code = "unsupported_grant_type"


class InvalidTarget(Invalid):
    """Tokens are for this installation alone (RFC 8693, section 2.2.2)."""

    code = "invalid_target"


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`client_credentials` wants a service's secret, an assertion that it signed, or a mutual TLS handshake.

    `token-exchange` wants an application's id and API key as the client's, and as `subject_token` what a person gave.
    """

    grant_type: Short
    client_id: Short = ""
    client_secret: Secret = ""
    client_assertion_type: Short = ""
    client_assertion: Signed = ""
    scope: Short = ""
    subject_token: Signed = ""
    subject_token_type: Short = ""
    actor_token: Signed = ""
    actor_token_type: Short = ""
    requested_token_type: Short = ""
    audience: Short = ""
    resource: Short = ""


@dataclass(frozen=True, slots=True)
class ProvenClient:
    """A service that proved itself, and what is used up with the grant."""

    service: Service
    proofs: tuple[SignedAssertion | DpopProof, ...]
    bound_to: str | None
    client_id: str


@dataclass(frozen=True, slots=True)
class ProvenExchange:
    """An application that proved itself by its key, and whom it may act for."""

    application: Subject
    delegated: Delegated


def check_request(services: Services, call: Call) -> ProvenClient | Prepared:
    match call.body.grant_type:
        case "client_credentials":
            return _check_client(services, call)
        case grant if grant == TOKEN_EXCHANGE:
            return _check_exchange(services, call)
    raise UnsupportedGrant(f"grant_type: client_credentials and {TOKEN_EXCHANGE} are offered")


def grant_token(services: Services, call: Call, conn: Connection) -> tuple[AccessToken, str]:
    known = services.identity.services
    if isinstance(call.prepared, Prepared):
        proven: ProvenExchange = call.prepared.value
        known.attempt_succeeded(conn, proven.application.id, call.peer)
        token = services.identity.delegations.grant(proven.application, proven.delegated)
        return token, proven.application.render()
    client: ProvenClient = call.prepared
    for proof in client.proofs:
        known.use_up(conn, proof)
    known.attempt_succeeded(conn, client.client_id, call.peer)
    return known.grant(client.service, client.bound_to), f"service:{client.service.id}"


def _check_client(services: Services, call: Call) -> ProvenClient:
    given, known = call.body, services.identity.services
    proofs: list[SignedAssertion | DpopProof] = []
    client_id = given.client_id or subject_of(given.client_assertion)
    known.count_attempt(client_id, call.peer)
    if given.client_assertion:
        if given.client_assertion_type != JWT_BEARER or given.client_secret:
            raise Invalid(f"client_assertion: its type is {JWT_BEARER}, and no client_secret goes with it")
        service, signed = known.check_assertion(given.client_assertion, (*call.urls, known.issuer))
        if given.client_id not in ("", service.id):
            raise SignInRefused("client_id is not whom the assertion is of")
        proofs.append(signed)
    else:
        service = (
            known.check_secret(given.client_id, given.client_secret)
            if given.client_secret or not call.certificate
            else known.check_certificate(call.certificate, given.client_id)
        )
    bound_to = None
    if call.dpop:
        proof = known.check_dpop(call.dpop, "POST", call.urls)
        proofs.append(proof)
        bound_to = proof.thumbprint
    return ProvenClient(service, tuple(proofs), bound_to, client_id)


def _check_exchange(services: Services, call: Call) -> Prepared:
    """Who acts is whose key this is: a token that says so for somebody else (`actor_token`) is not taken."""
    given = call.body
    services.identity.services.count_attempt(given.client_id, call.peer)
    application = _application(services, given.client_id, given.client_secret)
    if given.actor_token or given.actor_token_type:
        raise Invalid("actor_token: leave it out; the application whose key this is acts, and nobody else")
    if call.dpop:
        raise Invalid("DPoP: the gateway takes these tokens as they are; leave the proof out")
    if given.requested_token_type not in ("", ACCESS_TOKEN_TYPE):
        raise Invalid(f"requested_token_type: only {ACCESS_TOKEN_TYPE} is made")
    for target in (given.audience, given.resource):
        if target not in ("", services.public_url, f"{services.public_url}/v1", services.identity.services.issuer):
            raise InvalidTarget("audience, resource: tokens are for this gateway alone; leave them out")
    delegated = _delegated(services, given, application.id)
    context = {"on_behalf_of": f"person:{delegated.person_id}", "delegation": delegated.delegation_id or "id_token"}
    return Prepared(context=context, value=ProvenExchange(application, delegated))


def _application(services: Services, client_id: str, key: str) -> Subject:
    try:
        application = services.identity.api_keys.authenticate(key)
    except Unauthenticated:
        application = None
    if application is None or application.id != client_id:
        raise SignInRefused("the client could not prove itself: client_id is an application, client_secret its API key")
    return application


def _delegated(services: Services, given: TokenRequest, application_id: str) -> Delegated:
    delegations = services.identity.delegations
    match given.subject_token_type:
        case kind if kind == DELEGATION_TYPE:
            return delegations.check(given.subject_token, application_id)
        case kind if kind == ID_TOKEN_TYPE and services.identity.single_sign_on is not None:
            person_id, until = services.identity.single_sign_on.check_subject(given.subject_token, application_id)
            return delegations.check_known(person_id, until)
    offered = [DELEGATION_TYPE] + ([ID_TOKEN_TYPE] if services.identity.single_sign_on is not None else [])
    raise Invalid(f"subject_token_type: {' or '.join(offered)}")


ROUTES = (
    Route(
        method="POST", path="/tokens", name="grant_token",
        summary="An access token: for client credentials, or in exchange for what a person gave an application",
        access="open", action="identity:token:create", asset=system, prepare=check_request, perform=grant_token,
        body=TokenRequest, answer=AccessToken,
    ),
)  # fmt: skip
