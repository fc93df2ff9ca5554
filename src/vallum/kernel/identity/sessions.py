"""Sessions: what a signed-in person presents. Bounded by age and by idleness, listed, ended one by one or all at once.

The secret is hashed and changes whenever the second factor is proven afresh, so that a copy taken before is worth
nothing after; the one before is taken for some seconds more, for requests that were under way.
"""

from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.factors import Proof, ProvenElsewhere, ProvenHandOver, use_proof
from vallum.kernel.identity.grants import live_grants
from vallum.kernel.identity.model import CredentialRefused, IssuedSession, Session, SignInRefused
from vallum.kernel.identity.secrets import SESSION_PREFIX, hash_secret, is_well_formed, new_secret
from vallum.kernel.identity.sign_in import VerifiedSignIn
from vallum.kernel.identity.throttle import Throttle
from vallum.kernel.ids import new_id
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import Subject, SubjectKind, TenantId

__all__ = ["IDLE_SECONDS", "SESSION_SECONDS", "Sessions", "place_at"]

SESSION_SECONDS = 8 * 3600  # a working day; sensitive actions ask again anyway
IDLE_SECONDS = 2 * 3600  # a lunch break and a meeting
_SEEN_EVERY_SECONDS = 60  # each request would be a write
_ROTATION_GRACE_SECONDS = 10
_MAX_SESSIONS = 50  # of one person; the oldest go first
_PLACES_SECONDS = 7 * 86_400  # longer than any session, and than watching may lag


