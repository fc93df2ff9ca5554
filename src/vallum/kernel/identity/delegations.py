"""Delegations: a person lets one application act for them, whose requests then carry both (RFC 8693).

The application exchanges what the person gave it, a delegation or an ID token of the person's single sign-on, for an
access token of minutes that names the person (`sub`) and itself (`act`). Answers the confused deputy: what a person
gave to one application is worth nothing in another's hands, since the exchange is asked for with the application's own
key and both are compared; the token is good at the gateway alone, where policy sees the application *and* the person;
and it ends with the key, the delegation, or the person's access, everywhere within the epoch's quarter of a second.
"""

from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.api_keys import scope_of
from vallum.kernel.identity.model import AccessToken, CredentialRefused
from vallum.kernel.identity.people import EPOCH
from vallum.kernel.identity.secrets import DELEGATION_PREFIX, hash_secret, is_well_formed, new_secret
from vallum.kernel.identity.tokens import LEEWAY_SECONDS, TokenRefused, Tokens
from vallum.kernel.ids import new_id
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject, SubjectKind, TenantId

__all__ = [
    "ACCESS_TOKEN_TYPE",
    "MAX_DELEGATION_SECONDS",
    "Delegated",
    "Delegation",
    "Delegations",
    "IssuedDelegation",
    "SubjectTokenRefused",
]

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  RFC 8693, section 3
MAX_DELEGATION_SECONDS = 30 * 86_400
_TOKEN_SECONDS = 600
_TYPE = "delegated+jwt"  # of its own, so that no other door takes it (RFC 8725, section 3.11)
_MAX_HELD = 50_000
_MAX_DELEGATIONS = 100
_REFUSED = "the access token is not valid: exchange the subject token again"


class SubjectTokenRefused(Invalid):
    """What the application presents of a person is unknown, over, or was not given to this application."""

    code = "subject_token_refused"


class Delegation(msgspec.Struct, frozen=True):
    """`person_id` lets `application_id` act for them at the gateway, until it expires or is ended."""

    id: str
    person_id: str
    application_id: str
    created_at: str
    expires_at_seconds: int
    ended_at: str | None


class IssuedDelegation(msgspec.Struct, frozen=True):
    """`token` is shown once, and is the application's `subject_token`."""

    delegation: Delegation
    token: str

    def __repr__(self) -> str:
        return f"IssuedDelegation({self.delegation.id})"


@dataclass(frozen=True, slots=True)
class Delegated:
    """Whom an application may act for, until when at most. `delegation_id` is empty where an ID token said so."""

    person_id: str
    delegation_id: str
    until_seconds: int


