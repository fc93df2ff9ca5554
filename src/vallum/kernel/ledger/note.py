"""C2SP signed notes and checkpoints: the ledger's head in a form other tools verify.

A note is text ending in a newline, an empty line, then one line per signature. The log signs with Ed25519
(algorithm byte 0x01); witnesses add timestamped cosignatures (0x04). Signatures by unknown keys are ignored, as
the format requires, and a note without one good signature by a trusted key is refused. Depends on `cryptography`
alone, so that the offline verifier may. Sources: C2SP signed-note, tlog-checkpoint and tlog-cosignature.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vallum.kernel.errors import IntegrityError

__all__ = [
    "Checkpoint",
    "CosignatureVerifier",
    "NoteMalformed",
    "NoteSigner",
    "NoteVerifier",
    "UntrustedNote",
    "parse_checkpoint",
    "parse_cosignature_lines",
    "sign_note",
    "verify_cosignatures",
    "verify_note",
]

_ED25519 = b"\x01"
_COSIGNATURE = b"\x04"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE_PREFIX = "— "  # U+2014 and a space
_SIGNATURE_BYTES = 64
_TIMESTAMP_BYTES = 8
MAX_NOTE_BYTES = 65_536  # a head and some dozens of witnesses; refuse longer before parsing
MAX_TREE_SIZE = 1 << 63  # the largest size the tiles format can address


class NoteMalformed(IntegrityError):
    """The bytes are not a signed note or its text is not a checkpoint."""

    code = "note_malformed"


class UntrustedNote(IntegrityError):
    """No trusted key signed the note, or a trusted key's signature is wrong."""

    code = "note_untrusted"


def _check_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() for c in name):
        raise NoteMalformed("a key name is not empty and holds neither spaces nor '+'")


def _decode_base64(text: str, what: str) -> bytes:
    """Canonical base64 only: leftover bits would let two different notes carry one signature."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise NoteMalformed(f"{what} is not base64") from e
    if base64.b64encode(raw).decode() != text:
        raise NoteMalformed(f"{what} is not canonical base64")
    return raw


def _key_id(name: str, algorithm: bytes, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + algorithm + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class _PublicKey:
    """A public key, the name it signs under, and what its signatures are over, by the format's algorithm byte."""

    algorithm: ClassVar[bytes]
    called: ClassVar[str]

    name: str
    public: Ed25519PublicKey

    def __post_init__(self) -> None:
        _check_name(self.name)

    @property
    def key_id(self) -> bytes:
        return _key_id(self.name, self.algorithm, self.public.public_bytes_raw())

    def render(self) -> str:
        """The verifier key's text form: `name+keyid+base64(algorithm || key)`."""
        encoded = base64.b64encode(self.algorithm + self.public.public_bytes_raw()).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises NoteMalformed unless it is a key of this algorithm whose id belongs to its name and bytes."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise NoteMalformed("a verifier key reads name+keyid+key")
        raw = _decode_base64(parts[2], "the verifier key")
        if raw[:1] != cls.algorithm or len(raw) != 33:
            raise NoteMalformed(f"the verifier key is not {cls.called}")
        verifier = cls(parts[0], Ed25519PublicKey.from_public_bytes(raw[1:]))
        if verifier.key_id.hex() != parts[1]:
            raise NoteMalformed("the verifier key's id does not belong to its name and key")
        return verifier


@dataclass(frozen=True, slots=True)
class NoteVerifier(_PublicKey):
    """Who a note is trusted from: what it signs is the text."""

    algorithm = _ED25519
    called = "an Ed25519 key"


