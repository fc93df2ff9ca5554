"""The words of the registry: registered models, their numbered versions, uploads under way, attestations; the rules."""

import re
from typing import Literal

import msgspec

from vallum.kernel.errors import Conflict, IntegrityError, Invalid
from vallum.models.dependencies.model import ScanReport

__all__ = [
    "MAX_FILES",
    "MAX_SIGNATURE_BYTES",
    "Attestation",
    "AttestationMalformed",
    "BroughtSignatureRefused",
    "CardReport",
    "Classification",
    "DependencyReport",
    "Egress",
    "ModelFile",
    "ModelVersion",
    "PartOutOfStep",
    "PartialFile",
    "RegisteredModel",
    "RiskClass",
    "SigningKeyRecord",
    "State",
    "Upload",
    "UploadBusy",
    "UploadDigestDiffers",
    "UploadPart",
    "UploadTooLarge",
    "VersionBlocked",
    "VersionDamaged",
    "VersionFinding",
    "VersionUnavailable",
    "check_file_path",
    "check_name",
    "check_word",
]

MAX_FILES = 10_000  # a signature over them is some two megabytes; more is a data set, not a model
MAX_SIGNATURE_BYTES = 8 << 20
_MAX_PATH_BYTES = 512
_MAX_WORD_CHARS = 1000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)

Classification = Literal["public", "internal", "confidential", "restricted"]
RiskClass = Literal["minimal", "limited", "high"]
State = Literal["available", "quarantined", "revoked"]


class VersionUnavailable(Conflict):
    """The version is in quarantine, or was revoked: nobody loads or downloads it."""

    code = "version_unavailable"


class VersionBlocked(Conflict):
    """The scanner found harm: no review makes this version available. Upload one without."""

    code = "version_blocked"


class VersionDamaged(IntegrityError):
    """What is stored is not what the version's signature names, or is gone."""

    code = "version_damaged"


class UploadBusy(Conflict):
    """The upload is being completed, or is over: it takes nothing more."""

    code = "upload_busy"


class UploadTooLarge(Invalid):
    """More bytes or files than one version may have."""

    code = "upload_too_large"


class PartOutOfStep(Conflict):
    """Parts of a file come one after another: this one does not begin where the last one ended."""

    code = "part_out_of_step"


class UploadDigestDiffers(Invalid):
    """What arrived of a file is not what its sender has: it is not made of these parts."""

    code = "upload_digest_differs"


class BroughtSignatureRefused(Invalid):
    """The uploader's signature does not hold, is not of these files, or is by nobody who is trusted here."""

    code = "brought_signature_refused"


class AttestationMalformed(Invalid):
    """Not a DSSE envelope around an in-toto statement about this version."""

    code = "attestation_malformed"


class RegisteredModel(msgspec.Struct, frozen=True):
    """A name that versions are registered under. `aliases` lead to version numbers; only a promotion moves them."""

    name: str
    owner: str
    classification: Classification
    risk_class: RiskClass
    description: str
    created_at: str
    created_by: str
    aliases: dict[str, int] = {}


class ModelFile(msgspec.Struct, frozen=True):
    """One file: its path in the model with `/`, the SHA-256 of its content in hexadecimal, its size in bytes."""

    path: str
    sha256: str
    size: int


class VersionFinding(msgspec.Struct, frozen=True):
    """What the scanner found: `place` as `FILE!MEMBER@OFFSET`, `ids` of MITRE ATLAS and CWE."""

    verdict: Literal["pass", "review", "block"]
    technique: str
    place: str
    ids: tuple[str, ...]
    explanation: str


class ModelVersion(msgspec.Struct, frozen=True):
    """One immutable version. `digest` is the root of its signed manifest; `state` alone changes, and only onward."""

    model: str
    number: int
    state: State
    digest: str
    size: int
    files: tuple[ModelFile, ...]
    verdict: Literal["pass", "review", "block"]
    findings: tuple[VersionFinding, ...]
    signer: str | None
    source: str
    created_at: str
    created_by: str
    reviewed_by: str | None = None
    review_note: str = ""
    revoked_by: str | None = None
    revoked_reason: str = ""

    @property
    def id(self) -> str:
        return f"{self.model}/{self.number}"


