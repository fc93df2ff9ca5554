"""Passkeys (WebAuthn level 3): a key in somebody's device that signs a fresh challenge, for this origin alone.

Answers phishing (the browser signs which origin asked), stolen databases (public keys only), replay (a challenge is a
signed token that may be used once), cloned authenticators (the signature counter), and account enumeration (signing in
names nobody: the device says whose key it is). The user must have been verified: a passkey by itself is two factors.
Verification is fido2's; what it leaves to its caller stands here.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.factors import ProvenPasskey, use_once
from vallum.kernel.identity.model import SignInRefused
from vallum.kernel.identity.roca import has_roca
from vallum.kernel.identity.tokens import TokenRefused, Tokens
from vallum.kernel.ids import new_id
from vallum.kernel.store.records import Records

__all__ = ["Passkey", "PasskeyChallenge", "Passkeys", "VerifiedPasskey"]

CHALLENGE_SECONDS = 300
_REGISTER, _SIGN_IN = "passkey-register+jwt", "passkey-sign-in+jwt"
_MAX_PASSKEYS = 20
_MAX_LABEL_CHARS = 100


class Passkey(msgspec.Struct, frozen=True):
    """One of a person's. `backed_up`: the device copies it to others of the same account."""

    id: str
    person_id: str
    label: str
    backed_up: bool
    created_at: str
    last_used_at: str | None


class PasskeyChallenge(msgspec.Struct, frozen=True):
    """`public_key` is what `navigator.credentials` takes, as WebAuthn's JSON; `state` comes back with the answer."""

    public_key: dict[str, Any]
    state: str


@dataclass(frozen=True, slots=True)
class VerifiedPasskey:
    """A new passkey whose device proved that it holds it. Only `check_registration` makes one."""

    person_id: str
    credential_id: bytes
    credential: bytes  # AttestedCredentialData, as WebAuthn encodes it
    sign_count: int
    backed_up: bool
    challenge_id: str
    challenge_expires_at_seconds: int


