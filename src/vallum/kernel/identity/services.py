"""Services: programs that sign in by OAuth 2.0 client credentials and hold access tokens of minutes.

A service proves itself with a secret, by signing with a key whose private half never leaves it (`private_key_jwt`), or
by the certificate of a mutual TLS handshake (`tls_client_auth`, RFC 8705).
A token is a JWT (RFC 9068, `typ` at+jwt) signed with Ed25519 and nothing else; it says who, never what for: roles
and state are the service's at the moment of use. It may be bound to a key (DPoP, RFC 9449), and is then worth nothing
to whoever copies it. Answers forgery (`tokens`), replay (`proofs`), and revoked tokens or services: what is held in
memory is dropped by every process within the epoch's quarter of a second.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as UniqueViolation

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.certificates import AUTO, CertificateRefused, WorkloadAuthority, parse_spiffe_id
from vallum.kernel.identity.factors import use_once
from vallum.kernel.identity.model import (
    AccessToken,
    CredentialRefused,
    IssuedService,
    NameTaken,
    Service,
    SignInRefused,
    parse_name,
)
from vallum.kernel.identity.people import EPOCH
from vallum.kernel.identity.proofs import (
    DpopProof,
    ProofRefused,
    SignedAssertion,
    check_assertion,
    check_dpop,
    parse_jwks,
    subject_of,
)
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.identity.secrets import SERVICE_PREFIX, hash_secret, is_well_formed, new_secret
from vallum.kernel.identity.throttle import Peer, Throttle
from vallum.kernel.identity.tokens import LEEWAY_SECONDS, TokenRefused, Tokens
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import Subject, SubjectKind, TenantId

__all__ = ["TOKEN_SECONDS", "Services"]

TOKEN_SECONDS = 600
_TYPE = "at+jwt"
_MAX_HELD = 10_000
_REFUSED = "the client could not prove itself: check client_id, and its secret or key"
_TOKEN_REFUSED = "the access token is not valid: ask for another"  # noqa: S105


@dataclass(frozen=True, slots=True)
class _Held:
    subject: Subject
    expires_at_seconds: int
    bound_to: str | None


@dataclass(frozen=True, slots=True)
class _State:
    """All services, and what was revoked before its time: small, and read whole."""

    services: Mapping[str, Service]
    revoked: frozenset[str]


class Services:
    """Safe to share between threads."""

    def __init__(self, records: Records, tokens: Tokens, clock: Clock, authority: WorkloadAuthority) -> None:
        self._records = records
        self._clock = clock
        self._tokens = tokens
        self.authority = authority
        self._throttle = Throttle()
        self._lock = Lock()
        self._generation = 0
        self._state: _State | None = None
        self._held: dict[bytes, _Held] = {}

    def create(
        self,
        conn: Connection,
        name: str,
        roles: Iterable[str],
        tenant: str = DEFAULT_TENANT,
        *,
        jwks: object | None = None,
        spiffe_id: str | None = None,
    ) -> IssuedService:
        """With `jwks`, a service that signs with one of these public keys; with `spiffe_id`, one that has certificates
        with this id (`auto`: from the authority here); else one with a secret.

        Raises Invalid for a name, role, key or id that will not do, NameTaken.
        """
        if jwks is not None and spiffe_id is not None:
            raise Invalid("jwks, spiffe_id: a service proves itself in one way")
        keys = () if jwks is None else parse_jwks(jwks)
        name = parse_name(name)
        known_by = None if spiffe_id is None else self._known_by(name, spiffe_id)
        secret = None if keys or known_by else new_secret(SERVICE_PREFIX)
        service = Service(
            id=new_id("svc"),
            tenant=tenant,
            name=name,
            roles=tuple(check_roles(roles).split()),
            version=1,
            created_at=format_time(self._clock.now()),
            disabled_at=None,
            method="private_key_jwt" if keys else "tls_client_auth" if known_by else "client_secret",
            key_ids=tuple(str(key["kid"]) for key in keys),
            spiffe_id=known_by,
        )
        try:
            with conn.begin_nested():
                conn.execute(
                    insert(table.services).values(
                        id=service.id,
                        tenant=service.tenant,
                        name=service.name,
                        secret_hash=None if secret is None else hash_secret(secret),
                        jwks=json.dumps(keys) if keys else None,
                        spiffe_id=known_by,
                        roles=" ".join(service.roles),
                        version=1,
                        created_at=service.created_at,
                    )
                )
        except UniqueViolation:
            raise NameTaken(f"there is a service named {service.name}, or with that SPIFFE id, already") from None
        bump_epoch(conn, EPOCH)
        return IssuedService(service, secret)

    def disable(self, conn: Connection, service_id: str) -> None:
        """No new tokens, and those it holds stop working. Raises NotFound."""
        done = conn.execute(
            update(table.services)
            .where(table.services.c.id == service_id, table.services.c.disabled_at.is_(None))
            .values(disabled_at=format_time(self._clock.now()), version=table.services.c.version + 1)
        )
        if done.rowcount != 1:
            raise NotFound("there is no such service, or it is disabled already")
        bump_epoch(conn, EPOCH)

    def refuse_certificates(self, conn: Connection, service_id: str) -> None:
        """Those issued until now, here or by a mesh, prove nothing any more. Raises NotFound."""
        done = conn.execute(
            update(table.services)
            .where(table.services.c.id == service_id, table.services.c.spiffe_id.is_not(None))
            .values(certificates_after_seconds=int(self._clock.now().timestamp()))
        )
        if done.rowcount != 1:
            raise NotFound("there is no such service, or it has no certificates")

    def list(self) -> list[Service]:
        with self._records.read() as conn:
            rows = conn.execute(select(table.services).order_by(table.services.c.name)).all()
        return [_service(row) for row in rows]

    def service(self, service_id: str) -> Service:
        """Raises NotFound."""
        with self._records.read() as conn:
            row = conn.execute(select(table.services).where(table.services.c.id == service_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such service")
        return _service(row)

    @property
    def issuer(self) -> str:
        return self._tokens.issuer

    def count_attempt(self, client_id: str, peer: Peer) -> None:
        """Before it is judged. Raises LimitExceeded after too many that failed."""
        with self._records.write() as conn:
            self._throttle.take_client(conn, client_id[:64], peer, int(self._clock.now().timestamp()))

    def attempt_succeeded(self, conn: Connection, client_id: str, peer: Peer) -> None:
        self._throttle.client_succeeded(conn, client_id[:64], peer)

    def check_secret(self, client_id: str, client_secret: str) -> Service:
        """The service that proves its secret (RFC 6749, section 2.3.1). Raises SignInRefused."""
        row = self._row(client_id)
        right = row is not None and row.disabled_at is None and is_well_formed(client_secret, SERVICE_PREFIX)
        # Both sides are digests of a 214-bit random secret: comparing them leaks nothing useful through time.
        if row is None or not right or row.secret_hash is None or bytes(row.secret_hash) != hash_secret(client_secret):
            raise SignInRefused(_REFUSED)
        return _service(row)

    def check_assertion(self, assertion: str, audiences: Iterable[str]) -> tuple[Service, SignedAssertion]:
        """The service that signed this (RFC 7523, section 2.2); who, its `sub` says. Raises SignInRefused.

        Whoever calls uses the assertion's id up (`factors.use_once`) before it grants anything.
        """
        client_id = subject_of(assertion)
        row = self._row(client_id) if client_id else None
        if row is None or row.disabled_at is not None or row.jwks is None:
            raise SignInRefused(_REFUSED)
        try:
            now = self._clock.now().timestamp()
            signed = check_assertion(assertion, client_id, json.loads(row.jwks), audiences, now)
        except ProofRefused as e:
            raise SignInRefused(_REFUSED) from e
        return _service(row), signed

    def check_certificate(self, der: bytes, client_id: str) -> Service:
        """The service whose SPIFFE id is in a certificate that a handshake has verified. Raises SignInRefused."""
        try:
            spiffe_id, issued_at = self.authority.identify(der)
        except CertificateRefused as e:
            raise SignInRefused(_REFUSED) from e
        row = self._row(client_id)
        if row is None or row.disabled_at is not None or row.spiffe_id != spiffe_id:
            raise SignInRefused(_REFUSED)
        if issued_at <= (row.certificates_after_seconds or 0):
            raise SignInRefused("certificates issued until lately were withdrawn: have another issued")
        return _service(row)

    def confirm_certificate(self, conn: Connection, service: Service, der: bytes) -> None:
        """In the transaction that renews: nothing was withdrawn or disabled meanwhile. Raises SignInRefused."""
        row = conn.execute(
            select(table.services).where(table.services.c.id == service.id).with_for_update(read=True)
        ).one_or_none()
        issued_at = self.authority.identify(der)[1]
        if row is None or row.disabled_at is not None or issued_at <= (row.certificates_after_seconds or 0):
            raise SignInRefused(_REFUSED)

    def check_dpop(self, proof: str, method: str, urls: Iterable[str], token: str | None = None) -> DpopProof:
        """Raises SignInRefused. Whoever calls uses the proof's id up."""
        try:
            return check_dpop(proof, method, urls, self._clock.now().timestamp(), token)
        except ProofRefused as e:
            raise SignInRefused("the DPoP proof is not one for this request: make a fresh one") from e

    def use_up(self, conn: Connection, proof: SignedAssertion | DpopProof) -> None:
        """Raises SignInRefused when it was used before."""
        if not use_once(conn, proof.id, proof.expires_at_seconds, int(self._clock.now().timestamp())):
            raise SignInRefused("this proof was used before: make a fresh one")

    def grant(self, service: Service, bound_to: str | None = None) -> AccessToken:
        """A token for this service; `bound_to` is the thumbprint of the key that must sign along with it."""
        claims: dict[str, Any] = {"sub": service.id, "client_id": service.id}
        if bound_to is not None:
            claims["cnf"] = {"jkt": bound_to}
        kind = "Bearer" if bound_to is None else "DPoP"
        return AccessToken(self._tokens.sign(_TYPE, TOKEN_SECONDS, claims), TOKEN_SECONDS, kind)

    def authenticate_token(self, token: str, proven_key: str | None = None) -> Subject:
        """The service that holds this token. Raises CredentialRefused.

        `proven_key` is the thumbprint that a DPoP proof of this very request was made with. A token bound to a key is
        refused without it, and one that is not bound is refused with it. From memory: what was revoked is dropped
        from there by every process within the epoch's quarter of a second.
        """
        hashed = sha256(token.encode("utf-8", "surrogatepass")).digest()
        held = self._held.get(hashed)
        if held is None:
            held = self._recognise(token, hashed)
        if held.expires_at_seconds <= self._clock.now().timestamp() - LEEWAY_SECONDS or held.bound_to != proven_key:
            raise CredentialRefused(_TOKEN_REFUSED)
        return held.subject

    def refresh(self) -> None:
        """Forget what is held in memory."""
        with self._lock:
            self._generation += 1
            self._state, self._held = None, {}

    def revoke_token(self, conn: Connection, token: str) -> str:
        """Returns the token's id. Raises CredentialRefused for a token that is none of ours or has expired."""
        claims = self._claims(token)
        insert_ = upsert(conn, table.revoked_tokens)
        conn.execute(insert_.values(jti=claims["jti"], expires_at_seconds=claims["exp"]).on_conflict_do_nothing())
        past = int(self._clock.now().timestamp()) - LEEWAY_SECONDS
        conn.execute(delete(table.revoked_tokens).where(table.revoked_tokens.c.expires_at_seconds < past))
        bump_epoch(conn, EPOCH)
        return str(claims["jti"])

    def _known_by(self, name: str, spiffe_id: str) -> str:
        own = self.authority.spiffe_id(name)
        if spiffe_id in (AUTO, own):
            return own
        if self.authority.is_own(spiffe_id):
            raise Invalid(f"spiffe_id: ids of this installation's own trust domain are by name: {own}, or {AUTO}")
        return parse_spiffe_id(spiffe_id)

    def _row(self, client_id: str) -> Row[Any] | None:
        with self._records.read() as conn:
            return conn.execute(select(table.services).where(table.services.c.id == client_id)).one_or_none()

    def _recognise(self, token: str, hashed: bytes) -> "_Held":
        claims = self._claims(token)
        generation = self._generation
        state = self._state or self._load_state()
        service = state.services.get(claims["sub"])
        if service is None or service.disabled_at is not None or claims["jti"] in state.revoked:
            raise CredentialRefused(_TOKEN_REFUSED)
        subject = Subject(
            SubjectKind.SERVICE,
            service.id,
            TenantId(service.tenant),
            frozenset(service.roles),
            version=service.version,
            credential=claims["jti"],
        )
        cnf = claims.get("cnf")
        held = _Held(subject, claims["exp"], cnf.get("jkt") if isinstance(cnf, dict) else None)
        with self._lock:
            # What was read before a refresh may have been revoked since: it must not be kept past it.
            if generation == self._generation:
                self._state = state
                if len(self._held) >= _MAX_HELD:
                    self._held.clear()
                self._held[hashed] = held
        return held

    def _load_state(self) -> "_State":
        now = int(self._clock.now().timestamp())
        revoked = table.revoked_tokens.c
        with self._records.read() as conn:
            services = {row.id: _service(row) for row in conn.execute(select(table.services))}
            jtis = conn.execute(
                select(revoked.jti).where(
                    revoked.expires_at_seconds > now - 60, revoked.jti.like("tok\\_%", escape="\\")
                )
            ).scalars()
            return _State(services, frozenset(jtis))

    def _claims(self, token: str) -> dict[str, Any]:
        refused = CredentialRefused(_TOKEN_REFUSED)
        try:
            claims = self._tokens.read(_TYPE, token)
        except TokenRefused as e:
            raise refused from e
        if not isinstance(claims.get("sub"), str):
            raise refused
        return claims


def _service(row: Any) -> Service:  # a row of the services table
    return Service(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        roles=tuple(row.roles.split()),
        version=row.version,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        method="private_key_jwt" if row.jwks else "tls_client_auth" if row.spiffe_id else "client_secret",
        key_ids=tuple(key["kid"] for key in json.loads(row.jwks or "[]")),
        spiffe_id=row.spiffe_id,
    )
