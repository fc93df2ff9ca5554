"""Signing in: a password and a second factor, checked without saying which part was wrong, or whether a name exists.

Every attempt costs one Argon2id verification, gets one answer for every wrong part, and is counted (`throttle`).
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from vallum.kernel.clock import Clock
from vallum.kernel.errors import Invalid
from vallum.kernel.identity import records as table
from vallum.kernel.identity.factors import Proof, ProvenCode, ProvenRecoveryCode, recovery_code_hash, totp_secret
from vallum.kernel.identity.model import SignInRefused, parse_name
from vallum.kernel.identity.passwords import Passwords
from vallum.kernel.identity.throttle import Peer, Throttle
from vallum.kernel.identity.totp import matching_step
from vallum.kernel.keys import Keyring
from vallum.kernel.store.records import Records

__all__ = ["CodeRefused", "SignIn", "VerifiedSignIn"]

_REFUSED = "the name, password or code is wrong; each code works once"


class CodeRefused(SignInRefused):
    """The same answer; `keys` are what it counts against."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__(_REFUSED)
        self.keys = keys


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

        Raises CodeRefused for any wrong part, which the caller records; LimitExceeded after several.
        """
        peer = peer or Peer()
        try:
            known = parse_name(name)
        except Invalid:
            known = ""
        now = self._now_seconds()
        with self._records.read() as conn:
            keys = self._throttle.keys_for(conn, known, peer, now)
            self._throttle.check(conn, keys, now)
            row = conn.execute(select(table.persons).where(table.persons.c.name == known)).one_or_none()
            proof = None if row is None else self._proof(conn, row, code, now)
            locked = self._throttle.left(conn, f"code {known}", now) > 0
        right = self._passwords.matches(row.password_hash if row is not None else None, password)
        if row is None or not right or row.disabled_at is not None:
            raise CodeRefused(keys)
        if proof is None or (locked and isinstance(proof, ProvenCode)):
            # Whoever got here knows the password. Told apart from nothing outside, but counted for far longer.
            raise CodeRefused((*keys, f"code {known}"))
        return VerifiedSignIn(proof, peer)

    def check_again(self, person_id: str, code: str, peer: Peer | None = None) -> Proof:
        """The second factor alone, for step-up. Raises CodeRefused, LimitExceeded."""
        now = self._now_seconds()
        with self._records.read() as conn:
            row = conn.execute(select(table.persons).where(table.persons.c.id == person_id)).one_or_none()
            if row is None:
                raise CodeRefused(())
            key = f"code {row.name}"
            self._throttle.check(conn, (key,), now)
            proof = self._proof(conn, row, code, now)
        if proof is None:
            raise CodeRefused((key,))
        return proof

    def record_refusal(self, conn: Connection, refused: CodeRefused) -> None:
        self._throttle.record(conn, refused.keys, self._now_seconds())

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
