"""Whose signatures count beside the platform's own: a file that the operator names, read when the platform opens.

[[keys]]
name = "ci"                      # who signs with it
public_key_file = "ci.pem"       # beside this file

[[certificates]]
identity = "https://ci.example/models"
roots_file = "company-ca.pem"
"""

import tomllib
from pathlib import Path

import msgspec
from cryptography import x509

from vallum.kernel.errors import Invalid
from vallum.models.signing import TrustedCertificate, TrustedKey, TrustPolicy

__all__ = ["load_trust"]

_MAX_BYTES = 1 << 20


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    public_key_file: str


class _Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: str
    roots_file: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[_Key, ...] = ()
    certificates: tuple[_Certificate, ...] = ()


def load_trust(file: Path | None) -> TrustPolicy:
    """Nobody at all without a file. Raises Invalid for one that cannot be read or says something else."""
    if file is None:
        return TrustPolicy()
    try:
        said = msgspec.convert(tomllib.loads(_read(file).decode()), _File)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as e:
        raise Invalid(f"models.trusted_signers_file: {file}: {e}") from e
    names = [key.name for key in said.keys]
    if len(set(names)) != len(names) or any(not name or name.startswith("platform:") for name in names):
        raise Invalid(f"models.trusted_signers_file: {file}: each key has a name of its own, not one of the platform's")
    keys = tuple(TrustedKey(key.name, _read(file.parent / key.public_key_file)) for key in said.keys)
    return TrustPolicy(keys, tuple(_certificate(file, one) for one in said.certificates))


def _certificate(file: Path, one: _Certificate) -> TrustedCertificate:
    try:
        roots = tuple(x509.load_pem_x509_certificates(_read(file.parent / one.roots_file)))
    except ValueError as e:
        raise Invalid(f"models.trusted_signers_file: {one.roots_file} holds no certificates in PEM") from e
    return TrustedCertificate(one.identity, roots)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_BYTES)
    except OSError as e:
        raise Invalid(f"models.trusted_signers_file: {file} cannot be read: {e.strerror}") from e
