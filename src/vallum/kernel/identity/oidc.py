"""Single sign-on: OpenID Connect's authorization code flow with PKCE (OIDC Core 1.0, RFC 7636, RFC 9207).

Answers forged and foreign ID tokens (asymmetric algorithms bound to the provider's own keys; issuer, audience, nonce
and time all held), a code injected into somebody else's browser (state in a cookie, PKCE), mix-up of providers, and
sign-in with one factor where two are wanted (`amr` or `acr` must say so). Groups become roles at each sign-in, so that
what the directory takes away is gone with the next. Somebody is who the provider's `iss` and `sub` say, never a name.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from os import urandom
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as UniqueViolation

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.identity import records as table
from vallum.kernel.identity.delegations import SubjectTokenRefused
from vallum.kernel.identity.factors import ProvenElsewhere, totp_place
from vallum.kernel.identity.model import NameTaken, SignInRefused, parse_name
from vallum.kernel.identity.people import EPOCH
from vallum.kernel.identity.proofs import ProofRefused, check_signature
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.identity.tokens import TokenRefused, Tokens
from vallum.kernel.identity.totp import new_totp_secret
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.policy.engine import FRESH_SECONDS
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records

__all__ = ["NoRoleLeft", "OidcConfig", "OidcProvider", "SingleSignOn", "SsoBegin", "SsoRefused", "VerifiedSso"]

BEGIN_SECONDS = 600  # somebody may have to find their phone
_STATE = "sso-state+jwt"
_SKEW_SECONDS = 60
_MAX_ID_TOKEN_SECONDS = 86_400


class SsoRefused(SignInRefused):
    """The provider's answer does not do; what to change is said where it is the person's or operator's to change."""

    code = "sso_refused"


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """`roles` maps the provider's groups to roles here. One of `amr` or `acr` in the ID token is the second factor.

    `applications` maps other clients' ids at the provider to the applications here that may exchange their ID tokens.
    """

    issuer: str
    client_id: str
    roles: Mapping[str, str]
    groups_claim: str = "groups"
    name_claim: str = "preferred_username"
    scope: str = "openid profile email"
    amr: frozenset[str] = frozenset({"mfa"})
    acr: frozenset[str] = frozenset()
    applications: Mapping[str, str] = field(default_factory=dict)


class NoRoleLeft(SsoRefused):
    """The provider vouches for somebody whose groups give no role here, or none any more."""

    def __init__(self, message: str, subject: str) -> None:
        super().__init__(message)
        self.subject = subject


