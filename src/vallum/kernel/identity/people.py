"""People: enrolment by a one-time link, their password and recovery codes, and their end.

Answers stolen databases: passwords and recovery codes are hashed, TOTP secrets sealed to their row. Signing in, second
factors and sessions have modules of their own. Whoever calls writes the ledger entry in the same transaction.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError as UniqueViolation

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.factors import new_recovery_codes, totp_place, totp_secret
from vallum.kernel.identity.model import (
    Enrolment,
    EnrolmentRefused,
    NameTaken,
    Person,
    RecoveryCodes,
    SignInRefused,
    parse_name,
)
from vallum.kernel.identity.passwords import Passwords
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.identity.secrets import ENROLMENT_PREFIX, hash_secret, is_well_formed, new_secret
from vallum.kernel.identity.totp import matching_step, new_totp_secret, totp_uri
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject

__all__ = ["EPOCH", "FIRST_ROLES", "People"]

EPOCH = "identity"
FIRST_ROLES = ("administrator", "security")  # whoever installs Vallum must be able to run it alone

ENROLMENT_SECONDS = 86_400


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
        self,
        conn: Connection,
        roles: Iterable[str],
        tenant: str = DEFAULT_TENANT,
        *,
        same_as: str | None = None,
        by: Subject | None = None,
    ) -> str:
        """The token of a one-time enrolment link. `same_as` is the id of a person whose second account this will be.

        `by` is who invites: their open links end with them, and policies may ask who let somebody in.

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
            DEFAULT_TENANT, Purpose.SECRETS, secret, totp_place("enrolments", token_hash), conn=conn
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
                invited_by=by.id if by is not None and by.holder else "",
                inviter=by.holder if by is not None else "",
            )
        )
        return token

    def read_enrolment(self, token: str) -> Enrolment:
        """What the link's holder sets the second factor up with. Raises EnrolmentRefused."""
        with self._records.read() as conn:
            row = self._enrolment(conn, token)
            secret = self._enrolment_secret(conn, row)
        return Enrolment(totp_uri(secret, "vallum"), secret, tuple(row.roles.split()), row.expires_at_seconds)

    def hash_for_enrolment(self, token: str, name: str, password: str) -> str:
        """The password's hash, made outside of the transaction, which it would hold up.

        Raises EnrolmentRefused first, so that strangers cause no work; Invalid for a name or password that will not do.
        """
        with self._records.read() as conn:
            self._enrolment(conn, token)
        return self._passwords.hash(password, parse_name(name))

    def finish_enrolment(
        self, conn: Connection, token: str, name: str, password: str, code: str, hashed: str | None = None
    ) -> Person:
        """Make the person; the link is used up. `hashed` is what `hash_for_enrolment` gave.

        Raises EnrolmentRefused, Invalid for a name or password that will not do, SignInRefused for a wrong code,
        NameTaken.
        """
        row = self._enrolment(conn, token)
        secret = self._enrolment_secret(conn, row)
        known = parse_name(name)
        step = matching_step(secret, code, self._now_seconds())
        if step is None:
            raise SignInRefused("the code is wrong: check the clock of the device that shows it, and try the next one")
        hashed = hashed or self._passwords.hash(password, known)
        if conn.execute(delete(table.enrolments).where(table.enrolments.c.token_hash == row.token_hash)).rowcount != 1:
            raise EnrolmentRefused("this enrolment link was just used")
        person_id = new_id("per")
        sealed = self._keyring.seal(
            DEFAULT_TENANT, Purpose.SECRETS, secret.encode(), totp_place("persons", person_id.encode()), conn=conn
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
            "inviter": row.inviter,
        }
        try:
            with conn.begin_nested():
                conn.execute(insert(table.persons).values(values))
        except UniqueViolation:
            raise NameTaken(f"the name {known} is taken: choose another") from None
        bump_epoch(conn, EPOCH)
        return _person(values)

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
        """Nobody signs in as this person any more; every session and open invitation of theirs ends.

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
        conn.execute(delete(table.enrolments).where(table.enrolments.c.invited_by == person_id))
        bump_epoch(conn, EPOCH)

    def hash_password(self, person_id: str, password: str) -> str:
        """Outside of the transaction, which it would hold up. Raises NotFound, Invalid for one that will not do."""
        with self._records.read() as conn:
            name = self._local_name(conn, person_id)
        return self._passwords.hash(password, name)

    def change_password(self, conn: Connection, person_id: str, hashed: str) -> None:
        """`hashed` is what `hash_password` gave. Whoever calls has just seen a second factor, and ends the other
        sessions. Raises NotFound.
        """
        done = conn.execute(
            update(table.persons)
            .where(table.persons.c.id == person_id)
            .values(password_hash=hashed, version=table.persons.c.version + 1)
        )
        if done.rowcount != 1:
            raise NotFound("there is no such person")
        bump_epoch(conn, EPOCH)

    def new_recovery_codes(self, conn: Connection, person_id: str) -> RecoveryCodes:
        """In place of all that this person had. Raises Conflict for somebody who signs in by single sign-on."""
        self._local_name(conn, person_id)
        return RecoveryCodes(new_recovery_codes(conn, person_id, format_time(self._clock.now())))

    def _local_name(self, conn: Connection, person_id: str) -> str:
        """Of somebody who signs in with a password. Raises Conflict for somebody of the directory's, NotFound."""
        c = table.persons.c
        row = conn.execute(select(c.name, c.password_hash).where(c.id == person_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such person")
        if not row.password_hash:
            raise Conflict("you sign in by single sign-on: passwords and recovery codes are your provider's")
        return str(row.name)

    # Parts.

    def _enrolment(self, conn: Connection, token: str) -> Row[Any]:
        if is_well_formed(token, ENROLMENT_PREFIX):
            found = select(table.enrolments).where(table.enrolments.c.token_hash == hash_secret(token))
            row = conn.execute(found).one_or_none()
            if row is not None and row.expires_at_seconds > self._now_seconds():
                return row
        raise EnrolmentRefused("this enrolment link is unknown, used or expired: ask for another")

    def _enrolment_secret(self, conn: Connection, row: Row[Any]) -> str:
        return totp_secret(self._keyring, conn, "enrolments", bytes(row.token_hash), row.totp_sealed)

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
        inviter=row["inviter"],
    )
