"""Keysets: one per tenant and purpose, with versions, wrapped by the root key and held unwrapped in memory.

Owns which key seals and which may open; the sealed bytes are `sealing`'s, the root key is a provider's. Erasure
is destroying a key. Answers a database that is read, copied or edited by somebody without the root key: keys in
it are wrapped with their tenant, purpose and version as context, so that a row moved to another place does not
unwrap. Does not answer an old backup put back whole, which brings destroyed keys with it: rotate the root key,
re-wrap, and drop the former root key (docs/keys.md).

Memory follows the table by epoch "keys": subscribe `refresh`. A version that another process made is found on
demand at once; a key destroyed elsewhere stays usable here until that refresh, a quarter of a second.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from threading import Lock
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.keys import records as table
from vallum.kernel.keys.errors import KeyDestroyed, OtherEnvironment, SealBroken
from vallum.kernel.keys.model import DEFAULT_TENANT, KeysetRecord, KeyVersion, Purpose
from vallum.kernel.keys.providers.port import RootKeyProvider
from vallum.kernel.keys.records import KeyRow, SigningRow
from vallum.kernel.keys.sealing import (
    MATERIAL_BYTES,
    SEALED_OVERHEAD_BYTES,
    SealingKey,
    binding,
    check_value_of,
    version_of,
)
from vallum.kernel.keys.streaming import STREAM_KEY_BYTES, StreamBroken, decrypt_stream, encrypt_stream
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.values import TenantId

__all__ = ["EPOCH", "Keyring"]

EPOCH = "keys"

_MAX_HELD = 65_536  # about 200 MiB of unwrapped keys; past it, memory starts over rather than growing
_MAX_SIGNING_NAME_CHARS = 255
_CREATE_ATTEMPTS = 5  # each lost one means that another process destroyed the key just made
_STREAM_KEY_AAD = b"vallum/stream-key/1\x00"
_STREAM_LEAD_BYTES = SEALED_OVERHEAD_BYTES + STREAM_KEY_BYTES
_SIGNING_AAD = b"vallum/signing-key/1\x00"
_WRAP_CONTEXT = b"vallum/keyset/1\x00"
_WRAP_CONTEXT_OF_ENVIRONMENT = b"vallum/keyset/2\x00"


class _Held(NamedTuple):
    """An unwrapped key, and the wrapped bytes that it came from: when they change, it is read anew."""

    key: SealingKey
    wrapped: bytes


class Keyring:
    """Seals and opens. Safe to share between threads.

    Inside a transaction of your own, pass its `conn`: on SQLite a key made on first use could not otherwise be
    written beside it, and would wait for the very transaction that waits for it.
    """

    def __init__(
        self,
        records: Records,
        root: RootKeyProvider,
        clock: Clock,
        former_roots: Sequence[RootKeyProvider] = (),
        *,
        environment: str = "",
    ) -> None:
        """`former_roots` still unwrap what they wrapped, until `rewrap` has moved it to `root`.

        One may bear the name of `root`, as two keys of one service do; each is then tried, `root` first. What was
        wrapped in one `environment` unwraps in no other, also where somebody has copied both the database and the root.
        """
        self._environment = environment
        self._records = records
        self._root = root
        self._roots = (root, *former_roots)
        self._clock = clock
        self._lock = Lock()
        self._generation = 0  # moves whenever memory was dropped, so that what was read before is not kept after
        self._current: dict[tuple[str, Purpose], SealingKey] = {}
        self._held: dict[tuple[str, Purpose, int], _Held] = {}
        self._signing: dict[str, Ed25519PrivateKey] = {}

    @property
    def root_name(self) -> str:
        """The provider whose root key wraps from now on."""
        return self._root.name

    # Sealing and opening.

    def seal(
        self, tenant: TenantId, purpose: Purpose, data: bytes, aad: bytes, *, conn: Connection | None = None
    ) -> bytes:
        """`data` sealed under the current key, made on first use; 45 bytes longer.

        `aad` names the place: table, column, row. The same is given to `open`.
        """
        key = self._current.get((tenant, purpose))
        if key is None:
            key = self._current_key(tenant, purpose, conn)
        return key.seal(data, aad)

    def open(
        self, tenant: TenantId, purpose: Purpose, sealed: bytes, aad: bytes, *, conn: Connection | None = None
    ) -> bytes:
        """What `seal` was given, under whichever version sealed it.

        Raises SealBroken when anything differs: a bit, the tenant, the purpose, the place. KeyDestroyed after
        `destroy`.
        """
        version = version_of(sealed)
        held = self._held.get((tenant, purpose, version))
        key = held.key if held is not None else self._key(tenant, purpose, version, conn)
        return key.open(sealed, aad)

    def seal_joinable(self, tenant: TenantId, data: bytes, aad: bytes, *, conn: Connection | None = None) -> bytes:
        """Deterministic: equal `data` under equal `aad` (a column, not a row) is equal sealed. Purpose `fields`.

        Anybody with the table sees which rows are equal: only for what must be joined, and never for values of
        which there are few.
        """
        key = self._current.get((tenant, Purpose.FIELDS))
        if key is None:
            key = self._current_key(tenant, Purpose.FIELDS, conn)
        return key.seal_joinable(data, aad)

    def open_joinable(self, tenant: TenantId, sealed: bytes, aad: bytes, *, conn: Connection | None = None) -> bytes:
        """What `seal_joinable` was given. Raises as `open` does."""
        return self._key(tenant, Purpose.FIELDS, version_of(sealed), conn).open_joinable(sealed, aad)

    def joinable_forms(
        self, tenant: TenantId, data: bytes, aad: bytes, *, conn: Connection | None = None
    ) -> tuple[bytes, ...]:
        """`data` as every live version would have sealed it, newest first: to look for it across rotations."""
        if conn is not None:
            rows = table.key_versions(conn, tenant, Purpose.FIELDS)
        else:
            with self._records.read() as reader:
                rows = table.key_versions(reader, tenant, Purpose.FIELDS)
        live = [row.version for row in reversed(rows) if row.wrapped is not None]
        return tuple(self._key(tenant, Purpose.FIELDS, v, conn).seal_joinable(data, aad) for v in live)

    def seal_stream(self, tenant: TenantId, purpose: Purpose, chunks: Iterable[bytes], aad: bytes) -> Iterator[bytes]:
        """Like `seal` for what is too large to hold: a fresh key, sealed, and then `streaming`'s format under it."""
        key = os.urandom(STREAM_KEY_BYTES)
        lead = self.seal(tenant, purpose, key, _STREAM_KEY_AAD + aad)
        return chain([lead], encrypt_stream(key, chunks, aad))

    def open_stream(self, tenant: TenantId, purpose: Purpose, chunks: Iterable[bytes], aad: bytes) -> Iterator[bytes]:
        """What `seal_stream` was given. Whole only when it ends without raising: act on nothing before."""
        pieces = iter(chunks)
        buffered = b""
        while len(buffered) < _STREAM_LEAD_BYTES:
            piece = next(pieces, None)
            if piece is None:
                raise StreamBroken("the stream ends inside its sealed key")
            buffered += piece
        lead, rest = buffered[:_STREAM_LEAD_BYTES], buffered[_STREAM_LEAD_BYTES:]
        key = self.open(tenant, purpose, lead, _STREAM_KEY_AAD + aad)
        yield from decrypt_stream(key, chain([rest], pieces), aad)

    def check_environment(self) -> None:
        """Raises OtherEnvironment unless the keys in the database are this environment's, by this root key."""
        with self._records.read() as conn:
            row = next((row for row in table.all_keys(conn) if row.wrapped is not None), None)
        if row is None:
            return
        try:
            self._unwrap(row)
        except SealBroken as e:
            here = f"environment {self._environment}" if self._environment else "an installation without environment"
            raise OtherEnvironment(
                f"the keys in this database do not open in {here} by this root key: they are another environment's"
                " (setting environment), another root key's, or were altered"
            ) from e

    # The life of a keyset.

    def rotate(self, conn: Connection, tenant: TenantId, purpose: Purpose) -> int:
        """A new version seals from now on; former ones go on opening. Returns its number.

        Raises NotFound when nothing was ever sealed there, Conflict when another transaction rotated just now.
        """
        newest = table.newest_key(conn, tenant, purpose)
        if newest is None:
            raise NotFound(f"there is no keyset for {purpose} of tenant {tenant}; it is made when first used")
        version = newest.version + 1
        if not table.insert_key_if_absent(conn, self._new_row(tenant, purpose, version)):
            raise Conflict(f"the keyset for {purpose} of tenant {tenant} was rotated by somebody else just now")
        self._changed(conn)
        return version

    def rewrap(self, conn: Connection) -> int:
        """Wrap every live key anew under the root's newest key; returns how many. Data is not touched.

        What is there is lost when `conn` commits, so each new wrapping is opened before. Raises SealBroken, changing
        nothing, when one does not unwrap: an altered row must be looked at first. Unavailable when a root is.
        """
        wrapped = 0
        for row in table.all_keys(conn):
            if row.wrapped is not None:
                context = self._context(row.tenant, Purpose(row.purpose), row.version)
                material = self._unwrap(row)
                anew = self._root.wrap(material, context)
                if self._root.unwrap(anew, context) != material:
                    raise SealBroken(f"the root {self._root.name} does not give back what it wrapped")
                at = format_time(self._clock.now())
                wrapped += table.replace_wrapped(
                    conn, row, anew, self._root.name, wrapped_at=at, check_value=check_value_of(material)
                )
        if wrapped:
            table.erase_remains(conn)
        self._changed(conn)
        return wrapped

    def check_value(self, tenant: TenantId, purpose: Purpose, version: int) -> str:
        """What a version is known by: its key's, where that can still be had, else what was kept of it, or `unknown`.

        Raises Unavailable when the root is.
        """
        with self._records.read() as conn:
            row = table.one_key(conn, tenant, purpose, version)
        if row is None:
            return "unknown"
        with suppress(SealBroken, KeyDestroyed):
            return check_value_of(self._unwrap(row))
        return row.check_value or "unknown"

    def destroy(
        self, conn: Connection, tenant: TenantId, purpose: Purpose, version: int | None = None, *, current: bool = False
    ) -> int:
        """Crypto-shred: erase one version's key, or all of them, and what they sealed is noise. Returns how many.

        Other processes may seal with the version for a quarter of a second more, and lose that too: rotate first,
        and destroy the former version when its time has come. Raises NotFound when there is no such version,
        Conflict for the one that seals now unless `current` says that it is meant.
        """
        rows = table.key_versions(conn, tenant, purpose)
        if not rows or (version is not None and all(row.version != version for row in rows)):
            which = "keyset" if version is None else f"version {version}"
            raise NotFound(f"there is no {which} for {purpose} of tenant {tenant}")
        if version == rows[-1].version and rows[-1].wrapped is not None and not current:
            raise Conflict(f"version {version} of {purpose} is the one that seals: rotate first, or say it is meant")
        destroyed = table.destroy_keys(conn, tenant, purpose, version, format_time(self._clock.now()))
        table.erase_remains(conn)
        self._changed(conn)
        return destroyed

    def describe(self, conn: Connection) -> list[KeysetRecord]:
        """Every keyset and its versions, by tenant and purpose."""
        grouped = groupby(table.all_keys(conn), key=lambda row: (row.tenant, row.purpose))
        return [
            KeysetRecord(TenantId(tenant), Purpose(purpose), _versions(list(rows)))
            for (tenant, purpose), rows in grouped
        ]

    # Signing keys.

    def signing_key(self, name: str, *, conn: Connection | None = None) -> Ed25519PrivateKey:
        """The Ed25519 key of that name, made on first use: the same one in every process.

        Raises Invalid for an empty, unprintable or overlong name; SealBroken when its row was altered.
        """
        held = self._signing.get(name)
        if held is not None:
            return held
        if not name or not name.isprintable() or len(name) > _MAX_SIGNING_NAME_CHARS:
            raise Invalid(f"a signing key's name is 1 to {_MAX_SIGNING_NAME_CHARS} printable characters")
        generation = self._generation
        with self._records.read() as reader:
            row = table.signing_key(reader, name)
        if row is not None:
            key = self._opened_signing_key(row, conn)
            with self._lock:
                if generation == self._generation:
                    self._signing[name] = key
            return key
        if conn is not None:
            return self._made_signing_key(conn, name)
        with self._records.write() as own:
            return self._made_signing_key(own, name)

    # Memory.

    def refresh(self) -> None:
        """Forget what the table no longer says. One query; called when epoch "keys" moved."""
        with self._lock:
            self._generation += 1
            generation = self._generation
        with self._records.read() as reader:
            rows = table.all_keys(reader)
        wrapped = {(row.tenant, row.purpose, row.version): row.wrapped for row in rows}
        newest = {(row.tenant, row.purpose): row.version for row in rows}  # in order of version
        with self._lock:
            if generation != self._generation:
                return  # a later change began to forget meanwhile, and does all of this
            self._held = {at: held for at, held in self._held.items() if wrapped.get(at) == held.wrapped}
            self._current = {
                (tenant, purpose): held.key
                for (tenant, purpose, version), held in self._held.items()
                if newest[tenant, purpose] == version
            }
            self._signing = {}

    def _changed(self, conn: Connection) -> None:
        """Tell the others when the transaction commits, and forget everything here now."""
        bump_epoch(conn, EPOCH)
        with self._lock:
            self._generation += 1
            self._current, self._held, self._signing = {}, {}, {}

    # Finding keys. What a caller's transaction sees and others do not is used, and never kept.

    def _current_key(self, tenant: TenantId, purpose: Purpose, conn: Connection | None) -> SealingKey:
        binding(tenant, purpose)  # refuses a tenant id before the database has to
        for _ in range(_CREATE_ATTEMPTS):
            generation = self._generation
            with self._records.read() as reader:
                committed = table.newest_key(reader, tenant, purpose)
            seen = committed if conn is None else table.newest_key(conn, tenant, purpose)
            if seen is not None and seen.wrapped is not None:
                key = self._unwrapped(seen)
                if seen == committed:
                    self._keep(generation, seen, key, current=True)
                return key
            fresh = self._new_row(tenant, purpose, 1 if seen is None else seen.version + 1)
            if conn is not None:
                table.insert_key_if_absent(conn, fresh)
            else:
                with self._records.write() as own:
                    table.insert_key_if_absent(own, fresh)
        raise Conflict(f"the keyset for {purpose} of tenant {tenant} is being destroyed as fast as it is made")

    def _key(self, tenant: TenantId, purpose: Purpose, version: int, conn: Connection | None) -> SealingKey:
        held = self._held.get((tenant, purpose, version))
        if held is not None:
            return held.key
        binding(tenant, purpose)
        generation = self._generation
        with self._records.read() as reader:
            committed = table.one_key(reader, tenant, purpose, version)
        seen = committed if conn is None else table.one_key(conn, tenant, purpose, version)
        if seen is None:
            raise SealBroken(f"a sealed value names a key version that {purpose} of this tenant never had")
        key = self._unwrapped(seen)
        if seen == committed:
            self._keep(generation, seen, key, current=False)
        return key

    def _keep(self, generation: int, row: KeyRow, key: SealingKey, *, current: bool) -> None:
        with self._lock:
            if generation != self._generation:
                return  # read before a change that memory has already followed
            if len(self._held) >= _MAX_HELD:
                self._held, self._current = {}, {}
            purpose = Purpose(row.purpose)
            self._held[row.tenant, purpose, row.version] = _Held(key, row.wrapped or b"")
            if current:
                self._current[row.tenant, purpose] = key

    def _new_row(self, tenant: str, purpose: Purpose, version: int) -> KeyRow:
        material, at = os.urandom(MATERIAL_BYTES), format_time(self._clock.now())
        wrapped = self._root.wrap(material, self._context(tenant, purpose, version))
        known_by = check_value_of(material)
        return KeyRow(tenant, purpose.value, version, wrapped, self._root.name, at, None, at, known_by)

    def _unwrapped(self, row: KeyRow) -> SealingKey:
        return SealingKey(self._unwrap(row), row.tenant, Purpose(row.purpose), row.version)

    def _unwrap(self, row: KeyRow) -> bytes:
        where = f"version {row.version} of {row.purpose} of tenant {row.tenant}"
        if row.wrapped is None:
            raise KeyDestroyed(f"the key {where} was destroyed, and what it sealed with it")
        roots = [root for root in self._roots if root.name == row.root]
        if not roots:
            raise SealBroken(f"the key {where} was wrapped by root {row.root!r}, which is not configured")
        material = _unwrapped_by(roots, row.wrapped, self._context(row.tenant, Purpose(row.purpose), row.version))
        if len(material) != MATERIAL_BYTES:
            raise SealBroken(f"the key {where} does not have the length of a key")
        return material

    def _context(self, tenant: str, purpose: Purpose, version: int) -> bytes:
        place = binding(tenant, purpose) + version.to_bytes(4, "big")
        if not self._environment:
            return _WRAP_CONTEXT + place
        name = self._environment.encode()
        return _WRAP_CONTEXT_OF_ENVIRONMENT + len(name).to_bytes(2, "big") + name + place

    def _made_signing_key(self, conn: Connection, name: str) -> Ed25519PrivateKey:
        row = table.signing_key(conn, name)
        if row is None:
            key = Ed25519PrivateKey.generate()
            aad = _SIGNING_AAD + name.encode()
            sealed = self.seal(DEFAULT_TENANT, Purpose.SIGNING, key.private_bytes_raw(), aad, conn=conn)
            public = key.public_key().public_bytes_raw()
            table.insert_signing_if_absent(conn, SigningRow(name, public, sealed, format_time(self._clock.now())))
            row = table.signing_key(conn, name)  # another process may have been quicker: all use what is there
            assert row is not None  # inserted above, by this transaction or by one that committed before it
        return self._opened_signing_key(row, conn)

    def _opened_signing_key(self, row: SigningRow, conn: Connection | None) -> Ed25519PrivateKey:
        raw = self.open(DEFAULT_TENANT, Purpose.SIGNING, row.sealed, _SIGNING_AAD + row.name.encode(), conn=conn)
        key = Ed25519PrivateKey.from_private_bytes(raw)
        if key.public_key().public_bytes_raw() != row.public:
            raise SealBroken(f"the public half of signing key {row.name} does not belong to its private half")
        return key


def _unwrapped_by(roots: Sequence[RootKeyProvider], wrapped: bytes, context: bytes) -> bytes:
    for root in roots[:-1]:
        with suppress(SealBroken):
            return root.unwrap(wrapped, context)
    return roots[-1].unwrap(wrapped, context)


def _versions(rows: Sequence[KeyRow]) -> tuple[KeyVersion, ...]:
    newest = rows[-1].version
    return tuple(
        KeyVersion(
            version=row.version,
            state="destroyed" if row.wrapped is None else "current" if row.version == newest else "former",
            root=row.root,
            created_at=row.created_at,
            destroyed_at=row.destroyed_at,
            check_value=row.check_value,
        )
        for row in rows
    )