class OidcProvider(Protocol):
    """The provider over the network. Every method raises Unavailable when it does not answer as it should."""

    def metadata(self) -> Mapping[str, Any]:
        """Its discovery document, whose issuer was compared with the configured one."""
        ...

    def keys(self, *, afresh: bool = False) -> list[Mapping[str, Any]]:
        """Its public keys; `afresh` after one was named that is not among them."""
        ...

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token for a code. Raises Invalid when the provider refuses it."""
        ...


class SsoBegin(msgspec.Struct, frozen=True):
    """Where to send the browser, and what it keeps meanwhile, in a cookie of its own."""

    url: str
    kept: str


@dataclass(frozen=True, slots=True)
class VerifiedSso:
    """Whom the provider vouches for. Only `check` makes one."""

    issuer: str
    subject: str
    name: str
    roles: tuple[str, ...]
    mfa_at_seconds: int
    state_id: str
    state_expires_at_seconds: int


class SingleSignOn:
    """Safe to share between threads."""

    def __init__(
        self,
        config: OidcConfig,
        provider: OidcProvider,
        records: Records,
        keyring: Keyring,
        tokens: Tokens,
        clock: Clock,
        redirect_uri: str,
    ) -> None:
        self._config = config
        self._provider = provider
        self._records = records
        self._keyring = keyring
        self._tokens = tokens
        self._clock = clock
        self._redirect_uri = redirect_uri

    def begin(self) -> SsoBegin:
        """Writes nothing. Raises Unavailable when the provider does not answer."""
        endpoint = str(self._provider.metadata()["authorization_endpoint"])
        state, nonce, verifier = (_random() for _ in range(3))
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._config.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": _base64url(sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            "max_age": str(FRESH_SECONDS),  # so that auth_time has to come, and the session starts with a fresh factor
        }
        if self._config.acr:
            query["acr_values"] = " ".join(sorted(self._config.acr))
        kept = self._tokens.sign(_STATE, BEGIN_SECONDS, {"state": state, "nonce": nonce, "verifier": verifier})
        return SsoBegin(endpoint + ("&" if "?" in endpoint else "?") + urlencode(query), kept)

    def check(self, kept: str, state: str, code: str, issuer: str | None) -> VerifiedSso:
        """Asks the provider. Raises SsoRefused, Unavailable. `issuer` is the answer's own `iss`, if it has one."""
        again = SsoRefused("this sign-in was not begun in this browser, or too long ago: begin again")
        try:
            begun = self._tokens.read(_STATE, kept)
        except TokenRefused as e:
            raise again from e
        if not hmac.compare_digest(str(begun["state"]).encode(), state.encode("utf-8", "replace")):
            raise again
        if issuer is not None and issuer != self._config.issuer:
            raise SsoRefused("the answer is another provider's")
        try:
            token = self._provider.exchange(code, str(begun["verifier"]), self._redirect_uri)
        except Invalid as e:
            raise SsoRefused("the provider refused its own code: begin again") from e
        claims = self._claims(token, str(begun["nonce"]))
        return VerifiedSso(
            issuer=self._config.issuer,
            subject=str(claims["sub"]),
            name=self._name(claims),
            roles=self._roles(claims),
            mfa_at_seconds=self._mfa_at(claims),
            state_id=str(begun["jti"]),
            state_expires_at_seconds=int(begun["exp"]),
        )

    def check_subject(self, token: str, application_id: str) -> tuple[str | None, int]:
        """Who is signed in to an application by an ID token of its own, and until when; None for somebody unknown here.

        Raises SubjectTokenRefused for one that was made for another client: it is not this application's to use.
        """
        own = frozenset(
            client for client, application in self._config.applications.items() if application == application_id
        )
        try:
            claims = self._signed(token)
            self._hold(claims, own)
        except SsoRefused as e:
            raise SubjectTokenRefused("subject_token: no ID token that this application may exchange") from e
        return self._person_id(str(claims["sub"])), int(claims["exp"])

    def admit(self, conn: Connection, verified: VerifiedSso) -> tuple[ProvenElsewhere, bool]:
        """The person that this is, made on their first sign-in, and whether their roles changed with what the
        provider says now.

        Raises SsoRefused for somebody who is disabled, NameTaken for a new one whose name is another's.
        """
        s, p = table.sso_subjects.c, table.persons.c
        query = select(p.id, p.roles, p.disabled_at).join(table.sso_subjects, s.person_id == p.id)
        row = conn.execute(query.where(s.issuer == verified.issuer, s.subject == verified.subject)).one_or_none()
        roles = check_roles(verified.roles)
        changed = row is None or row.roles != roles
        if row is None:
            person_id = self._new_person(conn, verified, roles)
        elif row.disabled_at is not None:
            raise SsoRefused("your access here was ended: ask an administrator")
        else:
            person_id = row.id
            if changed:
                conn.execute(update(table.persons).where(p.id == person_id).values(roles=roles, version=p.version + 1))
                bump_epoch(conn, EPOCH)
        return ProvenElsewhere(
            person_id, verified.mfa_at_seconds, verified.state_id, verified.state_expires_at_seconds
        ), changed

    def withdraw(self, conn: Connection, subject: str) -> str | None:
        """The directory took somebody's groups: what they hold here goes at once, their sessions with it.

        Returns whose id that is, None for somebody who never was here.
        """
        p = table.persons.c
        person_id = self._person_id(subject, conn)
        if person_id is not None:
            conn.execute(update(table.persons).where(p.id == person_id).values(roles="member", version=p.version + 1))
            conn.execute(delete(table.sessions).where(table.sessions.c.person_id == person_id))
            bump_epoch(conn, EPOCH)
        return person_id

    def _person_id(self, subject: str, conn: Connection | None = None) -> str | None:
        if conn is None:
            with self._records.read() as reading:
                return self._person_id(subject, reading)
        s = table.sso_subjects.c
        query = select(s.person_id).where(s.issuer == self._config.issuer, s.subject == subject)
        return conn.execute(query).scalar()

    def _new_person(self, conn: Connection, verified: VerifiedSso, roles: str) -> str:
        """Without a password, and with a second factor that nobody knows: the provider is the way in."""
        person_id = new_id("per")
        place = totp_place("persons", person_id.encode())
        secret = new_totp_secret().encode()
        values = {
            "id": person_id,
            "tenant": DEFAULT_TENANT,
            "name": verified.name,
            "password_hash": "",
            "totp_sealed": self._keyring.seal(DEFAULT_TENANT, Purpose.SECRETS, secret, place, conn=conn),
            "totp_last_step": 0,
            "roles": roles,
            "version": 1,
            "created_at": format_time(self._clock.now()),
            "disabled_at": None,
            "holder": person_id,
            "inviter": "",
        }
        try:
            with conn.begin_nested():
                conn.execute(insert(table.persons).values(values))
        except UniqueViolation:
            raise NameTaken(f"somebody else here is named {verified.name}: ask an administrator") from None
        subject = {"issuer": verified.issuer, "subject": verified.subject, "person_id": person_id}
        conn.execute(insert(table.sso_subjects).values(subject))
        bump_epoch(conn, EPOCH)
        return person_id

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """OIDC Core, section 3.1.3.7. Raises SsoRefused, and says no more than that."""
        claims = self._signed(token)
        self._hold(claims, frozenset({self._config.client_id}))
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode("utf-8", "replace"), nonce.encode()):
            raise _unsound()
        return claims

    def _signed(self, token: str) -> dict[str, Any]:
        for afresh in (False, True):
            try:
                return check_signature(token, self._provider.keys(afresh=afresh))
            except ProofRefused:
                continue
        raise _unsound()

    def _hold(self, claims: Mapping[str, Any], clients: frozenset[str]) -> None:
        """Of this provider, for one of `clients`, and at this time."""
        refused = _unsound()
        now = self._clock.now().timestamp()
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
        expires, issued, subject = claims.get("exp"), claims.get("iat"), claims.get("sub")
        if claims.get("iss") != self._config.issuer or not clients & set(map(str, audiences)):
            raise refused
        if (len(audiences) > 1 or "azp" in claims) and str(claims.get("azp")) not in clients:
            raise refused
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
            raise refused
        if type(expires) is not int or type(issued) is not int:
            raise refused
        if not now - _SKEW_SECONDS < expires <= now + _MAX_ID_TOKEN_SECONDS or issued > now + _SKEW_SECONDS:
            raise refused

    def _mfa_at(self, claims: Mapping[str, Any]) -> int:
        methods = claims.get("amr")
        proven = isinstance(methods, list) and bool(self._config.amr & {m for m in methods if isinstance(m, str)})
        if not proven and claims.get("acr") not in self._config.acr:
            raise SsoRefused("your provider did not say that it asked for a second factor: set one up there")
        at = claims.get("auth_time")  # one that does not say when has proven nothing fresh
        return max(0, min(at, int(self._clock.now().timestamp()))) if type(at) is int else 0

    def _roles(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        groups = claims.get(self._config.groups_claim)
        held = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        roles = {self._config.roles[group] for group in held if isinstance(group, str) and group in self._config.roles}
        if not roles:
            raise NoRoleLeft("none of your groups gives you a role here: ask an administrator", str(claims["sub"]))
        return tuple(sorted(roles))

    def _name(self, claims: Mapping[str, Any]) -> str:
        for claim in (self._config.name_claim, "email", "sub"):
            try:
                return parse_name(str(claims[claim]))
            except (Invalid, KeyError):
                continue
        raise SsoRefused("your provider gave no name that will do here: see oidc.name_claim")


def _unsound() -> SsoRefused:
    return SsoRefused("the provider's ID token does not hold")


def _random() -> str:
    return _base64url(urandom(32))


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def require(document: Mapping[str, Any], issuer: str) -> Mapping[str, Any]:
    """A discovery document that is this issuer's and has what the flow needs. Raises Unavailable."""
    wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    if document.get("issuer") != issuer or not all(isinstance(document.get(name), str) for name in wanted):
        raise Unavailable("the single sign-on provider's discovery document is not that of oidc.issuer")
    return document
