"""The root key in a file: sealed by a passphrase, or, loudly, only by file permissions.

    {"format": "vallum-root-open/1",   "keys": [base64, …]}                            mode 0600 is all there is
    {"format": "vallum-root-sealed/1", "kdf": "argon2id", "salt", "iterations", "lanes", "memory_kib", "sealed"}

The newest root key is last; former ones only unwrap, until everything was wrapped anew and they are dropped.
Answers: a stolen database or backup (it holds only wrapped keys), a stolen disk (sealed form), another local
user (a file others may read is refused), and an attacker who swaps the sealed file for an open one with a key of
his own (refused when a passphrase is given). Argon2id as RFC 9106 recommends second; XAES-256-GCM seals.
Documented with vectors in docs/keys.md.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Meta

from vallum.kernel.errors import Conflict, Unavailable
from vallum.kernel.keys.errors import RootKeyRefused, SealBroken
from vallum.kernel.keys.xaes import KEY_BYTES, NONCE_BYTES, TAG_BYTES, Xaes256Gcm

__all__ = ["FileRoot"]

_log = logging.getLogger(__name__)

_MAX_FILE_BYTES = 64 * 1024  # hundreds of root keys; longer is no root key file
_MAX_WRAPPED_INPUT_BYTES = 4096
_SALT_BYTES = 16
_WRAP_FORMAT = 0x01
_ID_BYTES = 8
_WRAP_HEADER_BYTES = 1 + _ID_BYTES
_WRAP_OVERHEAD_BYTES = _WRAP_HEADER_BYTES + NONCE_BYTES + TAG_BYTES


class _Open(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="format", tag="vallum-root-open/1"):
    """Root keys as they are, oldest first; also the plaintext inside the sealed form."""

    keys: Annotated[tuple[bytes, ...], Meta(min_length=1)]


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="format", tag="vallum-root-sealed/1"):
    kdf: Literal["argon2id"]
    salt: Annotated[bytes, Meta(min_length=_SALT_BYTES)]
    # The costs lie in the file so that they can rise. Their upper ends keep a hostile file from stalling start-up.
    iterations: Annotated[int, Meta(ge=1, le=32)]
    lanes: Annotated[int, Meta(ge=1, le=16)]
    memory_kib: Annotated[int, Meta(ge=8 * 16, le=1024 * 1024)]
    sealed: bytes


class _Lock(msgspec.Struct, frozen=True):
    """What a passphrase became, kept so that the file can be read again without asking for it."""

    salt: bytes
    iterations: int
    lanes: int
    memory_kib: int
    cipher: Xaes256Gcm

    @property
    def aad(self) -> bytes:
        return (
            f"vallum-root-sealed/1 argon2id {self.salt.hex()} {self.iterations} {self.lanes} {self.memory_kib}".encode()
        )

    def __repr__(self) -> str:
        return "_Lock(…)"


class FileRoot:
    """A `RootKeyProvider` on one file. Reads the file again when another process changed it."""

    name = "file"

    def __init__(self, path: Path, lock: _Lock | None) -> None:
        """Use `create` or `open`."""
        self._path = path
        self._lock = lock
        self._guard = Lock()
        self._keys: dict[bytes, Xaes256Gcm] = {}
        self._newest = b""
        self._stamp: tuple[int, int, int] | None = None

    @classmethod
    def create(cls, path: Path, passphrase: bytes | None) -> "FileRoot":
        """Make a file with one fresh root key.

        Raises Conflict when `path` exists, RootKeyRefused when it cannot be made. With `passphrase` None the key lies
        readable by this user, and a warning is logged at every start.
        """
        lock = None if passphrase is None else _new_lock(passphrase)
        content = _render(_Open((os.urandom(KEY_BYTES),)), lock)
        with _refusing(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _put(path, content, replace=False)
        return cls.open(path, passphrase)

    @classmethod
    def open(cls, path: Path, passphrase: bytes | None) -> "FileRoot":
        """Read the root keys. Takes a tenth of a second for a sealed file, on purpose.

        Raises RootKeyRefused when the file is absent, readable or owned by others, sealed and `passphrase` None or
        wrong, or open although a `passphrase` was given.
        """
        content, _ = _take(path)
        document = _parse(path, content)
        if isinstance(document, _Sealed):
            if passphrase is None:
                raise RootKeyRefused(f"the root key in {path} is sealed; give its passphrase")
            lock = _derive(passphrase, document.salt, document.iterations, document.lanes, document.memory_kib)
        elif passphrase is not None:
            raise RootKeyRefused(
                f"the root key in {path} is not sealed although a passphrase was given: it may have been replaced. "
                "If it is yours, open it without a passphrase and seal it"
            )
        else:
            lock = None
            _log.warning(
                "THE ROOT KEY IN %s IS NOT SEALED: whoever reads this file reads everything. "
                "Set a passphrase (keys.passphrase_file) for anything but a trial.",
                path,
            )
        root = cls(path, lock)
        root._reload()
        return root

    def wrap(self, key: bytes, context: bytes) -> bytes:
        if len(key) > _MAX_WRAPPED_INPUT_BYTES or len(context) > _MAX_WRAPPED_INPUT_BYTES:
            raise ValueError(f"a root key wraps keys, and contexts, of up to {_MAX_WRAPPED_INPUT_BYTES} bytes")
        # Not under a root key that another process has replaced: it may be dropped while this process lives.
        self._reload_if_changed()
        with self._guard:
            identity, cipher = self._newest, self._keys[self._newest]
        header = bytes([_WRAP_FORMAT]) + identity
        nonce = os.urandom(NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, key, header + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        if len(wrapped) < _WRAP_OVERHEAD_BYTES or wrapped[0] != _WRAP_FORMAT:
            raise SealBroken("these bytes are not a key wrapped by a root key file")
        header, rest = wrapped[:_WRAP_HEADER_BYTES], wrapped[_WRAP_HEADER_BYTES:]
        cipher = self._keys.get(header[1:])
        if cipher is None:
            self._reload_if_changed()
            cipher = self._keys.get(header[1:])
        if cipher is None:
            raise SealBroken(f"a key was wrapped by a root key that {self._path} does not hold")
        try:
            return cipher.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], header + context)
        except InvalidTag:
            raise SealBroken("a wrapped key was altered, or stands where it was not wrapped") from None

    def rotate(self) -> None:
        """Add a fresh root key, which wraps from now on in every process. Follow with `Keyring.rewrap`."""
        self._change(lambda keys: (*keys, os.urandom(KEY_BYTES)))

    def drop_former(self) -> None:
        """Forget all root keys but the newest, for good, and with them every wrapped key of an older backup.

        Only after `Keyring.rewrap` has committed: what is still wrapped by a former root key is lost.
        """
        self._change(lambda keys: keys[-1:])

    def seal(self, passphrase: bytes) -> None:
        """Seal the file under `passphrase`, or under another one. Other processes must be started again with it."""
        lock = _new_lock(passphrase)
        with self._exclusive():
            keys = self._read()
            _put(self._path, _render(_Open(keys), lock), replace=True)
            self._lock = lock
            self._reload()

    def _change(self, change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> None:
        with self._exclusive():
            _put(self._path, _render(_Open(change(self._read())), self._lock), replace=True)
            self._reload()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Against other processes: two that add a root key at once would lose one, and all that it wrapped."""
        with _refusing(self._path):
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)

    def _reload_if_changed(self) -> None:
        try:
            found = _stamp(os.stat(self._path))
        except OSError as e:
            raise Unavailable(f"the root key file {self._path} cannot be read: {e.strerror}") from e
        if found != self._stamp:
            self._reload()

    def _reload(self) -> None:
        content, stamp = _take(self._path)
        keys = _keys_of(self._path, _parse(self._path, content), self._lock)
        held = {_identity(key): Xaes256Gcm(key) for key in keys}
        with self._guard:
            self._keys, self._newest, self._stamp = held, _identity(keys[-1]), stamp

    def _read(self) -> tuple[bytes, ...]:
        content, _ = _take(self._path)
        return _keys_of(self._path, _parse(self._path, content), self._lock)