class Sessions:
    """Safe to share between threads."""

    def __init__(
        self, records: Records, clock: Clock, seconds: int = SESSION_SECONDS, idle_seconds: int = IDLE_SECONDS
    ) -> None:
        self._records = records
        self._clock = clock
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._throttle = Throttle()

    def open(self, conn: Connection, verified: VerifiedSignIn) -> IssuedSession:
        """Use the proof up and sign in. Raises SignInRefused when it was used meanwhile."""
        now = self._clock.now()
        seconds, text = int(now.timestamp()), format_time(now)
        person = use_proof(conn, verified.proof, seconds, text)
        if not person.password_hash and not isinstance(verified.proof, ProvenElsewhere | ProvenHandOver):
            raise SignInRefused("you sign in by single sign-on; a passkey steps up, but does not sign in")
        peer = verified.peer
        self._throttle.succeeded(conn, person.name, peer)
        secret = new_secret(SESSION_PREFIX)
        values: dict[str, Any] = {
            "id": new_id("ses"),
            "secret_hash": hash_secret(secret),
            "person_id": person.id,
            "created_at": text,
            "expires_at_seconds": min(seconds + self._seconds, getattr(verified.proof, "ends_at_seconds", 1 << 40)),
            "mfa_at_seconds": getattr(verified.proof, "mfa_at_seconds", seconds),
            "last_seen_seconds": seconds,
            "rotated_at_seconds": seconds,
            "device": peer.device,
            "network": peer.network,
            "method": verified.proof.method,
        }
        c = table.sessions.c
        conn.execute(insert(table.sessions).values(values))
        _note_place(conn, values["id"], peer.network, seconds)
        newest = select(c.id).where(c.person_id == person.id).order_by(c.created_at.desc()).limit(_MAX_SESSIONS)
        gone = (c.person_id == person.id) & c.id.not_in(newest.scalar_subquery())
        over = or_(c.expires_at_seconds < seconds, c.last_seen_seconds < seconds - self._idle_seconds)
        conn.execute(delete(table.sessions).where(or_(gone, over)))
        return IssuedSession(_session({**values, "name": person.name, "roles": person.roles}), secret)

    def authenticate(self, secret: str, network: str = "") -> tuple[Subject, Session]:
        """Who holds this session, and what they were granted. Read from the database each time: an end is seen at once.

        `network` is where it is used from now; a session that wanders is seen to. Raises CredentialRefused.
        """
        refused = CredentialRefused("the session is not valid: sign in again")
        if not is_well_formed(secret, SESSION_PREFIX):
            raise refused
        hashed, now = hash_secret(secret), int(self._clock.now().timestamp())
        s, p = table.sessions.c, table.persons.c
        before = (s.previous_hash == hashed) & (s.rotated_at_seconds > now - _ROTATION_GRACE_SECONDS)
        with self._records.read() as conn:
            row = conn.execute(
                select(table.sessions, p.name, p.roles, p.tenant, p.version, p.holder, p.inviter)
                .join(table.persons, p.id == s.person_id)
                .where(or_(s.secret_hash == hashed, before), p.disabled_at.is_(None))
            ).one_or_none()
            granted = live_grants(conn, row.person_id) if row is not None else ()
        if row is None or row.expires_at_seconds <= now or row.last_seen_seconds <= now - self._idle_seconds:
            raise refused
        moved = network not in ("", row.network)
        if moved or row.last_seen_seconds <= now - _SEEN_EVERY_SECONDS:
            seen: dict[str, Any] = {"last_seen_seconds": now, **({"network": network} if moved else {})}
            with self._records.write() as conn:
                conn.execute(update(table.sessions).where(s.id == row.id).values(seen))
                _note_place(conn, row.id, network if moved else "", now)
        session = _session(row._mapping)
        # A secret from before the rotation carries requests that were under way, and not what was proven with the new.
        proven = row.mfa_at_seconds if bytes(row.secret_hash) == hashed else None
        subject = Subject(
            SubjectKind.PERSON,
            row.person_id,
            TenantId(row.tenant),
            frozenset(session.roles),
            version=row.version,
            credential=row.id,
            mfa_at_seconds=proven,
            holder=row.holder,
            inviter=row.inviter,
            grants=granted,
        )
        return subject, session

    def step_up(self, conn: Connection, session: Session, proof: Proof) -> IssuedSession:
        """The second factor proven afresh, and a new secret in place of the one that was presented.

        Raises SignInRefused when the proof was used meanwhile or is another person's.
        """
        if proof.person_id != session.person_id:
            raise SignInRefused("this proof is another person's")
        now = self._clock.now()
        seconds = int(now.timestamp())
        person = use_proof(conn, proof, seconds, format_time(now))
        self._throttle.unlock(conn, person.name)
        secret = new_secret(SESSION_PREFIX)
        c = table.sessions.c
        done = conn.execute(
            update(table.sessions)
            .where(c.id == session.id, c.expires_at_seconds > seconds)
            .values(
                previous_hash=c.secret_hash,
                secret_hash=hash_secret(secret),
                rotated_at_seconds=seconds,
                mfa_at_seconds=seconds,
                last_seen_seconds=seconds,
            )
        )
        if done.rowcount != 1:
            raise SignInRefused("the session has ended meanwhile: sign in again")
        row = conn.execute(select(table.sessions).where(c.id == session.id)).one()
        return IssuedSession(_session({**row._mapping, "name": person.name, "roles": person.roles}), secret)

    def list(self, person_id: str) -> list[Session]:
        """This person's, newest first: which devices are signed in."""
        now = int(self._clock.now().timestamp())
        s, p = table.sessions.c, table.persons.c
        query = (
            select(table.sessions, p.name, p.roles)
            .join(table.persons, p.id == s.person_id)
            .where(s.person_id == person_id, s.expires_at_seconds > now)
            .where(s.last_seen_seconds > now - self._idle_seconds)
            .order_by(s.created_at.desc())
        )
        with self._records.read() as conn:
            return [_session(row._mapping) for row in conn.execute(query)]

    def end(self, conn: Connection, session_id: str, person_id: str) -> None:
        """Raises NotFound for one that is not this person's."""
        c = table.sessions.c
        done = conn.execute(delete(table.sessions).where(c.id == session_id, c.person_id == person_id))
        if done.rowcount != 1:
            raise NotFound("there is no such session of yours")

    def sweep(self) -> None:
        """Forget where sessions of long ago were; now and then."""
        past = int(self._clock.now().timestamp()) - _PLACES_SECONDS
        with self._records.write() as conn:
            conn.execute(delete(table.session_places).where(table.session_places.c.from_seconds < past))

    def end_all(self, conn: Connection, person_id: str, *, but: str = "") -> int:
        """Sign out everywhere, `but` perhaps here. Returns how many ended."""
        c = table.sessions.c
        return conn.execute(delete(table.sessions).where(c.person_id == person_id, c.id != but)).rowcount


def place_at(conn: Connection, session_id: str, at_seconds: int) -> str:
    """The network that a session was used from at that time, though it has ended since; empty where none is known."""
    p = table.session_places.c
    newest = select(p.network).where(p.session_id == session_id, p.from_seconds <= at_seconds)
    return conn.execute(newest.order_by(p.from_seconds.desc()).limit(1)).scalar() or ""


def _note_place(conn: Connection, session_id: str, network: str, at_seconds: int) -> None:
    if network:
        insert_ = upsert(conn, table.session_places)
        said = insert_.values(session_id=session_id, from_seconds=at_seconds, network=network)
        conn.execute(said.on_conflict_do_nothing())


def _session(row: Any) -> Session:  # a row's mapping, or the values that make one
    return Session(
        id=row["id"],
        person_id=row["person_id"],
        name=row["name"],
        roles=tuple(row["roles"].split()),
        created_at=row["created_at"],
        expires_at_seconds=row["expires_at_seconds"],
        mfa_at_seconds=row["mfa_at_seconds"],
        last_seen_seconds=row["last_seen_seconds"],
        device=row["device"],
        network=row["network"],
        method=row["method"],
    )
