"""The platform's own keys for signing versions: ECDSA, since the model-signing format knows no Ed25519.

Made when first used: P-256 sealed under the purpose `signing`, or on a PKCS#11 token where `models.signing` says so.
One signs; retired ones go on verifying; of a revoked one nothing counts, but what the ledger recorded before a time
that was named at the revocation. A signature holds no time that anybody vouches for, so none in it is asked.

Answers a row that was added, edited or put in another's place: all of a row is sealed with it, and the public half is
held to the private one. A row of before a key's revocation, put back as it was sealed then, is held to the ledger. Does
not answer whoever can unwrap the root key, who can sign whatever they like.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_public_key,
)
from sqlalchemy import Connection, Row, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, IntegrityError, Invalid, NotFound
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose, SealBroken
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.models.registry.model import SigningKeyRecord
from vallum.models.registry.records import signing_keys as table
from vallum.models.signing import TrustedKey
from vallum.models.signing.token import Curve, SigningToken, TokenKey, TokenRefused

__all__ = ["KeyPutBack", "RevokedNumbers", "SigningKeys", "SigningPlace"]

_AAD = b"model_signing_keys\x00sealed\x00%d"
_STATE_AAD = b"model_signing_keys\x00state\x00%d"
_ALGORITHMS = {"secp256r1": "ecdsa-p256-sha256", "secp384r1": "ecdsa-p384-sha384", "secp521r1": "ecdsa-p521-sha512"}


RevokedNumbers = Callable[[Connection | None], Collection[int]]
"""The keys that the ledger says were revoked; as a transaction sees it, where one is given."""


class KeyPutBack(IntegrityError):
    """A signing key that was revoked is as it was before: somebody restored its row."""

    code = "signing_key_put_back"


class SigningPlace(msgspec.Struct, frozen=True):
    """Where keys are made: sealed in the database, or on a token, by this curve."""

    token: SigningToken | None = None
    curve: Curve = "P-256"

    @property
    def custody(self) -> str:
        return "sealed" if self.token is None else "token"


class SigningKeys:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        revoked: RevokedNumbers,
        place: SigningPlace | None = None,
    ) -> None:
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._revoked = revoked
        self._place = place or SigningPlace()

    def current(self, conn: Connection | None = None) -> tuple[str, ec.EllipticCurvePrivateKey]:
        """Who signs, and with what. Raises SealBroken, KeyPutBack, KeyDestroyed, Unavailable: nothing is signed then.

        Inside a write transaction of your own, pass its `conn`, in which a key that is not there yet is made.
        """
        with nullcontext(conn) if conn is not None else self._records.read() as reader:
            row = self._signing(reader)
        if row is None:
            with nullcontext(conn) if conn is not None else self._records.write() as own:
                row = self._make(own)
        sealed, aad = bytes(row.sealed), _AAD % row.number
        opened = self._keyring.open(DEFAULT_TENANT, Purpose.SIGNING, sealed, aad, conn=conn)
        key = self._key(row, opened)
        if _pem(key) != row.public_key:
            raise SealBroken(f"the public half of model signing key {row.number} does not belong to its private half")
        return _signer(row.number), key

    def list(self) -> Sequence[SigningKeyRecord]:
        """Public halves, the newest first; made when there is none yet. Raises SealBroken for a row that was edited,
        KeyPutBack for one that was revoked."""
        with self._records.read() as conn:
            rows = conn.execute(select(table).order_by(table.c.number.desc())).all()
        if not rows:
            self.current()
            return self.list()
        signing, revoked = next((row.number for row in rows if self._may_sign(row)), 0), self._revoked(None)
        return [_record(_held_to_ledger(self._checked(row), revoked), signing) for row in rows]

    def trusted(self, recorded_at: Callable[[], datetime | None] = lambda: None) -> tuple[TrustedKey, ...]:
        """Whose signatures hold. `recorded_at` says since when the ledger knows of what was signed, if at all; it is
        asked only where a key was revoked from a time on. Raises SealBroken, KeyPutBack."""
        with self._records.read() as conn:
            rows = conn.execute(select(table).order_by(table.c.number)).all()
        found, revoked = [], self._revoked(None)
        for row in rows:
            _held_to_ledger(self._checked(row), revoked)
            if row.revoked_at is not None:
                known = recorded_at() if row.revoked_since else None
                if known is None or known >= datetime.fromisoformat(row.revoked_since):
                    continue
            found.append(TrustedKey(_signer(row.number), row.public_key.encode()))
        return tuple(found)

    def is_revoked(self, signer: str | None) -> bool:
        """Whether that is the name of a key of ours that was revoked. For telling people: it decides nothing."""
        with self._records.read() as conn:
            revoked = conn.execute(select(table.c.number).where(table.c.revoked_at.is_not(None))).scalars()
            return signer in {_signer(number) for number in revoked}

    # What people do.

    def rotate(self, conn: Connection) -> SigningKeyRecord:
        """A fresh key, which signs from now on; what the former ones signed goes on verifying."""
        row = self._make(conn)
        return _record(row, row.number)

    def revoke(self, conn: Connection, number: int, reason: str, since: datetime | None) -> SigningKeyRecord:
        """Of what this key signed nothing counts any more, but what the ledger recorded before `since`, when given.

        For ever. Where it was the one that signs, a fresh one is made. A key whose row was put back is revoked again.
        Raises NotFound, Conflict, Invalid.
        """
        row = conn.execute(select(table).where(table.c.number == number).with_for_update()).one_or_none()
        if row is None:
            raise NotFound(f"there is no model signing key {number}: vallum models keys list shows them")
        if self._checked(row).revoked_at is not None:
            raise Conflict(f"model signing key {number} is revoked already")
        now = self._clock.now()
        if since is not None and (since.tzinfo is None or since > now):
            raise Invalid("since: a time with its zone that is not in the future, as in 2026-11-01T00:00:00Z")
        signs = self._may_sign_newest(conn)
        changed = {
            "revoked_at": format_time(now), "revoked_reason": reason,
            "revoked_since": format_time(since) if since is not None else "",
        }  # fmt: skip
        row = self._change(conn, row, changed)
        if signs is not None and signs.number == number:
            self._make(conn)
        return _record(row, 0)

    # Rows.

    def _signing(self, conn: Connection) -> Row[Any] | None:
        row = self._may_sign_newest(conn)
        return None if row is None else _held_to_ledger(self._checked(row), self._revoked(conn))

    def _may_sign_newest(self, conn: Connection) -> Row[Any] | None:
        rows = conn.execute(select(table).order_by(table.c.number.desc())).all()
        return next((row for row in rows if self._may_sign(row)), None)

    def _may_sign(self, row: Row[Any]) -> bool:
        return row.retired_at is None and row.revoked_at is None and row.custody == self._place.custody

    def _make(self, conn: Connection) -> Row[Any]:
        """The next key, and all others retired; where another process was quicker, that one's."""
        rows = conn.execute(select(table).order_by(table.c.number.desc())).all()
        number, now = (rows[0].number if rows else 0) + 1, format_time(self._clock.now())
        key_id = ""
        key: ec.EllipticCurvePrivateKey
        if self._place.token is not None:
            key_id, key = self._place.token.make(self._place.curve)
            raw = key_id.encode()
        else:
            key = ec.generate_private_key(ec.SECP384R1() if self._place.curve == "P-384" else ec.SECP256R1())
            raw = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        values: dict[str, Any] = {
            "number": number, "public_key": _pem(key), "created_at": now, "custody": self._place.custody,
            "retired_at": None, "revoked_at": None, "revoked_since": "", "revoked_reason": "",
            "sealed": self._keyring.seal(DEFAULT_TENANT, Purpose.SIGNING, raw, _AAD % number, conn=conn),
        }  # fmt: skip
        values["state"] = self._sealed_state(conn, values)
        done = conn.execute(
            upsert(conn, table).values(values).on_conflict_do_nothing().returning(table.c.number)
        ).first()
        if done is None and self._place.token is not None:
            self._place.token.forget(key_id)
        for row in rows if done is not None else ():
            if row.retired_at is None and row.revoked_at is None:
                self._change(conn, self._checked(row, conn), {"retired_at": now})
        return self._checked(conn.execute(select(table).where(table.c.number == number)).one(), conn)

    def _change(self, conn: Connection, row: Row[Any], changed: dict[str, Any]) -> Row[Any]:
        values = {**row._mapping, **changed}
        state = self._sealed_state(conn, values)
        conn.execute(update(table).where(table.c.number == row.number).values(**changed, state=state))
        return conn.execute(select(table).where(table.c.number == row.number)).one()

    def _sealed_state(self, conn: Connection, values: dict[str, Any]) -> bytes:
        """All that a row says, under the purpose `artifacts`: it is asked for whenever anything is loaded, and a
        signing keyset that was destroyed leaves what was signed with it."""
        said, aad = _said(values), _STATE_AAD % values["number"]
        return self._keyring.seal(DEFAULT_TENANT, Purpose.ARTIFACTS, said, aad, conn=conn)

    def _checked(self, row: Row[Any], conn: Connection | None = None) -> Row[Any]:
        """Raises SealBroken unless the row is as this platform wrote it."""
        if row.state is None:
            return self._checked_by_its_key(row, conn)
        opened = self._keyring.open(
            DEFAULT_TENANT, Purpose.ARTIFACTS, bytes(row.state), _STATE_AAD % row.number, conn=conn
        )
        if opened != _said(row._mapping):
            raise SealBroken(f"what the database says of model signing key {row.number} was edited")
        return row

    def _checked_by_its_key(self, row: Row[Any], conn: Connection | None) -> Row[Any]:
        """One that was made before states were sealed: nobody but this platform seals a private half."""
        sealed = self._keyring.open(DEFAULT_TENANT, Purpose.SIGNING, bytes(row.sealed), _AAD % row.number, conn=conn)
        changed = row.custody != "sealed" or row.retired_at is not None or row.revoked_at is not None
        if changed or _pem(self._key(row, sealed)) != row.public_key:
            raise SealBroken(f"what the database says of model signing key {row.number} was edited")
        return row

    def _key(self, row: Row[Any], opened: bytes) -> ec.EllipticCurvePrivateKey:
        if row.custody == "token":
            public = load_pem_public_key(row.public_key.encode())
            if self._place.token is None or not isinstance(public, ec.EllipticCurvePublicKey):
                raise TokenRefused("models.signing: the key that signs lies on a token, and none is named")
            return TokenKey(self._place.token, opened.decode(), public)
        key = load_der_private_key(opened, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SealBroken(f"model signing key {row.number} is of another kind")
        return key


def _held_to_ledger(row: Row[Any], revoked: Collection[int]) -> Row[Any]:
    """Raises KeyPutBack for a row that says less than the ledger does: it is as it was before it was revoked."""
    if row.revoked_at is None and row.number in revoked:
        raise KeyPutBack(
            f"model signing key {row.number} is revoked by the ledger and not in the database, which was set back: "
            f"nothing is signed or loaded until somebody revokes it again (vallum models keys revoke {row.number})"
        )
    return row


def _said(values: Any) -> bytes:
    fields = ("number", "public_key", "created_at", "custody", "retired_at", "revoked_at", "revoked_since",
              "revoked_reason")  # fmt: skip
    return msgspec.json.encode([values[name] for name in fields])


def _record(row: Row[Any], signing: int) -> SigningKeyRecord:
    public = load_pem_public_key(row.public_key.encode())
    algorithm = _ALGORITHMS[public.curve.name] if isinstance(public, ec.EllipticCurvePublicKey) else "unknown"
    revoked = row.revoked_at is not None
    return SigningKeyRecord(
        row.number, _signer(row.number), algorithm, row.public_key, row.created_at,
        "revoked" if revoked else "signing" if row.number == signing else "retired",
        row.custody, row.retired_at, row.revoked_at, row.revoked_since or None, row.revoked_reason,
    )  # fmt: skip


def _signer(number: int) -> str:
    return f"platform:{number}"


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
