"""in-toto Statement v1: which files, by digest, and what is said of them.

Owns the value and its JSON. Says nothing about who said it: that is the envelope's part. Answers statements about
nothing, about one name twice, and about files that no digest names. Fields that this reader does not know are
ignored, as the in-toto parsing rules demand; they are signed, so nobody else put them there.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from vallum.kernel.errors import IntegrityError, Invalid
from vallum.models.strict_json import NotStrictJson, parse_strict_json

__all__ = ["STATEMENT_TYPE", "AttestationRefused", "Statement", "Subject", "encode_statement", "parse_statement"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MAX_STATEMENT_BYTES = 32 << 20  # a hundred thousand subjects take some fifteen
_MAX_SUBJECTS = 100_000  # as many files as a model may have
# Hexadecimal digests have one length; other algorithms of the in-toto digest set are kept as they are written.
_HEX = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "gitCommit": 40}
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")  # RFC 3986: a scheme, and no white space after it
_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/.:-]{0,63}")


class AttestationRefused(IntegrityError):
    """The attestation is malformed, altered, by nobody who is trusted here, or about something else."""

    code = "attestation_refused"


class Subject(msgspec.Struct, frozen=True):
    """One file or model. `digest` maps an algorithm of the in-toto digest set to the digest, lower-case hexadecimal."""

    name: str
    digest: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= 4096:
            raise Invalid("a subject has a name of at most 4096 characters")
        if not isinstance(self.digest, Mapping) or not 0 < len(self.digest) <= 16:
            raise Invalid("a subject has at least one digest")
        for algorithm, value in self.digest.items():
            if not isinstance(algorithm, str) or not _ALGORITHM.fullmatch(algorithm):
                raise Invalid("a subject's digest has the name of an algorithm")
            length = _HEX.get(algorithm)
            if not isinstance(value, str) or not 0 < len(value) <= 1024:
                raise Invalid(f"a subject's {algorithm} is a text")
            if length is not None and not (len(value) == length and set(value) <= set("0123456789abcdef")):
                raise Invalid(f"a subject's {algorithm} is {length} lower-case hexadecimal digits")


class Statement(msgspec.Struct, frozen=True):
    """`predicate` is plain JSON; its meaning is that of `predicate_type`."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not 0 < len(self.subjects) <= _MAX_SUBJECTS:
            raise Invalid(f"a statement is about 1 to {_MAX_SUBJECTS} subjects")
        if len({subject.name for subject in self.subjects}) != len(self.subjects):
            raise Invalid("a statement names each subject once")
        kind = self.predicate_type
        if not isinstance(kind, str) or len(kind) > 1024 or not _URI.fullmatch(kind):
            raise Invalid("a statement's predicate type is a URI")
        if not isinstance(self.predicate, Mapping):
            raise Invalid("a statement's predicate is an object")

    def require(self, predicate_type: str, sha256: str) -> None:
        """Raise AttestationRefused unless this is about the file or model of that digest, and says this kind of thing.

        A valid statement about another version is the simplest of all attacks, so callers ask before they read.
        """
        if self.predicate_type != predicate_type:
            raise AttestationRefused(f"the attestation is a {self.predicate_type}, not a {predicate_type}")
        if all(subject.digest.get("sha256") != sha256 for subject in self.subjects):
            raise AttestationRefused("the attestation is about something else")


def encode_statement(statement: Statement) -> bytes:
    """Canonical: sorted members, no white space, ASCII. Raises Invalid for a predicate that JSON cannot carry."""
    said = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": one.name, "digest": dict(one.digest)} for one in statement.subjects],
        "predicateType": statement.predicate_type,
        "predicate": statement.predicate,
    }
    try:
        raw = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict).encode()
        # What we would refuse from others (half characters, depth) is not written either.
        parse_strict_json(raw, max_bytes=MAX_STATEMENT_BYTES)
    except (ValueError, TypeError, RecursionError) as e:
        raise Invalid("the statement cannot be written as JSON that every reader reads alike") from e
    return raw


def parse_statement(raw: bytes) -> Statement:
    """Raises AttestationRefused, whatever the bytes are."""
    try:
        said = parse_strict_json(raw, max_bytes=MAX_STATEMENT_BYTES)
    except NotStrictJson as e:
        raise AttestationRefused(f"the statement cannot be read: {e}") from e
    if not isinstance(said, dict) or said.get("_type") != STATEMENT_TYPE:
        raise AttestationRefused("what is attested is no in-toto statement v1")
    listed = said.get("subject")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise AttestationRefused("the statement's subjects are no list of objects")
    try:
        # A subject may leave its name out in in-toto; then its digest is all that it is known by.
        subjects = tuple(Subject(one.get("name") or _nameless(one), one.get("digest")) for one in listed)
        return Statement(subjects, said.get("predicateType"), said.get("predicate"))  # type: ignore[arg-type]  # checked by the value itself
    except Invalid as e:
        raise AttestationRefused(f"the statement cannot be read: {e}") from e


def _nameless(subject: Mapping[str, Any]) -> str:
    digest = subject.get("digest")
    if not isinstance(digest, dict) or not digest:
        return "?"
    algorithm, value = sorted(digest.items())[0]
    return f"{algorithm}:{value}"
