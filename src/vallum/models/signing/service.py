"""Signing a model, verifying one, and having the bytes that were verified."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from vallum.kernel.clock import Clock, SystemClock
from vallum.kernel.errors import Invalid
from vallum.models.signing.bundle import Signer, TrustPolicy, open_bundle, render_bundle
from vallum.models.signing.manifest import Difference, Manifest, ModelDiffers, Sink, differences, hash_model

__all__ = ["VerifiedModel", "private_copy", "sign_model", "verified_copy", "verify_model"]

_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """Only verification makes one. `path` is what was verified: a copy's is nobody else's to change."""

    path: Path
    manifest: Manifest
    signer: Signer


def sign_model(
    path: Path,
    signature: Path,
    key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate] = (),
    *,
    threads: int | None = None,
) -> Manifest:
    """Write the signature of a model's files, whole or not at all.

    Raises Invalid for a model with links, special or executable files or empty folders, which no digest shows.
    """
    manifest, others = hash_model(path, without=signature, threads=threads)
    if others:
        shown = ", ".join(f"{one.kind} {one.name}" for one in others[:10])
        raise Invalid(f"{path} holds what cannot be signed: {shown}")
    if not manifest.resources:
        raise Invalid(f"{path} holds no files: there is nothing to sign")
    fresh = signature.with_name(signature.name + ".new")
    fresh.write_bytes(render_bundle(manifest, key, chain))
    fresh.replace(signature)
    return manifest


def verify_model(
    path: Path, signature: Path, trust: TrustPolicy, clock: Clock = _CLOCK, *, threads: int | None = None
) -> VerifiedModel:
    """Check the signature and its signer, then every file. Raises SignatureRefused, ModelDiffers with all differences.

    What lies at `path` may change afterwards: load from `verified_copy`, or from where nobody else writes.
    """
    signed, signer = _signed(signature, trust, clock)
    present, others = hash_model(path, without=signature, threads=threads)
    _hold(signed, present, others)
    return VerifiedModel(path, signed, signer)


@contextmanager
def verified_copy(
    path: Path, signature: Path, trust: TrustPolicy, clock: Clock = _CLOCK, *, folder: Path | None = None
) -> Iterator[VerifiedModel]:
    """The model as a private copy, made of the very bytes that were hashed; gone after the block.

    Raises as `verify_model`. `folder` is where copies are made, with room for it and for this user alone to read.
    """
    signed, signer = _signed(signature, trust, clock)
    with private_copy(path, without=signature, folder=folder) as (copy, present, others):
        _hold(signed, present, others)
        yield VerifiedModel(copy, signed, signer)


@contextmanager
def private_copy(
    path: Path, *, without: Path | None = None, folder: Path | None = None
) -> Iterator[tuple[Path, Manifest, tuple[Difference, ...]]]:
    """A model that nobody vouches for, copied as `verified_copy` does: what is looked at is what is loaded.

    Yields the copy's path, its files, and what was not copied since it should be in no model; `without` one file.
    Raises as `hash_model`.
    """
    into = Path(mkdtemp(prefix="vallum-model-", dir=folder))
    try:
        present, others = hash_model(path, without=without, sink=partial(_copying, into))
        yield into if path.is_dir() else into / path.name, present, others
    finally:
        shutil.rmtree(into, ignore_errors=True)


def _signed(signature: Path, trust: TrustPolicy, clock: Clock) -> tuple[Manifest, Signer]:
    try:
        raw = signature.read_bytes()
    except OSError as e:
        raise Invalid(f"{signature}: the signature cannot be read: {e.strerror}") from e
    # What a signature leaves out is not verified, and so must not be there: it would be loaded all the same.
    manifest, _, signer = open_bundle(raw, trust, clock.now())
    return manifest, signer


def _hold(signed: Manifest, present: Manifest, others: Sequence[Difference]) -> None:
    found = differences(signed, present, others)
    if found:
        raise ModelDiffers(found)


@contextmanager
def _copying(into: Path, name: str) -> Iterator[Sink]:
    """One file of a copy, for its owner to read."""
    path = into / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Buffered: a bare file writes what fits on a full disk, and says only in a number that it was not all.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as out:
        yield out
