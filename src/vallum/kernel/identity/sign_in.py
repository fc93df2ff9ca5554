"""Signing in: a password and a second factor, checked without saying which part was wrong, or whether a name exists.

Every attempt is counted first (`throttle`), costs one Argon2id verification, and gets one answer for every wrong part.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from vallum.kernel.clock import Clock
from vallum.kernel.errors import Invalid, LimitExceeded, NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.factors import (
    REFUSED,
    Proof,
    ProvenCode,
    ProvenRecoveryCode,
    recovery_code_hash,
    totp_secret,
)
from vallum.kernel.identity.model import SignInRefused, parse_name
from vallum.kernel.identity.passwords import Passwords
from vallum.kernel.identity.throttle import Peer, Throttle
from vallum.kernel.identity.totp import matching_step
from vallum.kernel.keys import Keyring
from vallum.kernel.store.records import Records

__all__ = ["SignIn", "VerifiedSignIn"]


@dataclass(frozen=True, slots=True)
class VerifiedSignIn:
    """A person whose password and second factor were right. Only `SignIn` makes one; `Sessions.open` uses it up."""

    proof: Proof
    peer: Peer = field(default=Peer())


class SignIn:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring, clock: Clock, passwords: Passwords) -> None:
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._passwords = passwords
        self._throttle = Throttle()

    def check(self, name: str, password: str, code: str, peer: Peer | None = None) -> VerifiedSignIn:
        """`code` is a one-time code or a recovery code.

        Raises SignInRefused for any wrong part, LimitExceeded after several. Writes what is counted.
        """
        peer = peer or Peer()
        try:
            known = parse_name(name)
        except Invalid:
            known = ""
        now = self._now_seconds()
        with self._records.write() as conn:
            self._throttle.take(conn, known, peer, now)
        with self._records.read() as conn:
            row = conn.execute(select(table.persons).where(table.persons.c.name == known)).one_or_none()
            proof = None if row is None else self._proof(conn, row, code, now)
        try:
            right = self._passwords.matches(row.password_hash if row is not None else None, password)
        except LimitExceeded:
            with self._records.write() as conn:
                self._throttle.not_judged(conn, known, peer)
            raise
        if row is None or not right or row.disabled_at is not None:
            raise SignInRefused(REFUSED)
        with self._records.write() as conn:
            judged = self._throttle.take_code(conn, known, now)
        if proof is None or not (judged or isinstance(proof, ProvenRecoveryCode)):
            raise SignInRefused(REFUSED)  # told apart from nothing outside: whoever got here knows the password
        return VerifiedSignIn(proof, peer)

    def check_again(self, person_id: str, code: str) -> Proof:
        """The second factor alone, for step-up. Raises SignInRefused, LimitExceeded. Writes what is counted."""
        now = self._now_seconds()
        with self._records.read() as conn:
            row = conn.execute(select(table.persons).where(table.persons.c.id == person_id)).one_or_none()
            if row is None:
                raise SignInRefused(REFUSED)
            left = self._throttle.code_waits(conn, row.name, now)
            proof = self._proof(conn, row, code, now)
        with self._records.write() as conn:
            judged = self._throttle.take_code(conn, row.name, now)
        if not (judged or isinstance(proof, ProvenRecoveryCode)):
            raise LimitExceeded(
                f"too many wrong codes: wait {left} seconds, or use a passkey or a recovery code; "
                "an administrator can lift it (vallum people unlock)", max(1, left),
            )  # fmt: skip
        if proof is None:
            raise SignInRefused(REFUSED)
        return proof

    def sweep(self) -> None:
        """Forget attempts that count for nothing any more; now and then."""
        with self._records.write() as conn:
            self._throttle.sweep(conn, self._now_seconds())

    def unlock(self, conn: Connection, person_id: str) -> None:
        """Let somebody's codes be judged again at once. Raises NotFound."""
        name = conn.execute(select(table.persons.c.name).where(table.persons.c.id == person_id)).scalar()
        if name is None:
            raise NotFound("there is no such person")
        self._throttle.unlock(conn, name)

    def _proof(self, conn: Connection, row: Row[Any], code: str, now: int) -> Proof | None:
        secret = totp_secret(self._keyring, conn, "persons", row.id.encode(), row.totp_sealed)
        step = matching_step(secret, code, now)
        if step is not None:
            return ProvenCode(row.id, step) if step > row.totp_last_step else None
        if len(code) < 16 or len(code) > 40:
            return None
        hashed = recovery_code_hash(row.id, code)
        c = table.recovery_codes.c
        found = select(c.code_hash).where(c.code_hash == hashed, c.person_id == row.id, c.used_at.is_(None))
        return ProvenRecoveryCode(row.id, hashed) if conn.execute(found).first() is not None else None

    def _now_seconds(self) -> int:
        return int(self._clock.now().timestamp())