def _parse(path: Path, content: bytes) -> _Open | _Sealed:
    try:
        return msgspec.json.decode(content, type=_Open | _Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:  # a ValidationError is a DecodeError
        raise RootKeyRefused(f"{path} is not a root key file of a known format") from e


def _keys_of(path: Path, document: _Open | _Sealed, lock: _Lock | None) -> tuple[bytes, ...]:
    if isinstance(document, _Sealed):
        costs = (document.salt, document.iterations, document.lanes, document.memory_kib)
        if lock is None or costs != (lock.salt, lock.iterations, lock.lanes, lock.memory_kib):
            raise RootKeyRefused(
                f"{path} was sealed under another passphrase since this process started: start it again"
            )
        nonce, sealed = document.sealed[:NONCE_BYTES], document.sealed[NONCE_BYTES:]
        try:
            inner = _parse(path, lock.cipher.decrypt(nonce, sealed, lock.aad))
        except (InvalidTag, ValueError):
            raise RootKeyRefused(f"the passphrase does not open {path}, or the file was altered") from None
        if isinstance(inner, _Sealed):
            raise RootKeyRefused(f"{path} holds a sealed file inside a sealed file")
        document = inner
    elif lock is not None:
        raise RootKeyRefused(f"{path} was sealed and is no longer: it may have been replaced")
    if any(len(key) != KEY_BYTES for key in document.keys):
        raise RootKeyRefused(f"{path} holds a root key that is not {KEY_BYTES} bytes long")
    return document.keys


def _render(document: _Open, lock: _Lock | None) -> bytes:
    plain = msgspec.json.encode(document)
    if lock is None:
        return plain + b"\n"
    nonce = os.urandom(NONCE_BYTES)
    sealed = nonce + lock.cipher.encrypt(nonce, plain, lock.aad)
    return (
        msgspec.json.encode(_Sealed("argon2id", lock.salt, lock.iterations, lock.lanes, lock.memory_kib, sealed))
        + b"\n"
    )


def _new_lock(passphrase: bytes) -> _Lock:
    # RFC 9106, section 4, second recommendation: 64 MiB, for machines that cannot spare 2 GiB at every start.
    return _derive(passphrase, os.urandom(_SALT_BYTES), iterations=3, lanes=4, memory_kib=64 * 1024)


def _derive(passphrase: bytes, salt: bytes, iterations: int, lanes: int, memory_kib: int) -> _Lock:
    if not passphrase:
        raise RootKeyRefused("an empty passphrase seals nothing; give none at all to leave the root key open")
    kdf = Argon2id(salt=salt, length=KEY_BYTES, iterations=iterations, lanes=lanes, memory_cost=memory_kib)
    return _Lock(salt, iterations, lanes, memory_kib, Xaes256Gcm(kdf.derive(passphrase)))


def _identity(key: bytes) -> bytes:
    """Names a root key in what it wrapped, and says nothing else about it."""
    return hashlib.sha256(b"vallum/root-key-id/1" + key).digest()[:_ID_BYTES]


def _take(path: Path) -> tuple[bytes, tuple[int, int, int]]:
    """The file's bytes and stamp. Checks the opened file, not its name, which may point elsewhere a moment later."""
    with _refusing(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # not hang on a pipe put in its place
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise RootKeyRefused(f"{path} is not a file")
            if found.st_uid not in (os.geteuid(), 0):
                raise RootKeyRefused(f"{path} belongs to another user; who owns the file can replace the root key")
            if found.st_mode & 0o077:
                raise RootKeyRefused(f"{path} is open to other users: chmod 600 it, and ask who has read it")
            content = opened.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise RootKeyRefused(f"{path} is too long for a root key file")
    return content, _stamp(found)


def _put(path: Path, content: bytes, *, replace: bool) -> None:
    """Write whole or not at all, and durably: a key wrapped by a root key that a crash undid would be lost."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)  # unlike a rename, refuses to replace what another process just made
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as e:
        raise Conflict(f"{path} exists already; a root key is never overwritten") from e
    except FileNotFoundError as e:
        raise RootKeyRefused(f"there is no root key file at {path}") from e
    except OSError as e:
        raise RootKeyRefused(f"the root key file {path} cannot be used: {e.strerror}") from e
