"""The root key in an HSM, through PKCS#11 (OASIS, version 2.40 and later): it never leaves the token.

Root keys are AES-256 secret keys on the token, sensitive and not extractable, told apart by CKA_ID; the newest label
(`LABEL-0001`, `LABEL-0002`, …) wraps, all of them unwrap. Wrapping is AES-256-GCM inside the HSM, with the format's
header and the caller's context as associated data, under a random 96-bit nonce: keysets are wrapped some thousand
times, far from the 2^32 that a key allows (NIST SP 800-38D, section 8.3). Answers what the file does, and a stolen
machine with its passphrase: without the token there is nothing to open anything with.
"""

import os
import re
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from vallum.kernel.errors import Conflict, Unavailable
from vallum.kernel.keys.errors import RootKeyRefused, SealBroken

__all__ = ["Pkcs11Root"]

_FORMAT = 0x02
_ID_BYTES, _NONCE_BYTES, _TAG_BYTES = 8, 12, 16
_HEADER_BYTES = 1 + _ID_BYTES
_MAX_WRAPPED_INPUT_BYTES = 4096
_NUMBERED = re.compile(r"-([0-9]{4})$")

_T = TypeVar("_T")


class Pkcs11Root:
    """Safe to share between threads: one session, used by one at a time, opened anew when the token lost it."""

    name = "pkcs11"

    def __init__(self, module: str, token: str, pin: str, label: str) -> None:
        """Raises RootKeyRefused for a module or token that is not there, or a PIN that does not fit.

        The PIN is the process's: where it is signed in already, the token asks for none.
        """
        self._module, self._token, self._pin, self._label = module, token, pin, label
        self._guard = Lock()
        self._session: Any = None
        self._keys: dict[bytes, Any] = {}
        self._newest, self._number = b"", 0
        self._locked(lambda: None)

    @classmethod
    def create(cls, module: str, token: str, pin: str, label: str) -> "Pkcs11Root":
        """Make the first root key. Raises Conflict when there is one by that label, RootKeyRefused."""
        root = cls(module, token, pin, label)
        if root.exists():
            raise Conflict(f"the token {token} holds a root key {label} already")
        root.rotate()
        return root

    def exists(self) -> bool:
        return self._locked(lambda: bool(self._keys))

    def wrap(self, key: bytes, context: bytes) -> bytes:
        if len(key) > _MAX_WRAPPED_INPUT_BYTES or len(context) > _MAX_WRAPPED_INPUT_BYTES:
            raise ValueError(f"a root key wraps keys, and contexts, of up to {_MAX_WRAPPED_INPUT_BYTES} bytes")
        nonce = os.urandom(_NONCE_BYTES)

        def seal() -> bytes:
            self._load()  # not under a root key that another process has replaced
            if not self._keys:
                raise RootKeyRefused(
                    f"the token {self._token} holds no root key {self._label}: vallum migrate makes it"
                )
            header = bytes([_FORMAT]) + self._newest
            params = self._params(nonce, header + context)
            sealed = self._keys[self._newest].encrypt(key, mechanism=self._gcm, mechanism_param=params)
            return header + nonce + bytes(sealed)

        return self._locked(seal)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        if len(wrapped) < _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES or wrapped[0] != _FORMAT:
            raise SealBroken("these bytes are not a key wrapped by an HSM")
        header, rest = wrapped[:_HEADER_BYTES], wrapped[_HEADER_BYTES:]
        nonce, sealed = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]

        def open_() -> bytes:
            if header[1:] not in self._keys:
                self._load()  # another process may have rotated
            root = self._keys.get(header[1:])
            if root is None:
                raise SealBroken(f"a key was wrapped by a root key that the token {self._token} does not hold")
            params = self._params(nonce, header + context)
            return bytes(root.decrypt(sealed, mechanism=self._gcm, mechanism_param=params))

        return self._locked(open_, broken="a wrapped key was altered, or stands where it was not wrapped")

    def rotate(self) -> None:
        """Make a fresh root key on the token, which wraps from now on. Follow with `Keyring.rewrap`."""

        def make() -> None:
            import pkcs11

            self._load()
            number = self._number + 1
            self._session.generate_key(
                pkcs11.KeyType.AES, 256, label=f"{self._label}-{number:04}", id=os.urandom(_ID_BYTES), store=True,
                template={
                    pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False,
                    pkcs11.Attribute.ENCRYPT: True, pkcs11.Attribute.DECRYPT: True, pkcs11.Attribute.MODIFIABLE: False,
                },
            )  # fmt: skip
            self._load()

        self._locked(make)

    def close(self) -> None:
        with self._guard:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _locked(self, work: Callable[[], _T], broken: str = "") -> _T:
        """`work` with the session, which is opened first where there is none. Translates what the library raises."""
        try:
            import pkcs11
            from pkcs11 import exceptions
        except ImportError as e:
            raise RootKeyRefused("a root key in an HSM needs the extra: pip install 'vallum[hsm]'") from e
        with self._guard:
            for attempt in (1, 2):
                try:
                    if self._session is None:
                        self._open(pkcs11)
                    return work()
                except (exceptions.EncryptedDataInvalid, exceptions.EncryptedDataLenRange) as e:
                    raise SealBroken(broken) from e
                except (
                    exceptions.PinIncorrect,
                    exceptions.PinLocked,
                    exceptions.PinInvalid,
                    exceptions.PinLenRange,
                ) as e:
                    raise RootKeyRefused("the HSM refused the PIN in keys.pkcs11_pin_file") from e
                except (exceptions.NoSuchToken, exceptions.MultipleTokensReturned) as e:
                    raise RootKeyRefused(f"there is no token {self._token} in the HSM, or several") from e
                except exceptions.GeneralError as e:
                    # What SoftHSM calls a tag that does not fit, too: tampering, if the token is well otherwise.
                    if broken and self._is_well():
                        raise SealBroken(broken) from e
                    self._lose(attempt, e)
                except exceptions.PKCS11Error as e:
                    self._lose(attempt, e)
            raise AssertionError("the second attempt returns or raises")

    def _is_well(self) -> bool:
        """Whether the token does anything else: finds the keys, and wraps with the newest."""
        from pkcs11 import exceptions

        try:
            self._load()
            nonce = os.urandom(_NONCE_BYTES)
            self._keys[self._newest].encrypt(b"?", mechanism=self._gcm, mechanism_param=self._params(nonce, b"?"))
        except (exceptions.PKCS11Error, KeyError):
            return False
        return True

    def _lose(self, attempt: int, error: Exception) -> None:
        """Let go of the session, for the next attempt to open one. Raises Unavailable after the second."""
        self._session = None
        if attempt == 2:
            raise Unavailable(f"the HSM did not answer: {type(error).__name__}") from error

    def _open(self, pkcs11: Any) -> None:
        try:
            library = pkcs11.lib(self._module)
        except RuntimeError as e:
            raise RootKeyRefused(f"keys.pkcs11_module: {self._module} is no PKCS#11 module") from e
        self._gcm, self._gcm_params = pkcs11.Mechanism.AES_GCM, pkcs11.GCMParams
        token = library.get_token(token_label=self._token)
        try:
            self._session = token.open(user_pin=self._pin, rw=True)
        except pkcs11.exceptions.UserAlreadyLoggedIn:  # a login is the whole process's (section 5.6 of the standard)
            self._session = token.open(rw=True)
        self._load()

    def _load(self) -> None:
        import pkcs11

        found = {}
        for key in self._session.get_objects(
            {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES}
        ):
            numbered = _NUMBERED.search(key.label or "")
            if numbered is not None and key.label[: numbered.start()] == self._label and len(key.id) == _ID_BYTES:
                found[(numbered.group(1), bytes(key.id))] = key
        self._keys = {id_: key for (_, id_), key in found.items()}
        self._newest = max(found)[1] if found else b""
        self._number = int(max(found)[0]) if found else 0

    def _params(self, nonce: bytes, aad: bytes) -> Any:
        return self._gcm_params(nonce, aad, _TAG_BYTES * 8)