class Passkeys:
    """Safe to share between threads. `url` is what people type to reach the console; passkeys are bound to it."""

    def __init__(self, records: Records, tokens: Tokens, clock: Clock, url: str) -> None:
        self._records = records
        self._tokens = tokens
        self._clock = clock
        parts = urlsplit(url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname or ""

    def begin_registration(self, person_id: str, name: str) -> PasskeyChallenge:
        """Raises Conflict for somebody with too many, Invalid where the console has no name to bind them to."""
        server = self._server()
        from fido2.webauthn import (
            PublicKeyCredentialDescriptor,
            PublicKeyCredentialType,
            PublicKeyCredentialUserEntity,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        c = table.passkeys.c
        with self._records.read() as conn:
            known = conn.execute(select(c.credential_id).where(c.person_id == person_id)).scalars().all()
        if len(known) >= _MAX_PASSKEYS:
            raise Conflict(f"{_MAX_PASSKEYS} passkeys are enough: remove one first")
        user = PublicKeyCredentialUserEntity(id=person_id.encode(), name=name, display_name=name)
        options, state = server.register_begin(
            user,
            [PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=bytes(id_)) for id_ in known],
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return self._challenge(_REGISTER, options, state, {"sub": person_id})

    def check_registration(self, person_id: str, state: str, response: Mapping[str, Any]) -> VerifiedPasskey:
        """Raises SignInRefused."""
        claims = self._state(_REGISTER, state)
        from fido2.webauthn import RegistrationResponse

        if claims.get("sub") != person_id:
            raise SignInRefused("this was begun by somebody else: begin again")
        try:
            auth = self._server().register_complete(_fido_state(claims), response)
            _refuse_frames(RegistrationResponse.from_dict(response).response.client_data)
        except _REFUSALS as e:
            raise SignInRefused("the device's answer does not fit: begin again") from e
        held = auth.credential_data
        if held is None or not _is_usable(held.public_key):
            raise SignInRefused("the device's answer holds no key that could be used: begin again")
        return VerifiedPasskey(
            person_id, held.credential_id, bytes(held), auth.counter, bool(auth.flags & auth.FLAG.BS),
            claims["jti"], claims["exp"],
        )  # fmt: skip

    def register(self, conn: Connection, verified: VerifiedPasskey, label: str) -> Passkey:
        """Raises Invalid for a label that will not do, Conflict for a passkey that is somebody's, SignInRefused."""
        if not label.strip() or len(label) > _MAX_LABEL_CHARS or not label.isprintable():
            raise Invalid(f"a passkey's label is 1 to {_MAX_LABEL_CHARS} printable characters")
        now = self._clock.now()
        if not use_once(conn, verified.challenge_id, verified.challenge_expires_at_seconds, int(now.timestamp())):
            raise SignInRefused("this was answered already: begin again")
        c = table.passkeys.c
        if conn.execute(select(c.id).where(c.credential_id == verified.credential_id)).first() is not None:
            raise Conflict("this passkey is registered already")
        many = conn.execute(select(func.count()).where(c.person_id == verified.person_id)).scalar_one()
        if many >= _MAX_PASSKEYS:
            raise Conflict(f"{_MAX_PASSKEYS} passkeys are enough: remove one first")
        values: dict[str, Any] = {
            "id": new_id("pky"),
            "person_id": verified.person_id,
            "label": label.strip(),
            "credential_id": verified.credential_id,
            "credential": verified.credential,
            "sign_count": verified.sign_count,
            "backed_up": int(verified.backed_up),
            "created_at": format_time(now),
            "last_used_at": None,
        }
        conn.execute(insert(table.passkeys).values(values))
        return _passkey(values)

    def begin_sign_in(self) -> PasskeyChallenge:
        """For signing in and for step-up. Names nobody, and writes nothing. Raises Invalid as registration does."""
        from fido2.webauthn import UserVerificationRequirement

        options, state = self._server().authenticate_begin(user_verification=UserVerificationRequirement.REQUIRED)
        return self._challenge(_SIGN_IN, options, state, {})

    def check_sign_in(self, state: str, response: Mapping[str, Any]) -> ProvenPasskey:
        """Whose key signed the challenge. Raises SignInRefused, whatever was wrong."""
        refused = SignInRefused("this passkey is not known here, or its answer does not fit: begin again")
        claims = self._state(_SIGN_IN, state)
        server = self._server()
        from fido2.webauthn import AttestedCredentialData, AuthenticationResponse

        try:
            answer = AuthenticationResponse.from_dict(response)
            c = table.passkeys.c
            with self._records.read() as conn:
                row = conn.execute(select(table.passkeys).where(c.credential_id == answer.raw_id)).one_or_none()
            if row is None:
                raise refused
            server.authenticate_complete(_fido_state(claims), [AttestedCredentialData(bytes(row.credential))], response)
            _refuse_frames(answer.response.client_data)
            handle = answer.response.user_handle
            if handle is not None and handle != row.person_id.encode():
                raise refused
            return ProvenPasskey(
                row.person_id, row.id, answer.response.authenticator_data.counter, claims["jti"], claims["exp"]
            )
        except _REFUSALS as e:
            raise refused from e

    def list(self, person_id: str) -> list[Passkey]:
        query = select(table.passkeys).where(table.passkeys.c.person_id == person_id)
        with self._records.read() as conn:
            return [_passkey(row._mapping) for row in conn.execute(query.order_by(table.passkeys.c.created_at))]

    def remove(self, conn: Connection, passkey_id: str, person_id: str) -> None:
        """Raises NotFound for one that is not this person's."""
        c = table.passkeys.c
        if conn.execute(delete(table.passkeys).where(c.id == passkey_id, c.person_id == person_id)).rowcount != 1:
            raise NotFound("there is no such passkey of yours")

    def _server(self) -> Any:
        """Raises Invalid where browsers would refuse: WebAuthn binds keys to a domain name."""
        from fido2.server import Fido2Server
        from fido2.webauthn import PublicKeyCredentialRpEntity

        if not self._host or self._host.replace(".", "").isdigit() or ":" in self._host:
            raise Invalid("passkeys are bound to a domain name, not to an address: set server.public_url")
        relying_party = PublicKeyCredentialRpEntity(id=self._host, name="Vallum")
        return Fido2Server(relying_party, verify_origin=lambda origin: origin == self._origin)

    def _challenge(
        self, kind: str, options: Any, state: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> PasskeyChallenge:
        token = self._tokens.sign(kind, CHALLENGE_SECONDS, {**claims, "challenge": state["challenge"]})
        return PasskeyChallenge(_as_json(dict(options)["publicKey"]), token)

    def _state(self, kind: str, token: str) -> dict[str, Any]:
        try:
            return self._tokens.read(kind, token)
        except TokenRefused as e:
            raise SignInRefused("the challenge is over: begin again") from e


def _refuse_frames(client_data: Any) -> None:
    """Level 3, section 7.2, steps 10 and 11: nobody frames this console. Raises ValueError."""
    said = json.loads(client_data)
    if said.get("crossOrigin", False) is not False or "topOrigin" in said:
        raise ValueError("made within another site's page")


def _is_usable(key: Any) -> bool:
    """fido2 reads keys of any algorithm, and cut ones, and finds out when one is first used."""
    from cryptography.exceptions import InvalidSignature

    if key.get(3) not in _ALGORITHMS:
        return False
    try:
        if key[3] == _RS256 and not _is_sound_rsa(int.from_bytes(key[-1], "big")):
            return False
        key.verify(b"", b"")
    except InvalidSignature:
        return True
    except _REFUSALS:
        return False
    return False  # a key that accepts an empty signature is none


def _is_sound_rsa(modulus: int) -> bool:
    return modulus.bit_length() >= _MIN_RSA_BITS and not has_roca(modulus)  # TPMs hold such keys


_RS256 = -257
_MIN_RSA_BITS = 2048
_ALGORITHMS = (-7, -8, -35, -36, _RS256)  # ES256, EdDSA, ES384, ES512, RS256 (IANA COSE algorithms)
# What fido2's parsers raise; CBOR that nests deeply among it.
# What the library raises for what it cannot read.
_REFUSALS = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, NotImplementedError, RecursionError, struct.error,
)  # fmt: skip


def _fido_state(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {"challenge": claims["challenge"], "user_verification": "required"}


def _as_json(value: Any) -> Any:
    """fido2's mappings with byte strings, as WebAuthn's JSON with base64url (level 3, section 5.1.8)."""
    from fido2.utils import websafe_encode

    if isinstance(value, bytes):
        return websafe_encode(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _as_json(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value


def _passkey(row: Any) -> Passkey:  # a row's mapping, or the values that make one
    return Passkey(
        row["id"], row["person_id"], row["label"], bool(row["backed_up"]), row["created_at"], row["last_used_at"]
    )
