"""Passwords: Argon2id (RFC 9106), a floor on their length, and the same work for names that do not exist."""

import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from vallum.kernel.errors import Invalid, LimitExceeded

__all__ = ["MIN_PASSWORD_CHARS", "Passwords"]

MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 1024  # a bound on work; nobody types more

_AT_ONCE = 2  # each takes 64 MiB: more at once would let strangers fill the memory
_WAITING, _WAIT_SECONDS = 2, 1.0  # more would hold threads that everybody else's requests need


class Passwords:
    """Safe to share between threads."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = BoundedSemaphore(_AT_ONCE)
        self._queue = BoundedSemaphore(_AT_ONCE + _WAITING)
        self._nobody = _random_hash(self._hasher)

    def hash(self, password: str, name: str) -> str:
        """Raises Invalid for a password that is too short, too long, or the name."""
        normal = _normal(password)
        if len(normal) < MIN_PASSWORD_CHARS:
            raise Invalid(f"a password has at least {MIN_PASSWORD_CHARS} characters; some random words make a good one")
        if len(normal) > MAX_PASSWORD_CHARS:
            raise Invalid(f"a password has at most {MAX_PASSWORD_CHARS} characters")
        if normal.lower() == name.lower() or len(set(normal)) < 4:
            raise Invalid("that password would be guessed at once; some random words make a good one")
        with self._turn():
            return self._hasher.hash(normal)

    def matches(self, stored: str | None, password: str) -> bool:
        """False for `stored` None or empty too, after the same work: time tells nobody who is there, or has one."""
        normal = _normal(password)[: MAX_PASSWORD_CHARS + 1]
        with self._turn():
            try:
                self._hasher.verify(stored or self._nobody, normal)
            except (VerificationError, InvalidHashError):
                return False
        return bool(stored)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Raises LimitExceeded when too many wait already."""
        if not self._queue.acquire(timeout=_WAIT_SECONDS):
            raise LimitExceeded("too many people sign in at this moment: try again in a second", 1)
        try:
            with self._slots:
                yield
        finally:
            self._queue.release()


def _random_hash(hasher: PasswordHasher) -> str:
    """What no password matches and takes the same work to try: of `hasher`'s costs, and drawn instead of derived.

    So that starting a process, of which most never see a password, costs no derivation.
    """

    def draw(size: int) -> str:
        return b64encode(secrets.token_bytes(size)).decode().rstrip("=")

    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${draw(hasher.salt_len)}${draw(hasher.hash_len)}"


def _normal(password: str) -> str:
    """One form for what keyboards write in several (RFC 8265, OpaqueString, uses NFC)."""
    return unicodedata.normalize("NFC", password.encode("utf-8", "replace").decode())