class UploadPart(msgspec.Struct, frozen=True):
    """`size` bytes of a file from `begin` on. `sha256` is of the file from its first byte to the end of this part."""

    begin: int
    size: int
    sha256: str


class PartialFile(msgspec.Struct, frozen=True):
    """A file that has not arrived whole: what was acknowledged of it, in order."""

    path: str
    parts: tuple[UploadPart, ...]


class Upload(msgspec.Struct, frozen=True):
    """A version on its way: what has arrived of it. Gone by itself when nothing arrives for a day."""

    id: str
    model: str
    number: int
    state: Literal["open", "completing", "completed"]
    source: str
    is_signed: bool  # the uploader has brought a signature
    files: tuple[ModelFile, ...]
    created_at: str
    expires_at: str
    partial: tuple[PartialFile, ...] = ()


class Attestation(msgspec.Struct, frozen=True):
    """A statement about a version: `envelope` is its DSSE envelope as it was given, JSON."""

    predicate_type: str
    envelope: bytes
    at: str
    by: str


class CardReport(msgspec.Struct, frozen=True):
    """A version's card as Markdown, with what the platform knows of it. `score` (0 to 1) and `missing` are of what the
    author wrote, against what the risk class asks for; `has_author` is False where there is no README.md."""

    markdown: str
    risk_class: RiskClass
    score: float
    missing: tuple[str, ...]
    has_author: bool


class DependencyReport(msgspec.Struct, frozen=True):
    """What a version needs, held against known weaknesses. `at` is when; None for one that was not looked at yet."""

    verdict: Literal["vulnerable", "cannot-tell", "clear"]
    at: str | None
    report: ScanReport


class Egress(msgspec.Struct, frozen=True):
    """What `subject` was sent of models on one day (UTC)."""

    subject: str
    day: str
    size: int
    downloads: int


class SigningKeyRecord(msgspec.Struct, frozen=True):
    """A key that this platform signs versions with, by its public half (PEM). One signs; retired ones still verify.

    Of a revoked one nothing counts, but what the ledger recorded before `revoked_since`. `custody` is `sealed` in the
    database, or `token`: on an HSM.
    """

    number: int
    signer: str
    algorithm: str
    public_key: str
    created_at: str
    state: Literal["signing", "retired", "revoked"] = "signing"
    custody: Literal["sealed", "token"] = "sealed"
    retired_at: str | None = None
    revoked_at: str | None = None
    revoked_since: str | None = None
    revoked_reason: str = ""


def check_name(name: str) -> str:
    """Raises Invalid."""
    if not _NAME.fullmatch(name):
        raise Invalid("a model's name is up to 128 lower-case letters, digits, '.', '_' and '-', no sign first")
    return name


def check_word(text: str, what: str, least: int = 0) -> str:
    """Somebody's own words, kept and shown to others. Raises Invalid."""
    if not least <= len(text.strip()) or len(text) > _MAX_WORD_CHARS or (text and not text.isprintable()):
        raise Invalid(f"{what}: {least} to {_MAX_WORD_CHARS} printable characters")
    return text.strip()


def check_file_path(path: str) -> str:
    """A path that means one file below a folder, on every system, and cannot lead out of it. Raises Invalid."""
    parts = path.split("/")
    if (
        any(part in ("", ".", "..") or part != part.strip() or part.endswith(".") for part in parts)
        or "\\" in path
        or ":" in path
        or not path.isprintable()
        or len(path.encode("utf-8", "surrogatepass")) > _MAX_PATH_BYTES
        or any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts)
    ):
        raise Invalid(
            "a file's path in a model has parts divided by '/', none of them empty, '.' or '..', at most 512 bytes"
        )
    return path
