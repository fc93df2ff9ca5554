"""Services: programs that sign in by OAuth 2.0 client credentials and hold access tokens of minutes.

A token is a JWT (RFC 9068, `typ` at+jwt) signed with Ed25519 and nothing else; it says who, never what for: roles
and state are the service's at the moment of use. Answers algorithm confusion (one algorithm, one type, one key),
tokens of other installations (issuer and audience are the ledger's origin), and revoked tokens or services
(seen by every process within the epoch's quarter of a second).
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError as UniqueViolation

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import NotFound
from vallum.kernel.identity import records as table
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
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.identity.secrets import SERVICE_PREFIX, hash_secret, is_well_formed, new_secret
from vallum.kernel.identity.tokens import LEEWAY_SECONDS, TokenRefused, Tokens
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject, SubjectKind, TenantId

__all__ = ["TOKEN_SECONDS", "Services"]

TOKEN_SECONDS = 600
_TYPE = "at+jwt"


class Services:
    """Safe to share between threads."""

    def __init__(self, records: Records, tokens: Tokens, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._tokens = tokens

    def create(self, conn: Connection, name: str, roles: Iterable[str], tenant: str = DEFAULT_TENANT) -> IssuedService:
        """Raises Invalid for a name or role that will not do, NameTaken."""
        secret = new_secret(SERVICE_PREFIX)
        service = Service(
            id=new_id("svc"),
            tenant=tenant,
            name=parse_name(name),
            roles=tuple(check_roles(roles).split()),
            version=1,
            created_at=format_time(self._clock.now()),
            disabled_at=None,
        )
        try:
            with conn.begin_nested():
                conn.execute(
                    insert(table.services).values(
                        id=service.id,
                        tenant=service.tenant,
                        name=service.name,
                        secret_hash=hash_secret(secret),
                        roles=" ".join(service.roles),
                        version=1,
                        created_at=service.created_at,
                    )
                )
        except UniqueViolation:
            raise NameTaken(f"there is a service named {service.name} already") from None
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

    def grant_client_credentials(self, client_id: str, client_secret: str) -> tuple[Service, AccessToken]:
        """A token for the service that proves its secret (RFC 6749, section 4.4). Raises SignInRefused."""
        with self._records.read() as conn:
            row = conn.execute(select(table.services).where(table.services.c.id == client_id)).one_or_none()
        right = row is not None and row.disabled_at is None and is_well_formed(client_secret, SERVICE_PREFIX)
        # Both sides are digests of a 214-bit random secret: comparing them leaks nothing useful through time.
        if row is None or not right or bytes(row.secret_hash) != hash_secret(client_secret):
            raise SignInRefused("client_id or client_secret is wrong")
        token = self._tokens.sign(_TYPE, TOKEN_SECONDS, {"sub": row.id, "client_id": row.id})
        return _service(row), AccessToken(token, TOKEN_SECONDS)

    def authenticate_token(self, token: str) -> Subject:
        """The service that holds this token. Raises CredentialRefused. Reads the database."""
        claims = self._claims(token)
        service_id, jti = claims["sub"], claims["jti"]
        with self._records.read() as conn:
            row = conn.execute(select(table.services).where(table.services.c.id == service_id)).one_or_none()
            revoked = conn.execute(select(table.revoked_tokens).where(table.revoked_tokens.c.jti == jti)).first()
        if row is None or row.disabled_at is not None or revoked is not None:
            raise CredentialRefused("the access token is not valid: ask for another")
        return Subject(
            SubjectKind.SERVICE,
            row.id,
            TenantId(row.tenant),
            frozenset(row.roles.split()),
            version=row.version,
            credential=jti,
        )

    def revoke_token(self, conn: Connection, token: str) -> str:
        """Returns the token's id. Raises CredentialRefused for a token that is none of ours or has expired."""
        claims = self._claims(token)
        insert_ = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table.revoked_tokens)
        conn.execute(insert_.values(jti=claims["jti"], expires_at_seconds=claims["exp"]).on_conflict_do_nothing())
        past = int(self._clock.now().timestamp()) - LEEWAY_SECONDS
        conn.execute(delete(table.revoked_tokens).where(table.revoked_tokens.c.expires_at_seconds < past))
        return str(claims["jti"])

    def _claims(self, token: str) -> dict[str, Any]:
        refused = CredentialRefused("the access token is not valid: ask for another")
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
    )
