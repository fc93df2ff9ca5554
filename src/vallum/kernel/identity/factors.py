"""Second factors: what proves one, and the one conditional statement that uses the proof up.

A proof is checked outside of the transaction, since that takes time, and used in it. Of two requests with one proof,
one wins. Answers replayed codes (RFC 6238, section 5.2), recovery codes used twice, and cloned authenticators
(WebAuthn level 3, section 6.1.1: a signature counter that does not move on).
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from vallum.kernel.errors import IntegrityError
from vallum.kernel.identity import records as table
from vallum.kernel.identity.model import SignInRefused
from vallum.kernel.identity.secrets import hash_secret
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.store.upsert import upsert

__all__ = [
    "REFUSED",
    "Proof",
    "ProvenCode",
    "ProvenElsewhere",
    "ProvenHandOver",
    "ProvenPasskey",
    "ProvenRecoveryCode",
    "new_recovery_codes",
    "recovery_code_hash",
    "totp_place",
    "totp_secret",
    "use_once",
    "use_proof",
]

_RECOVERY_CODES = 10
_RECOVERY_BYTES = 10  # 80 bits: out of reach of guessing, also from a stolen database
REFUSED = "the name, password or code is wrong; each code works once"


@dataclass(frozen=True, slots=True)
class ProvenCode:
    """A one-time code that was right, of this time step."""

    person_id: str
    step: int
    method: str = "code"


@dataclass(frozen=True, slots=True)
class ProvenRecoveryCode:
    """One of the codes kept on paper."""

    person_id: str
    code_hash: bytes
    method: str = "recovery code"


@dataclass(frozen=True, slots=True)
class ProvenPasskey:
    """A signature of a passkey, with the user verified. `challenge_id` may be used once."""

    person_id: str
    passkey_id: str
    sign_count: int
    challenge_id: str
    challenge_expires_at_seconds: int
    method: str = "passkey"


@dataclass(frozen=True, slots=True)
class ProvenElsewhere:
    """What a single sign-on provider vouches for, its second factor included. `state_id` may be used once."""

    person_id: str
    mfa_at_seconds: int
    state_id: str
    state_expires_at_seconds: int
    method: str = "single sign-on"


@dataclass(frozen=True, slots=True)
class ProvenHandOver:
    """A session handed over to the same person's command line. `code_id` may be used once, while that session lasts."""

    person_id: str
    mfa_at_seconds: int
    code_id: str
    code_expires_at_seconds: int
    session_id: str
    ends_at_seconds: int
    method: str


Proof = ProvenCode | ProvenRecoveryCode | ProvenPasskey | ProvenElsewhere | ProvenHandOver


def use_proof(conn: Connection, proof: Proof, now: int, now_text: str) -> Row[Any]:
    """The person's row. Raises SignInRefused when the proof was used meanwhile, or the person is disabled."""
    person = conn.execute(
        select(table.persons).where(table.persons.c.id == proof.person_id, table.persons.c.disabled_at.is_(None))
    ).one_or_none()
    if person is None or not _use(conn, proof, now, now_text):
        raise SignInRefused(REFUSED)
    return person


def _use(conn: Connection, proof: Proof, now: int, now_text: str) -> bool:
    match proof:
        case ProvenCode(person_id, step):
            c = table.persons.c
            used = update(table.persons).where(c.id == person_id, c.totp_last_step < step).values(totp_last_step=step)
        case ProvenRecoveryCode(person_id, code_hash):
            r = table.recovery_codes.c
            used = (
                update(table.recovery_codes)
                .where(r.code_hash == code_hash, r.person_id == person_id, r.used_at.is_(None))
                .values(used_at=now_text)
            )
        case ProvenElsewhere():
            return use_once(conn, proof.state_id, proof.state_expires_at_seconds, now)
        case ProvenHandOver():
            s = table.sessions.c
            live = select(s.id).where(s.id == proof.session_id, s.person_id == proof.person_id)
            if conn.execute(live.where(s.expires_at_seconds > now)).first() is None:
                return False
            return use_once(conn, proof.code_id, proof.code_expires_at_seconds, now)
        case ProvenPasskey():
            if not use_once(conn, proof.challenge_id, proof.challenge_expires_at_seconds, now):
                return False
            p = table.passkeys.c
            moved_on = p.sign_count < proof.sign_count if proof.sign_count else p.sign_count == 0
            used = (
                update(table.passkeys)
                .where(p.id == proof.passkey_id, p.person_id == proof.person_id, moved_on)
                .values(sign_count=proof.sign_count, last_used_at=now_text)
            )
    return bool(conn.execute(used).rowcount == 1)


def use_once(conn: Connection, token_id: str, expires_at_seconds: int, now: int) -> bool:
    """Whether this is the first use of a signed token that may be used once; it is used up by asking."""
    insert_ = upsert(conn, table.revoked_tokens)
    added = insert_.values(jti=token_id, expires_at_seconds=expires_at_seconds).on_conflict_do_nothing()
    first = conn.execute(added.returning(table.revoked_tokens.c.jti)).first() is not None
    conn.execute(delete(table.revoked_tokens).where(table.revoked_tokens.c.expires_at_seconds < now - 60))
    return first


def new_recovery_codes(conn: Connection, person_id: str, now_text: str) -> tuple[str, ...]:
    """Fresh codes in place of all there were. They exist as text this once."""
    conn.execute(delete(table.recovery_codes).where(table.recovery_codes.c.person_id == person_id))
    codes = tuple(_grouped(os.urandom(_RECOVERY_BYTES)) for _ in range(_RECOVERY_CODES))
    rows: Sequence[dict[str, Any]] = [
        {"code_hash": recovery_code_hash(person_id, code), "person_id": person_id, "created_at": now_text}
        for code in codes
    ]
    conn.execute(insert(table.recovery_codes), rows)
    return codes


def recovery_code_hash(person_id: str, code: str) -> bytes:
    """However it is typed: case, spaces and hyphens do not matter."""
    plain = "".join(char for char in code.upper() if char.isalnum())
    return hash_secret(f"recovery\0{person_id}\0{plain}")


def _grouped(raw: bytes) -> str:
    text = base64.b32encode(raw).decode()
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def totp_secret(keyring: Keyring, conn: Connection, owner: str, row_id: bytes, sealed: bytes) -> str:
    """Raises IntegrityError for one that was moved here from somebody else's row."""
    place = totp_place(owner, row_id)
    try:
        return keyring.open(DEFAULT_TENANT, Purpose.SECRETS, bytes(sealed), place, conn=conn).decode()
    except UnicodeDecodeError as e:
        raise IntegrityError("a second factor's secret was altered") from e


def totp_place(owner: str, row: bytes) -> bytes:
    return f"{owner}\0totp\0".encode() + row
