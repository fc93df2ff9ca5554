"""Keys for signing models on a PKCS#11 token (OASIS, version 2.40 and later): the private half never leaves it.

ECDSA key pairs on P-256 or P-384, sensitive, not extractable, told apart by CKA_ID. The token signs digests made here
(CKM_ECDSA), so any size of model costs it one signature. `TokenKey` stands wherever a private key signs. Answers a
stolen machine, database and passphrase: without the token nothing is signed. Does not answer who holds the token's PIN.
"""

import os
from collections.abc import Callable
from threading import Lock
from typing import Any, Literal, NoReturn, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["Curve", "SigningToken", "TokenKey", "TokenRefused"]

Curve = Literal["P-256", "P-384"]
_CURVES: dict[Curve, str] = {"P-256": "secp256r1", "P-384": "secp384r1"}
_ID_BYTES = 16

_T = TypeVar("_T")


class TokenRefused(Unavailable):
    """The token, its PIN or the key on it is not there or does not fit: nothing is signed."""

    code = "signing_token_refused"


class SigningToken:
    """Safe to share between threads: one session, used by one at a time, opened anew when the token lost it."""

    def __init__(self, module: str, token: str, pin: Callable[[], str], label: str) -> None:
        """Nothing is opened before a key is made or used. `pin` reads the token's user PIN."""
        self._module, self._token, self._pin, self._label = module, token, pin, label
        self._guard = Lock()
        self._session: Any = None

    def make(self, curve: Curve) -> tuple[str, "TokenKey"]:
        """A fresh pair on the token, and its id in hexadecimal. Raises TokenRefused."""
        identity = os.urandom(_ID_BYTES)

        def made() -> bytes:
            import pkcs11
            from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

            named = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[curve])}
            parameters = self._session.create_domain_parameters(pkcs11.KeyType.EC, named, local=True)
            public, _ = parameters.generate_keypair(
                store=True, id=identity, label=self._label,
                capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
                private_template={
                    pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False,
                    pkcs11.Attribute.MODIFIABLE: False,
                },
            )  # fmt: skip
            return bytes(encode_ec_public_key(public))

        public = load_der_public_key(self._locked(made))
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise TokenRefused("the token made a key of another kind than was asked for")
        return identity.hex(), TokenKey(self, identity.hex(), public)

    def forget(self, key_id: str) -> None:
        """Destroy a pair that nobody came to use."""

        def destroyed() -> None:
            for one in list(self._session.get_objects(self._named(key_id))):
                one.destroy()

        self._locked(destroyed)

    def sign_digest(self, key_id: str, digest: bytes) -> bytes:
        """ECDSA over a digest, as DER. Raises TokenRefused for a key that the token does not hold."""

        def signed() -> bytes:
            import pkcs11

            wanted = {**self._named(key_id), pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
            found = list(self._session.get_objects(wanted))
            if len(found) != 1:
                raise TokenRefused(f"the token {self._token} does not hold the key that signs models, or several")
            return bytes(found[0].sign(digest, mechanism=pkcs11.Mechanism.ECDSA))

        raw = self._locked(signed)
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def close(self) -> None:
        with self._guard:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _named(self, key_id: str) -> dict[Any, Any]:
        import pkcs11

        return {pkcs11.Attribute.ID: bytes.fromhex(key_id), pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.EC}

    def _locked(self, work: Callable[[], _T]) -> _T:
        """`work` with the session; once more with a fresh one when the token had lost it."""
        try:
            from pkcs11 import exceptions
        except ImportError as e:
            raise TokenRefused("a signing key on a token needs the extra: pip install 'vallum[hsm]'") from e
        with self._guard:
            for attempt in (1, 2):
                try:
                    if self._session is None:
                        self._open()
                    return work()
                except (exceptions.PinIncorrect, exceptions.PinLocked, exceptions.PinInvalid) as e:
                    raise TokenRefused("the token refused the PIN in keys.pkcs11_pin_file") from e
                except (exceptions.NoSuchToken, exceptions.MultipleTokensReturned) as e:
                    raise TokenRefused(f"there is no token {self._token}, or several: nothing is signed") from e
                except exceptions.PKCS11Error as e:
                    self._session = None
                    if attempt == 2:
                        raise TokenRefused(f"the token did not sign: {type(e).__name__}") from e
            raise AssertionError("the second attempt returns or raises")

    def _open(self) -> None:
        import pkcs11

        try:
            library = pkcs11.lib(self._module)
        except RuntimeError as e:
            raise TokenRefused(f"keys.pkcs11_module: {self._module} is no PKCS#11 module") from e
        token = library.get_token(token_label=self._token)
        try:
            self._session = token.open(user_pin=self._pin(), rw=True)
        except pkcs11.exceptions.UserAlreadyLoggedIn:  # a login is the whole process's (section 5.6 of the standard)
            self._session = token.open(rw=True)


class TokenKey(ec.EllipticCurvePrivateKey):
    """A private key whose only use is to sign, on the token that holds it."""

    def __init__(self, token: SigningToken, key_id: str, public: ec.EllipticCurvePublicKey) -> None:
        self._token, self._key_id, self._public = token, key_id, public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Raises TokenRefused, and Invalid for anything but ECDSA."""
        if not isinstance(signature_algorithm, ec.ECDSA):
            raise Invalid("a key on a token signs with ECDSA")
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, Prehashed):
            return self._token.sign_digest(self._key_id, bytes(data))
        digest = hashes.Hash(algorithm)
        digest.update(data)
        return self._token.sign_digest(self._key_id, digest.finalize())

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise Invalid("a key on a token signs, and does nothing else")

    def private_numbers(self) -> NoReturn:
        raise Invalid("the private half of a key on a token does not leave it")

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        raise Invalid("the private half of a key on a token does not leave it")

    def __copy__(self) -> "TokenKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "TokenKey":
        return self
