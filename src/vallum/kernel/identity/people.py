"""People: enrolment by a one-time link, sign-in with password and one-time code, sessions, step-up.

Answers guessing (Argon2id, throttling by name, one answer for every wrong part), replay (a code is accepted once,
by a conditional update), and stolen databases (secrets are hashed, TOTP secrets sealed). Whoever calls writes the
ledger entry in the same transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError as UniqueViolation

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, LimitExceeded, NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.grants import live_grants
from vallum.kernel.identity.model import (
    CredentialRefused,
    Enrolment,
    EnrolmentRefused,
    IssuedSession,
    NameTaken,
    Person,
    Session,
    SignInRefused,
    parse_name,
)
from vallum.kernel.identity.passwords import Passwords
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.identity.secrets import ENROLMENT_PREFIX, SESSION_PREFIX, hash_secret, is_well_formed, new_secret
from vallum.kernel.identity.totp import matching_step, new_totp_secret, totp_uri
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject, SubjectKind, TenantId

__all__ = ["EPOCH", "FIRST_ROLES", "People", "VerifiedCode", "VerifiedSignIn"]

EPOCH = "identity"
FIRST_ROLES = ("administrator", "security")  # whoever installs Vallum must be able to run it alone

ENROLMENT_SECONDS = 86_400
SESSION_SECONDS = 8 * 3600  # a working day; sensitive actions ask again anyway
_FREE_FAILURES = 5
_MAX_WAIT_SECONDS = 60  # longer would let a stranger lock somebody out


@dataclass(frozen=True, slots=True)
class VerifiedCode:
    """A person's one-time code that was right. Not yet used: `open_session` or `step_up` does that, once."""

    person_id: str
    name: str
    step: int


@dataclass(frozen=True, slots=True)
class VerifiedSignIn:
    """A person whose password and code were right. Only `check_sign_in` makes one."""

    code: VerifiedCode


