"""What one entry says, and the one way to write it down.

An entry holds who, what, which asset, the decision and its policies, findings by kind and count, and salted
digests of contents: never the contents. Its canonical form is JSON with sorted keys, no white space, UTF-8 and
no floating-point numbers; those bytes are what is hashed, stored and exported, and they are never re-encoded.
A digest is SHA-256 over a 32-byte random salt and the content; the salt lies beside the sealed content and goes
with it, so that after erasure nobody can test a guess against the digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

import msgspec

from vallum.kernel.errors import Invalid

__all__ = [
    "Effect",
    "Entry",
    "EntryDraft",
    "FindingRecord",
    "Receipt",
    "StoredEntry",
    "content_digest",
    "decode_entry",
    "encode_entry",
]

Effect = Literal["allow", "deny"]
MAX_ENTRY_BYTES = 65_535  # what the tlog-tiles entry bundle's two-byte length can carry


class FindingRecord(msgspec.Struct, frozen=True):
    """What a guard found, by kind and count; never what matched."""

    guard: str
    version: str
    kind: str
    action: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDraft:
    """What the caller knows. `contents` are plaintexts to seal beside the entry, by name.

    `context` is small and holds no secret: model, provider, token counts, milliseconds. `entry_id` is given when
    the caller must name the entry before it is appended. Without `retention_seconds` contents are kept until shredded.
    """

    tenant: str
    kind: str
    subject: str
    action: str
    asset: str
    effect: Effect
    outcome: str
    credential: str | None = None
    policies: tuple[str, ...] = ()
    policy_set: str = ""
    reason: str = ""
    findings: tuple[FindingRecord, ...] = ()
    context: Mapping[str, str | int] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)
    entry_id: str | None = None
    retention_seconds: int | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as logged. `contents` maps a name to the salted digest's lower-case hex; `time` is RFC 3339."""

    v: int = 1
    entry_id: str
    time: str
    tenant: str
    kind: str
    subject: str
    credential: str | None
    action: str
    asset: str
    effect: Effect
    outcome: str
    policies: tuple[str, ...]
    policy_set: str
    reason: str
    findings: tuple[FindingRecord, ...]
    context: dict[str, str | int]
    contents: dict[str, str]


class StoredEntry(Entry, frozen=True, kw_only=True):
    """An entry and its place in the tree; None while it waits for the sequencer."""

    index: int | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of appending, valid once the transaction commits. `index` is None until sequenced."""

    entry_id: str
    index: int | None


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """The canonical bytes. Raises Invalid when they exceed MAX_ENTRY_BYTES."""
    encoded = _ENCODER.encode(entry)
    if len(encoded) > MAX_ENTRY_BYTES:
        raise Invalid(f"an entry of {len(encoded)} bytes exceeds {MAX_ENTRY_BYTES}: shorten its context or reason")
    return encoded


def decode_entry(canonical: bytes) -> Entry:
    """Raises Invalid for bytes that are no entry."""
    try:
        return _DECODER.decode(canonical)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise Invalid("these bytes are not a ledger entry") from e


def content_digest(salt: bytes, content: bytes) -> str:
    return sha256(salt + content).hexdigest()
