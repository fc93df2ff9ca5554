"""Certificates of services that prove themselves by mutual TLS: issued, renewed by the service itself, withdrawn."""

from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from vallum.api.assets import named
from vallum.api.assets import system as system_asset
from vallum.api.control import Call, Services
from vallum.api.routing import Prepared, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid
from vallum.kernel.gate import Change
from vallum.kernel.identity import IssuedCertificate, SignInRefused
from vallum.kernel.identity.certificates import MAX_SECONDS, MIN_SECONDS

__all__ = ["ROUTES"]

_DAY_SECONDS = 86_400
Request = Annotated[str, Meta(max_length=16_384)]
Seconds = Annotated[int, Meta(ge=MIN_SECONDS, le=MAX_SECONDS)]


class NewCertificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`csr` is a PKCS#10 request in PEM; of it only the public key is taken."""

    csr: Request
    seconds: Seconds = _DAY_SECONDS


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    client_id: Annotated[str, Meta(max_length=256)]
    csr: Request
    seconds: Seconds = _DAY_SECONDS


def issue(services: Services, call: Call) -> Prepared:
    service = services.identity.services.service(call.path["id"])
    if service.spiffe_id is None or service.disabled_at is not None:
        raise Invalid("this service is disabled or proves itself otherwise: create one with --spiffe-id auto")
    return _issued(services, service.id, service.spiffe_id, call.body)


def hand_over(services: Services, call: Call, change: Change) -> IssuedCertificate:
    issued: IssuedCertificate = call.prepared.value
    return issued


def renew(services: Services, call: Call) -> Prepared:
    """By the certificate at hand, over mutual TLS, as RFC 7030 re-enrols; a mesh renews its own."""
    given, known = call.body, services.identity.services
    known.count_attempt(given.client_id, call.peer)
    if not call.certificate:
        raise SignInRefused("renew over mutual TLS, with the certificate that is to be renewed: see server.mtls_port")
    service = known.check_certificate(call.certificate, given.client_id)
    made = _issued(services, service.id, service.spiffe_id or "", given)
    return replace(made, value=(service, made.value))


def hand_over_renewed(services: Services, call: Call, conn: Connection) -> tuple[IssuedCertificate, str]:
    known = services.identity.services
    known.confirm_certificate(conn, call.prepared.value[0], call.certificate)
    known.attempt_succeeded(conn, call.body.client_id, call.peer)
    return call.prepared.value[1], f"service:{call.body.client_id}"


def withdraw(services: Services, call: Call, change: Change) -> None:
    services.identity.services.refuse_certificates(change.conn, call.path["id"])


def _issued(services: Services, service_id: str, spiffe_id: str, given: NewCertificate | Renewal) -> Prepared:
    made = services.identity.services.authority.issue(service_id, spiffe_id, given.csr, given.seconds)
    return Prepared(context={"spiffe_id": spiffe_id[:256], "serial": made.serial, "seconds": given.seconds}, value=made)


ROUTES = (
    Route(
        method="POST", path="/services/{id}/certificates", name="issue_certificate",
        summary="A short-lived certificate for a service, for the key that signed the request",
        access="change", action=Action.CERTIFICATE_ISSUE, asset=named("Service", "id"), prepare=issue,
        perform=hand_over, body=NewCertificate, answer=IssuedCertificate, status=201,
    ),
    Route(
        method="POST", path="/certificates", name="renew_certificate",
        summary="Another certificate, for the one that this mutual TLS connection was made with",
        access="open", action="identity:certificate:renew", asset=system_asset, prepare=renew,
        perform=hand_over_renewed, body=Renewal, answer=IssuedCertificate, status=201,
    ),
    Route(
        method="DELETE", path="/services/{id}/certificates", name="withdraw_certificates",
        summary="Every certificate that a service has got until now proves nothing any more",
        access="change", action=Action.CERTIFICATE_WITHDRAW, asset=named("Service", "id"), perform=withdraw, status=204,
    ),
)  # fmt: skip