class People:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring, clock: Clock, passwords: Passwords) -> None:
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._passwords = passwords

    # Enrolment.

    def begin_first_run(self, conn: Connection) -> str | None:
        """The token of a fresh enrolment while nobody has ever enrolled, else None. Earlier such tokens end."""
        if conn.execute(select(func.count()).select_from(table.persons)).scalar_one():
            return None
        conn.execute(delete(table.enrolments))
        return self.invite(conn, FIRST_ROLES)

    def invite(
        self, conn: Connection, roles: Iterable[str], tenant: str = DEFAULT_TENANT, *, same_as: str | None = None
    ) -> str:
        """The token of a one-time enrolment link. `same_as` is the id of a person whose second account this will be.

        Raises Invalid for a role that does not exist, NotFound for a person who does not.
        """
        chosen = check_roles(roles)
        holder = None
        if same_as is not None:
            holder = conn.execute(select(table.persons.c.holder).where(table.persons.c.id == same_as)).scalar()
            if holder is None:
                raise NotFound("there is no such person, whose second account this would be")
        token = new_secret(ENROLMENT_PREFIX)
        token_hash = hash_secret(token)
        secret = new_totp_secret().encode()
        sealed = self._keyring.seal(
            DEFAULT_TENANT, Purpose.SECRETS, secret, _totp_place("enrolments", token_hash), conn=conn
        )
        now = self._clock.now()
        conn.execute(
            insert(table.enrolments).values(
                token_hash=token_hash,
                tenant=tenant,
                roles=chosen,
                totp_sealed=sealed,
                created_at=format_time(now),
                expires_at_seconds=int(now.timestamp()) + ENROLMENT_SECONDS,
                holder=holder,
            )
        )
        return token

    def read_enrolment(self, token: str) -> Enrolment:
        """What the link's holder sets the second factor up with. Raises EnrolmentRefused."""
        with self._records.read() as conn:
            row = self._enrolment(conn, token)
            secret = self._enrolment_secret(conn, row)
        return Enrolment(totp_uri(secret, "vallum"), secret, tuple(row.roles.split()), row.expires_at_seconds)

    def finish_enrolment(self, conn: Connection, token: str, name: str, password: str, code: str) -> Person:
        """Make the person; the link is used up.

        Raises EnrolmentRefused, Invalid for a name or password that will not do, SignInRefused for a wrong code,
        NameTaken.
        """
        row = self._enrolment(conn, token)
        secret = self._enrolment_secret(conn, row)
        known = parse_name(name)
        step = matching_step(secret, code, self._now_seconds())
        if step is None:
            raise SignInRefused("the code is wrong: check the clock of the device that shows it, and try the next one")
        hashed = self._passwords.hash(password, known)
        if conn.execute(delete(table.enrolments).where(table.enrolments.c.token_hash == row.token_hash)).rowcount != 1:
            raise EnrolmentRefused("this enrolment link was just used")
        person_id = new_id("per")
        sealed = self._keyring.seal(
            DEFAULT_TENANT, Purpose.SECRETS, secret.encode(), _totp_place("persons", person_id.encode()), conn=conn
        )
        values = {
            "id": person_id,
            "tenant": row.tenant,
            "name": known,
            "password_hash": hashed,
            "totp_sealed": sealed,
            "totp_last_step": step,
            "roles": row.roles,
            "version": 1,
            "created_at": format_time(self._clock.now()),
            "disabled_at": None,
            "holder": row.holder or person_id,
        }
        try:
            with conn.begin_nested():
                conn.execute(insert(table.persons).values(values))
        except UniqueViolation:
            raise NameTaken(f"the name {known} is taken: choose another") from None
        bump_epoch(conn, EPOCH)
        return _person(values)

    # Signing in.

    def check_sign_in(self, name: str, password: str, code: str) -> VerifiedSignIn:
        """Raises SignInRefused for any wrong part, LimitExceeded after several; the caller then records a failure.

        Costs one Argon2id verification, whether or not the name exists.
        """
        try:
            known = parse_name(name)
        except Invalid:
            known = ""
        now = self._now_seconds()
        with self._records.read() as conn:
            self._check_throttle(conn, known, now)
            row = conn.execute(select(table.persons).where(table.persons.c.name == known)).one_or_none()
            step = None if row is None else matching_step(self._person_secret(conn, row), code, now)
        right = self._passwords.matches(row.password_hash if row is not None else None, password)
        if row is None or not right or step is None or row.disabled_at is not None or step <= row.totp_last_step:
            raise SignInRefused("the name, password or code is wrong; each code works once")
        return VerifiedSignIn(VerifiedCode(row.id, row.name, step))

    def record_failure(self, conn: Connection, name: str) -> None:
        """Count a refused sign-in against the name, whether or not it exists."""
        key = name.strip().lower()[:64]
        now = self._now_seconds()
        insert_ = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table.failures)
        conn.execute(
            insert_.values(name=key, refused=1, last_at_seconds=now).on_conflict_do_update(
                index_elements=["name"], set_={"refused": table.failures.c.refused + 1, "last_at_seconds": now}
            )
        )
        # Names nobody tries any more are forgotten, so that a stranger cannot fill the table for good.
        conn.execute(delete(table.failures).where(table.failures.c.last_at_seconds < now - 86_400))

    def open_session(self, conn: Connection, verified: VerifiedSignIn) -> IssuedSession:
        """Use the code up and sign in. Raises SignInRefused when the code was used meanwhile."""
        row = self._use_code(conn, verified.code)
        conn.execute(delete(table.failures).where(table.failures.c.name == row.name))
        secret = new_secret(SESSION_PREFIX)
        now = self._clock.now()
        seconds = int(now.timestamp())
        values = {
            "id": new_id("ses"),
            "secret_hash": hash_secret(secret),
            "person_id": row.id,
            "created_at": format_time(now),
            "expires_at_seconds": seconds + SESSION_SECONDS,
            "mfa_at_seconds": seconds,
        }
        conn.execute(insert(table.sessions).values(values))
        conn.execute(delete(table.sessions).where(table.sessions.c.expires_at_seconds < seconds))
        session = Session(
            id=str(values["id"]),
            person_id=row.id,
            name=row.name,
            roles=tuple(row.roles.split()),
            created_at=str(values["created_at"]),
            expires_at_seconds=seconds + SESSION_SECONDS,
            mfa_at_seconds=seconds,
        )
        return IssuedSession(session, secret)

    def authenticate_session(self, secret: str) -> tuple[Subject, Session]:
        """Who holds this session. Reads the database each time, so that ending one is seen at once.

        Raises CredentialRefused.
        """
        if not is_well_formed(secret, SESSION_PREFIX):
            raise CredentialRefused("the session is not valid: sign in again")
        with self._records.read() as conn:
            row = conn.execute(
                select(table.sessions, table.persons.c.name, table.persons.c.roles, table.persons.c.tenant,
                       table.persons.c.version, table.persons.c.holder)
                .join(table.persons, table.persons.c.id == table.sessions.c.person_id)
                .where(table.sessions.c.secret_hash == hash_secret(secret), table.persons.c.disabled_at.is_(None))
            ).one_or_none()  # fmt: skip
            granted = live_grants(conn, row.person_id) if row is not None else ()
        if row is None or row.expires_at_seconds <= self._now_seconds():
            raise CredentialRefused("the session is not valid: sign in again")
        roles = tuple(row.roles.split())
        session = Session(
            id=row.id,
            person_id=row.person_id,
            name=row.name,
            roles=roles,
            created_at=row.created_at,
            expires_at_seconds=row.expires_at_seconds,
            mfa_at_seconds=row.mfa_at_seconds,
        )
        subject = Subject(
            SubjectKind.PERSON,
            row.person_id,
            TenantId(row.tenant),
            frozenset(roles),
            version=row.version,
            credential=row.id,
            mfa_at_seconds=row.mfa_at_seconds,
            holder=row.holder,
            grants=granted,
        )
        return subject, session

    def end_session(self, conn: Connection, session_id: str) -> None:
        conn.execute(delete(table.sessions).where(table.sessions.c.id == session_id))

    def check_code(self, person_id: str, code: str) -> VerifiedCode:
        """The second factor alone, for step-up. Raises SignInRefused, LimitExceeded."""
        now = self._now_seconds()
        with self._records.read() as conn:
            row = conn.execute(select(table.persons).where(table.persons.c.id == person_id)).one_or_none()
            if row is None:
                raise SignInRefused("the code is wrong; each code works once")
            self._check_throttle(conn, row.name, now)
            step = matching_step(self._person_secret(conn, row), code, now)
        if step is None or step <= row.totp_last_step:
            raise SignInRefused("the code is wrong; each code works once")
        return VerifiedCode(row.id, row.name, step)

    def step_up(self, conn: Connection, session_id: str, verified: VerifiedCode) -> None:
        """Mark the session's second factor as fresh. Raises SignInRefused when the code was used meanwhile."""
        self._use_code(conn, verified)
        conn.execute(
            update(table.sessions)
            .where(table.sessions.c.id == session_id, table.sessions.c.person_id == verified.person_id)
            .values(mfa_at_seconds=self._now_seconds())
        )

    # Looking after people.

    def persons(self) -> list[Person]:
        with self._records.read() as conn:
            rows = conn.execute(select(table.persons).order_by(table.persons.c.name)).all()
        return [_person(row._mapping) for row in rows]

    def person(self, person_id: str) -> Person:
        """Raises NotFound."""
        with self._records.read() as conn:
            row = conn.execute(select(table.persons).where(table.persons.c.id == person_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such person")
        return _person(row._mapping)

    def disable_person(self, conn: Connection, person_id: str) -> None:
        """Nobody signs in as this person any more, and every session ends.

        Raises NotFound, Conflict for the last administrator: nobody could undo it.
        """
        rows = conn.execute(select(table.persons).where(table.persons.c.disabled_at.is_(None))).all()
        target = next((row for row in rows if row.id == person_id), None)
        if target is None:
            raise NotFound("there is no such person, or it is disabled already")
        others = [row for row in rows if row.id != person_id and "administrator" in row.roles.split()]
        if "administrator" in target.roles.split() and not others:
            raise Conflict("this is the last administrator: enrol another first")
        conn.execute(
            update(table.persons)
            .where(table.persons.c.id == person_id)
            .values(disabled_at=format_time(self._clock.now()), version=table.persons.c.version + 1)
        )
        conn.execute(delete(table.sessions).where(table.sessions.c.person_id == person_id))
        bump_epoch(conn, EPOCH)

    # Parts.

    def _enrolment(self, conn: Connection, token: str) -> Row[Any]:
        if is_well_formed(token, ENROLMENT_PREFIX):
            found = select(table.enrolments).where(table.enrolments.c.token_hash == hash_secret(token))
            row = conn.execute(found).one_or_none()
            if row is not None and row.expires_at_seconds > self._now_seconds():
                return row
        raise EnrolmentRefused("this enrolment link is unknown, used or expired: ask for another")

    def _enrolment_secret(self, conn: Connection, row: Row[Any]) -> str:
        place = _totp_place("enrolments", bytes(row.token_hash))
        return self._keyring.open(DEFAULT_TENANT, Purpose.SECRETS, bytes(row.totp_sealed), place, conn=conn).decode()

    def _person_secret(self, conn: Connection, row: Row[Any]) -> str:
        place = _totp_place("persons", row.id.encode())
        return self._keyring.open(DEFAULT_TENANT, Purpose.SECRETS, bytes(row.totp_sealed), place, conn=conn).decode()

    def _use_code(self, conn: Connection, verified: VerifiedCode) -> Row[Any]:
        """One conditional statement: of two requests with one code, one wins."""
        used = conn.execute(
            update(table.persons)
            .where(
                table.persons.c.id == verified.person_id,
                table.persons.c.totp_last_step < verified.step,
                table.persons.c.disabled_at.is_(None),
            )
            .values(totp_last_step=verified.step)
        )
        if used.rowcount != 1:
            raise SignInRefused("the name, password or code is wrong; each code works once")
        return conn.execute(select(table.persons).where(table.persons.c.id == verified.person_id)).one()

    def _check_throttle(self, conn: Connection, name: str, now: int) -> None:
        row = conn.execute(select(table.failures).where(table.failures.c.name == name)).one_or_none()
        if row is None or row.refused < _FREE_FAILURES:
            return
        wait = min(2 ** (row.refused - _FREE_FAILURES), _MAX_WAIT_SECONDS)
        left = row.last_at_seconds + wait - now
        if left > 0:
            raise LimitExceeded(f"too many refused sign-ins for this name: wait {left} seconds", left)

    def _now_seconds(self) -> int:
        return int(self._clock.now().timestamp())


def _person(row: Any) -> Person:  # a row's mapping, or the values that make one
    return Person(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        roles=tuple(row["roles"].split()),
        version=row["version"],
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        holder=row["holder"],
    )


def _totp_place(owner: str, row: bytes) -> bytes:
    return f"{owner}\0totp\0".encode() + row