@dataclass(frozen=True, slots=True)
class CosignatureVerifier(_PublicKey):
    """A witness. What it signs is a time and the whole text, so a cosignature says when it was seen."""

    algorithm = _COSIGNATURE
    called = "a witness's cosignature key"


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A private key and the name it signs under; its repr shows the name alone."""

    name: str
    private: Ed25519PrivateKey
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "key_id", self.verifier.key_id)  # once: every commit of the ledger signs

    def __repr__(self) -> str:
        return f"NoteSigner({self.name!r})"

    @property
    def verifier(self) -> NoteVerifier:
        return NoteVerifier(self.name, self.private.public_key())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: which log (`origin`), how many leaves, and the 32-byte root over them."""

    origin: str
    size: int
    root: bytes

    def render(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_note(text: str, signers: Sequence[NoteSigner]) -> bytes:
    """`text` ends in a newline and holds no control character besides newlines."""
    _check_text(text)
    lines = []
    for signer in signers:
        blob = signer.key_id + signer.private.sign(text.encode())
        lines.append(f"{_SIGNATURE_PREFIX}{signer.name} {base64.b64encode(blob).decode()}\n")
    return (text + "\n" + "".join(lines)).encode()


def _check_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise NoteMalformed("a note's text ends in a newline and holds no control characters")


def verify_note(note: bytes, trusted: Sequence[NoteVerifier]) -> str:
    """The note's text, signed by at least one of `trusted`.

    Raises NoteMalformed, or UntrustedNote when no trusted key signed it or one that did signed other text.
    """
    text, signatures = _split_note(note)
    by_identity = {(v.name, v.key_id): v for v in trusted}
    proven = False
    for name, blob in signatures:
        verifier = by_identity.get((name, blob[:4]))
        if verifier is None:
            continue
        try:
            verifier.public.verify(blob[4:], text.encode())
        except InvalidSignature as e:
            raise UntrustedNote(f"the signature of {name} does not belong to this note") from e
        proven = True
    if not proven:
        raise UntrustedNote("no trusted key signed this note")
    return text


def verify_cosignatures(note: bytes, witnesses: Sequence[CosignatureVerifier]) -> dict[tuple[str, bytes], int]:
    """Who of `witnesses` cosigned the note, as (name, key id), and when in Unix seconds.

    Raises NoteMalformed, or UntrustedNote when a signature by one of them belongs to other text.
    """
    text, signatures = _split_note(note)
    by_identity = {(w.name, w.key_id): w for w in witnesses}
    times = {}
    for name, blob in signatures:
        witness = by_identity.get((name, blob[:4]))
        if witness is None:
            continue
        if len(blob) != 4 + _TIMESTAMP_BYTES + _SIGNATURE_BYTES:
            raise NoteMalformed(f"the cosignature of {name} is not a time and a signature")
        seconds = int.from_bytes(blob[4 : 4 + _TIMESTAMP_BYTES], "big")
        try:
            witness.public.verify(blob[4 + _TIMESTAMP_BYTES :], f"cosignature/v1\ntime {seconds}\n{text}".encode())
        except InvalidSignature as e:
            raise UntrustedNote(f"the cosignature of {name} does not belong to this note") from e
        times[name, witness.key_id] = seconds
    return times


def parse_cosignature_lines(answer: bytes) -> list[tuple[bytes, str, bytes]]:
    """A witness's answer as (line with its newline, name, key id and signature). Raises NoteMalformed."""
    _, signatures = _split_note(b"\n\n" + answer)
    lines = answer.removesuffix(b"\n").split(b"\n")
    return [(line + b"\n", name, blob) for line, (name, blob) in zip(lines, signatures, strict=True)]


def _split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_BYTES:
        raise NoteMalformed(f"a note of {len(note)} bytes is longer than {MAX_NOTE_BYTES}")
    try:
        whole = note.decode()
    except UnicodeDecodeError as e:
        raise NoteMalformed("a note is UTF-8") from e
    head, gap, tail = whole.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise NoteMalformed("a note is text, an empty line and signature lines")
    text = head + "\n"
    _check_text(text)
    signatures = []
    for line in tail[:-1].split("\n"):
        name, space, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
        if not line.startswith(_SIGNATURE_PREFIX) or not space:
            raise NoteMalformed("a signature line reads '— name base64'")
        _check_name(name)
        blob = _decode_base64(encoded, f"the signature of {name}")
        if len(blob) < 4 + 1:
            raise NoteMalformed(f"the signature of {name} is too short")
        signatures.append((name, blob))
    return text, signatures


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a *verified* note's text as a checkpoint; extension lines after the root are allowed."""
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or lines[-1]:
        raise NoteMalformed("a checkpoint has an origin, a size and a root, each on its line")
    origin, size, root = lines[:3]
    if not (size.isascii() and size.isdigit() and len(size) <= 19) or (size != "0" and size.startswith("0")):
        raise NoteMalformed("a checkpoint's size is a decimal number without leading zeros")
    if int(size) >= MAX_TREE_SIZE:
        raise NoteMalformed(f"a checkpoint's size is below {MAX_TREE_SIZE}")
    digest = _decode_base64(root, "a checkpoint's root")
    if len(digest) != 32:
        raise NoteMalformed("a checkpoint's root is 32 bytes")
    return Checkpoint(origin, int(size), digest)