class Delegations:
    """Safe to share between threads."""

    def __init__(self, records: Records, tokens: Tokens, clock: Clock) -> None:
        self._records = records
        self._tokens = tokens
        self._clock = clock
        self._lock = Lock()
        self._generation = 0
        self._held: dict[bytes, tuple[Subject, int]] = {}

    # What a person does.

    def create(self, conn: Connection, person_id: str, application_id: str, seconds: int) -> IssuedDelegation:
        """Raises Invalid for a time that will not do, Conflict when too many are in force. Those that are over go."""
        if not 60 <= seconds <= MAX_DELEGATION_SECONDS:
            raise Invalid("an application acts for somebody for a minute at least and 30 days at most")
        now = self._clock.now()
        c = table.delegations.c
        over = or_(c.ended_at.is_not(None), c.expires_at_seconds <= self._now())
        conn.execute(delete(table.delegations).where(c.person_id == person_id, over))
        if len(conn.execute(select(c.id).where(c.person_id == person_id)).all()) >= _MAX_DELEGATIONS:
            raise Conflict(f"{_MAX_DELEGATIONS} delegations of yours are in force: end one first")
        token = new_secret(DELEGATION_PREFIX)
        made = Delegation(
            new_id("dlg"), person_id, application_id, format_time(now), int(now.timestamp()) + seconds, None
        )
        conn.execute(insert(table.delegations).values(**msgspec.structs.asdict(made), token_hash=hash_secret(token)))
        return IssuedDelegation(made, token)

    def list(self, person_id: str) -> list[Delegation]:
        """This person's that are in force, newest first."""
        c = table.delegations.c
        query = (
            select(*(c[name] for name in Delegation.__struct_fields__))
            .where(c.person_id == person_id, c.ended_at.is_(None), c.expires_at_seconds > self._now())
            .order_by(c.created_at.desc())
        )
        with self._records.read() as conn:
            return [Delegation(*row) for row in conn.execute(query)]

    def end(self, conn: Connection, delegation_id: str, person_id: str) -> None:
        """The tokens made of it end with it. Raises NotFound for one that is not this person's."""
        c = table.delegations.c
        done = conn.execute(
            update(table.delegations)
            .where(c.id == delegation_id, c.person_id == person_id, c.ended_at.is_(None))
            .values(ended_at=format_time(self._clock.now()))
        )
        if done.rowcount != 1:
            raise NotFound("there is no such delegation of yours, or it has ended already")
        bump_epoch(conn, EPOCH)

    # What an application does.

    def check(self, token: str, application_id: str) -> Delegated:
        """Whom this application may act for. Raises SubjectTokenRefused, in the same words whatever is wrong."""
        row = self._in_force(token)
        if row is None or row.application_id != application_id:
            raise SubjectTokenRefused("subject_token: not one that a person gave to this application, or it is over")
        return Delegated(row.person_id, row.id, row.expires_at_seconds)

    def check_known(self, person_id: str | None, until_seconds: int) -> Delegated:
        """Somebody whom single sign-on vouched for to this application. Raises SubjectTokenRefused."""
        with self._records.read() as conn:
            if person_id is None or _person(conn, person_id) is None:
                raise SubjectTokenRefused("subject_token: its subject has no access here: sign in to the console once")
        return Delegated(person_id, "", until_seconds)

    def grant(self, application: Subject, delegated: Delegated) -> AccessToken:
        """A token for `application`, as its key proved it, to act with for somebody."""
        now = self._now()
        seconds = min(_TOKEN_SECONDS, delegated.until_seconds - now)
        if seconds <= 0:
            raise SubjectTokenRefused("subject_token: it is over")
        claims = {
            "sub": delegated.person_id,
            "act": {"sub": application.render()},
            "client_id": application.id,
            "key": application.credential,
            "delegation": delegated.delegation_id,
        }
        signed = self._tokens.sign(_TYPE, seconds, claims)
        return AccessToken(signed, seconds, issued_token_type=ACCESS_TOKEN_TYPE)

    # What the gateway does.

    def recognise(self, token: str) -> Subject | None:
        """The subject of a token in memory; None means `authenticate` must look."""
        held = self._held.get(sha256(token.encode("utf-8", "surrogatepass")).digest())
        if held is None or held[1] <= self._clock.now().timestamp() - LEEWAY_SECONDS:
            return None
        return held[0]

    def authenticate(self, token: str) -> Subject:
        """The application that holds this token, on behalf of somebody. Raises CredentialRefused. Asks the database."""
        refused = CredentialRefused(_REFUSED)
        try:
            claims = self._tokens.read(_TYPE, token)
        except TokenRefused as e:
            raise refused from e
        generation = self._generation
        with self._records.read() as conn:
            found = self._subject(conn, claims)
        if found is None:
            raise refused
        subject, until = found
        with self._lock:
            # What was read before a refresh may have ended since: it must not be kept past it.
            if generation == self._generation:
                if len(self._held) >= _MAX_HELD:
                    self._held.clear()
                self._held[sha256(token.encode()).digest()] = (subject, until)
        return subject

    def refresh(self) -> None:
        """Forget what is held in memory."""
        with self._lock:
            self._generation += 1
            self._held = {}

    # Parts.

    def _in_force(self, token: str) -> Row[Any] | None:
        if not is_well_formed(token, DELEGATION_PREFIX):
            return None
        c, p = table.delegations.c, table.persons.c
        query = (
            select(table.delegations)
            .join(table.persons, p.id == c.person_id)
            .where(c.token_hash == hash_secret(token), c.ended_at.is_(None), c.expires_at_seconds > self._now())
            .where(p.disabled_at.is_(None))
        )
        with self._records.read() as conn:
            return conn.execute(query).one_or_none()

    def _subject(self, conn: Connection, claims: dict[str, Any]) -> tuple[Subject, int] | None:
        """Both as they are now, and until when at most: the token says who, never what they may."""
        k, c, now, until = table.api_keys.c, table.delegations.c, self._now(), claims["exp"]
        key = conn.execute(select(table.api_keys).where(k.id == claims["key"], k.revoked_at.is_(None))).one_or_none()
        person = _person(conn, claims["sub"])
        if key is None or person is None or key.application_id != claims["client_id"]:
            return None
        if key.expires_at_seconds is not None:
            if key.expires_at_seconds <= now:
                return None
            until = min(until, key.expires_at_seconds)
        if claims["delegation"]:
            in_force = (c.id == claims["delegation"], c.ended_at.is_(None), c.expires_at_seconds > now)
            if conn.execute(select(c.id).where(*in_force)).one_or_none() is None:
                return None
        behalf = Subject(
            SubjectKind.PERSON,
            person.id,
            TenantId(person.tenant),
            frozenset(person.roles.split()),
            version=person.version,
            holder=person.holder,
            inviter=person.inviter,
        )
        application = Subject(
            SubjectKind.APPLICATION,
            key.application_id,
            TenantId(key.tenant),
            frozenset({"application"}),
            credential=key.id,
            on_behalf_of=behalf,
            models=scope_of(key.models),
        )
        return application, until

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def _person(conn: Connection, person_id: str) -> Row[Any] | None:
    p = table.persons.c
    return conn.execute(select(table.persons).where(p.id == person_id, p.disabled_at.is_(None))).one_or_none()
