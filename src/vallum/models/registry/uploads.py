"""Uploads: a model arrives file by file, is scanned as one repository, signed, and becomes a version; or vanishes.

What arrived stays for a day, so that an upload is resumed by sending what is missing: files, and parts of large ones
(`parts`). Completing is claimed by one process at a time, and a claim whose process died is taken over.
Answers a model that is scanned and another one kept (the scanner gets the bytes that were hashed), a signature by the
wrong signer, and an upload that somebody else goes on with.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from os import urandom
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Invalid, NotFound, Unavailable, VallumError
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.store.renewal import renewed
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import Subject
from vallum.models.registry.artifacts import Artifacts, Place, StoredFile, StoredPart, sweep_spool
from vallum.models.registry.model import (
    MAX_FILES,
    MAX_SIGNATURE_BYTES,
    BroughtSignatureRefused,
    ModelFile,
    ModelVersion,
    PartialFile,
    Upload,
    UploadBusy,
    UploadPart,
    UploadTooLarge,
    VersionFinding,
    check_file_path,
    check_word,
)
from vallum.models.registry.records import files, models, parts, uploads, versions
from vallum.models.registry.signing_keys import SigningKeys
from vallum.models.scan import Report, Verdict
from vallum.models.scan.port import Starts
from vallum.models.signing import Manifest, ModelDiffers, Resource, SignatureRefused, TrustPolicy
from vallum.models.signing.bundle import open_bundle, render_bundle
from vallum.models.signing.manifest import differences

__all__ = [
    "EXPIRE_SECONDS",
    "Completion",
    "Received",
    "Uploads",
    "bounded",
    "key_of",
    "manifest_of",
    "may_send",
    "mine_of",
    "room_of",
    "stored_file",
    "stored_files",
]

EXPIRE_SECONDS = 86_400
_CLAIM_SECONDS, _RENEW_SECONDS = 300, 60
_MAX_FINDINGS = 1000
_MAX_SCANS = 2  # side by side in one process; each is a child with a core of its own


@dataclass(frozen=True, slots=True)
class Received:
    """A file that arrived whole and is stored, and not yet part of its upload."""

    upload: str
    file: ModelFile
    blob: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What came of completing an upload: a version to be kept, one that is there already, or why there is none."""

    upload: str
    claim: str
    version: ModelVersion | None
    bundle: bytes = b""
    holder: str = ""
    is_there: bool = False
    refused: VallumError | None = None


class Uploads:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        artifacts: Callable[[], Artifacts],
        spool: Path,
        signing_keys: SigningKeys,
        trust: TrustPolicy,
        *,
        max_upload_bytes: int,
        scan: Callable[[Path, Mapping[str, Starts]], Report],
    ) -> None:
        """`trust` is whose signatures an uploader may bring; `scan` judges a folder, told in which files it is known
        where pickles may begin, and is safe from what is in them."""
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._artifacts = artifacts
        self._spool = spool
        self._signing_keys = signing_keys
        self._trust = trust
        self._max_upload_bytes = max_upload_bytes
        self._scan = scan
        self._scans = BoundedSemaphore(_MAX_SCANS)

    # What the uploader does. Who may upload to which model is for the gate to say; an upload is its beginner's alone.

    def begin(self, conn: Connection, model: str, source: str, by: Subject) -> Upload:
        """Give out the next version number. Raises NotFound for a model that is not registered."""
        source = check_word(source, "source")
        claimed = update(models).where(models.c.name == model).values(newest=models.c.newest + 1)
        number = conn.execute(claimed.returning(models.c.newest)).scalar_one_or_none()
        if number is None:
            raise NotFound(f"there is no registered model {model}")
        upload = new_id("upl")
        aad = _key_aad(upload, model, number)
        conn.execute(
            insert(uploads).values(
                id=upload,
                model=model,
                number=number,
                state="open",
                source=source,
                created_at=format_time(self._clock.now()),
                created_by=by.render(),
                holder=by.holder,
                touched_at_seconds=self._now(),
                claim="",
                sealed_key=self._keyring.seal(DEFAULT_TENANT, Purpose.ARTIFACTS, urandom(32), aad, conn=conn),
                signature=None,
            )
        )
        return _described(conn, mine_of(conn, model, upload, by))

    def upload(self, model: str, upload: str, by: Subject) -> Upload:
        """Raises NotFound, also for somebody else's."""
        with self._records.read() as conn:
            return _described(conn, mine_of(conn, model, upload, by))

    def receive(self, model: str, upload: str, by: Subject, path: str, chunks: Iterable[bytes]) -> Received:
        """Store a file that arrives; it becomes part of the upload by `keep`. Not in a transaction: it takes its time.

        Raises NotFound, UploadBusy, UploadTooLarge, Invalid for a path, Unavailable; and what `chunks` raises.
        """
        check_file_path(path)
        with self._records.read() as conn:
            row = may_send(mine_of(conn, model, upload, by))
            taken = room_of(conn, upload, path)
            others = select(func.count()).select_from(files)
            count = conn.execute(others.where(files.c.upload == upload, files.c.path != path)).scalar_one()
        if count >= MAX_FILES:
            raise UploadTooLarge(f"a model has at most {MAX_FILES} files")
        blob = f"models/{upload}/{new_id('blb')}"
        pieces = bounded(chunks, self._max_upload_bytes - taken, self._max_upload_bytes)
        place = Place(model, row.number, path)
        return Received(upload, self._artifacts().take(key_of(self._keyring, row), place, blob, pieces), blob)

    def keep(self, conn: Connection, received: Received) -> ModelFile:
        """In place of what arrived under that path before. Raises UploadBusy when the upload is over."""
        self.touch(conn, received.upload)
        kept = received.file
        conn.execute(delete(parts).where(parts.c.upload == received.upload, parts.c.path == kept.path))
        found = {"sha256": kept.sha256, "size": kept.size, "blob": received.blob}
        values = {"upload": received.upload, "path": kept.path, **found}
        conn.execute(
            upsert(conn, files).values(values).on_conflict_do_update(index_elements=["upload", "path"], set_=found)
        )
        return kept

    def remove_file(self, conn: Connection, model: str, upload: str, by: Subject, path: str) -> None:
        """Raises NotFound, UploadBusy."""
        mine_of(conn, model, upload, by)
        self.touch(conn, upload)
        gone = conn.execute(delete(files).where(files.c.upload == upload, files.c.path == path)).rowcount
        gone += conn.execute(delete(parts).where(parts.c.upload == upload, parts.c.path == path)).rowcount
        if not gone:
            raise NotFound("the upload has no such file")

    def bring_signature(self, conn: Connection, model: str, upload: str, by: Subject, bundle: bytes) -> None:
        """A signature of the model (OMS 1.0), to be held to the trusted signers when the upload is completed."""
        if not 1 <= len(bundle) <= MAX_SIGNATURE_BYTES:
            raise UploadTooLarge(f"a signature has 1 to {MAX_SIGNATURE_BYTES} bytes")
        mine_of(conn, model, upload, by)
        self.touch(conn, upload)
        conn.execute(update(uploads).where(uploads.c.id == upload).values(signature=bundle))

    def abandon(self, conn: Connection, model: str, upload: str, by: Subject) -> None:
        """Erase its key; its blobs go with the next `tidy`. Raises NotFound, UploadBusy."""
        mine_of(conn, model, upload, by)
        self.touch(conn, upload)
        self._erase(conn, [upload])

    # Completing.

    def complete(self, model: str, upload: str, by: Subject) -> Completion:
        """Scan, and sign or verify what was brought; `finish` keeps what comes of it. Not in a transaction.

        What refuses the upload is in the answer, for `finish` to raise where it is recorded. Raises NotFound, and
        UploadBusy while somebody else completes it.
        """
        with self._records.write() as conn:
            row = mine_of(conn, model, upload, by)
            if row.state == "completed":
                return Completion(upload, "", None, is_there=True)
            claim = self._claim(conn, upload)
            stored, half = stored_files(conn, upload), _partial(conn, upload)
        try:
            with self._renewed(upload, claim):
                if half:
                    raise Invalid(f"{half[0].path} has not arrived whole: send what is missing of it, or remove it")
                return self._completed(row, claim, stored)
        except VallumError as e:
            with suppress(Unavailable), self._records.write() as conn:
                conn.execute(_claimed(upload, claim).values(state="open", claim="", touched_at_seconds=self._now()))
            return Completion(upload, claim, None, refused=e)

    def finish(self, conn: Connection, completion: Completion) -> ModelVersion:
        """Make the version. Raises why there is none, and UploadBusy when the claim was lost meanwhile."""
        if completion.refused is not None:
            raise completion.refused
        made = completion.version
        if made is None:
            raise UploadBusy("the upload is completed already")
        done = conn.execute(_claimed(completion.upload, completion.claim).values(state="completed", claim=""))
        if done.rowcount != 1:
            raise UploadBusy("somebody else completes this upload: ask for it again in a moment")
        values = {
            name: getattr(made, name)
            for name in ("model", "number", "state", "digest", "size", "signer", "source", "created_at", "created_by")
        }
        conn.execute(
            insert(versions).values(
                **values,
                upload=completion.upload,
                verdict=made.verdict,
                findings=msgspec.json.encode(made.findings),
                bundle=completion.bundle,
                holder=completion.holder,
                review_note="",
                revoked_reason="",
            )
        )
        return made

    def _completed(self, row: Row[Any], claim: str, stored: Sequence[StoredFile]) -> Completion:
        if not stored:
            raise Invalid("nothing was uploaded: a version has at least one file")
        manifest = manifest_of(row.model, [one.file for one in stored])
        signer, bundle = self._signature(row, manifest)  # first: whose signature is refused need not wait for a scan
        key = key_of(self._keyring, row)
        with self._scans, self._artifacts().laid_out(key, row.model, row.number, stored) as (folder, starts_in):
            try:
                report = self._scan(folder, starts_in)
            except OSError as e:
                raise Unavailable(f"the scanner could not be started: {e.strerror}; nothing was decided") from e
        if {file.path for file in report.files} != {one.file.path for one in stored} and report.verdict is Verdict.PASS:
            raise Unavailable("the scanner did not look at every file; nothing was decided")
        with suppress(Unavailable):
            self._artifacts().drop_all_but(row.id, [blob for one in stored for blob in one.blobs])
        findings = tuple(
            VersionFinding(f.verdict.value, f.technique, _place(f.place, folder), f.ids, f.explanation)
            for f in report.findings
        )
        made = ModelVersion(
            model=row.model,
            number=row.number,
            state="available" if report.verdict is Verdict.PASS else "quarantined",
            digest=manifest.root,
            size=sum(one.file.size for one in stored),
            files=tuple(one.file for one in stored),
            verdict=report.verdict.value,
            findings=tuple(sorted(findings, key=lambda f: f.verdict)[:_MAX_FINDINGS]),  # block before review
            signer=signer,
            source=row.source,
            created_at=format_time(self._clock.now()),
            created_by=row.created_by,
        )
        return Completion(row.id, claim, made, bundle, row.holder)

    def _signature(self, row: Row[Any], manifest: Manifest) -> tuple[str, bytes]:
        """What the uploader brought, held to the trusted signers; else the platform's own."""
        if row.signature is None:
            signer, key = self._signing_keys.current()
            return signer, render_bundle(manifest, key)
        brought = bytes(row.signature)
        try:
            signed, _, by = open_bundle(brought, self._trust, self._clock.now())
            found = differences(signed, manifest)
            if found:
                raise ModelDiffers(found)
        except (SignatureRefused, ModelDiffers) as e:  # nothing of ours was altered: the uploader brings another
            raise BroughtSignatureRefused(str(e)) from e
        return by.name, brought

    def _claim(self, conn: Connection, upload: str) -> str:
        claim, now = new_id("clm"), self._now()
        stale = (uploads.c.state == "completing") & (uploads.c.touched_at_seconds < now - _CLAIM_SECONDS)
        taken = update(uploads).where(uploads.c.id == upload, or_(uploads.c.state == "open", stale))
        values = {"state": "completing", "claim": claim, "touched_at_seconds": now}
        if conn.execute(taken.values(values)).rowcount != 1:
            raise UploadBusy("the upload is being completed already: ask for its version in a moment")
        return claim

    def _renewed(self, upload: str, claim: str) -> AbstractContextManager[None]:
        """While it takes its time, nobody takes the claim over."""

        def renew(conn: Connection) -> None:
            conn.execute(_claimed(upload, claim).values(touched_at_seconds=self._now()))

        return renewed(self._records, renew, _RENEW_SECONDS)

    # Vanishing.

    def expired(self, conn: Connection) -> list[str]:
        """Uploads that nothing arrived for since yesterday."""
        past = self._now() - EXPIRE_SECONDS
        query = select(uploads.c.id).where(uploads.c.touched_at_seconds < past)
        return list(conn.execute(query.where(uploads.c.state.in_(("open", "completing")))).scalars())

    def expire(self, conn: Connection) -> int:
        """Erase the keys of those; their blobs, which are noise now, go with the next `tidy`. Returns how many."""
        found = self.expired(conn)
        self._erase(conn, found)
        return len(found)

    def tidy(self) -> None:
        """Remove what is left of uploads that are over, and plaintext that nobody comes for."""
        with self._records.read() as conn:
            over = list(conn.execute(select(uploads.c.id).where(uploads.c.state == "expired")).scalars())
        for upload in over:
            self._artifacts().drop_all_but(upload, ())
            with self._records.write() as conn:
                conn.execute(delete(parts).where(parts.c.upload == upload))
                conn.execute(delete(files).where(files.c.upload == upload))
                conn.execute(delete(uploads).where(uploads.c.id == upload))
        sweep_spool(self._spool)

    def _erase(self, conn: Connection, found: Sequence[str]) -> None:
        gone = update(uploads).where(uploads.c.id.in_(found), uploads.c.state.in_(("open", "completing")))
        conn.execute(gone.values(state="expired", claim="", sealed_key=b"", signature=None))
        erase_copies(conn)

    def touch(self, conn: Connection, upload: str) -> None:
        """It is used: it does not vanish yet, and nobody else changes it until this transaction is over.

        Raises UploadBusy when it takes nothing more.
        """
        still = update(uploads).where(uploads.c.id == upload, uploads.c.state == "open")
        if conn.execute(still.values(touched_at_seconds=self._now())).rowcount != 1:
            raise UploadBusy("the upload is being completed, or is over: it takes nothing more")

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def stored_files(conn: Connection, upload: str) -> list[StoredFile]:
    """In order of their paths."""
    rows = conn.execute(select(files).where(files.c.upload == upload)).all()
    pieces: dict[str, list[StoredPart]] = {}
    if any(not row.blob for row in rows):
        for one in conn.execute(select(parts).where(parts.c.upload == upload).order_by(parts.c.begin)):
            pieces.setdefault(one.path, []).append(StoredPart(int(one.begin), int(one.size), one.blob))
    found = [stored_file(row, pieces.get(row.path, ())) for row in rows]
    return sorted(found, key=lambda one: one.file.path)  # not the database's order, which is its locale's


def stored_file(row: Row[Any], pieces: Sequence[StoredPart]) -> StoredFile:
    """One that is in a blob of its own has no parts, whatever else the database says."""
    return StoredFile(ModelFile(row.path, row.sha256, row.size), row.blob, () if row.blob else tuple(pieces))


def room_of(conn: Connection, upload: str, but: str | None = None) -> int:
    """How many bytes have arrived, whole files and parts, without those of the path `but`."""
    whole = select(func.coalesce(func.sum(files.c.size), 0)).where(files.c.upload == upload, files.c.blob != "")
    piece = select(func.coalesce(func.sum(parts.c.size), 0)).where(parts.c.upload == upload)
    if but is not None:
        whole, piece = whole.where(files.c.path != but), piece.where(parts.c.path != but)
    return int(conn.execute(whole).scalar_one()) + int(conn.execute(piece).scalar_one())


def _partial(conn: Connection, upload: str) -> tuple[PartialFile, ...]:
    whole = select(files.c.path).where(files.c.upload == upload, files.c.blob == "")
    c = parts.c
    query = select(c.path, c.begin, c.size, c.sha256).where(c.upload == upload, c.path.not_in(whole))
    found: dict[str, list[UploadPart]] = {}
    for path, *part in conn.execute(query.order_by(c.path, c.begin)):
        found.setdefault(path, []).append(UploadPart(*part))
    return tuple(PartialFile(path, tuple(arrived)) for path, arrived in found.items())


def manifest_of(model: str, found: Iterable[ModelFile]) -> Manifest:
    return Manifest(model, tuple(Resource(file.path, file.sha256) for file in sorted(found, key=lambda one: one.path)))


def key_of(keyring: Keyring, row: Row[Any]) -> bytes:
    """The key of an upload's files. Raises SealBroken for a row that was altered or moved."""
    aad = _key_aad(row.id, row.model, row.number)
    return keyring.open(DEFAULT_TENANT, Purpose.ARTIFACTS, bytes(row.sealed_key), aad)


def _key_aad(upload: str, model: str, number: int) -> bytes:
    return b"\x00".join((b"model_uploads\x00sealed_key", upload.encode(), model.encode(), b"%d" % number))


def _claimed(upload: str, claim: str) -> Any:
    return update(uploads).where(uploads.c.id == upload, uploads.c.state == "completing", uploads.c.claim == claim)


def mine_of(conn: Connection, model: str, upload: str, by: Subject) -> Row[Any]:
    """Raises NotFound for what is not there, is another model's, or is somebody else's."""
    c = uploads.c
    mine = select(uploads).where(c.id == upload, c.model == model, c.created_by == by.render(), c.state != "expired")
    row = conn.execute(mine).one_or_none()
    if row is None:
        raise NotFound("there is no such upload of yours: it was abandoned, or left for a day; begin another")
    return row


def may_send(row: Row[Any]) -> Row[Any]:
    """Raises UploadBusy."""
    if row.state != "open":
        raise UploadBusy("the upload is being completed, or is over: it takes nothing more")
    return row


def _described(conn: Connection, row: Row[Any]) -> Upload:
    found = tuple(one.file for one in stored_files(conn, row.id))
    expires = _at(row.touched_at_seconds + EXPIRE_SECONDS)
    signed = row.signature is not None
    partial = _partial(conn, row.id)
    return Upload(row.id, row.model, row.number, row.state, row.source, signed, found, row.created_at, expires, partial)


def _at(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))


def bounded(chunks: Iterable[bytes], room: int, whole: int) -> Iterator[bytes]:
    """Raises UploadTooLarge where more than `room` arrives."""
    for chunk in chunks:
        room -= len(chunk)
        if room < 0:
            raise UploadTooLarge(f"a version has at most {whole} bytes (models.max_upload_bytes)")
        yield chunk


def _place(place: str, folder: Path) -> str:
    """In the model, not in the folder that it was scanned in."""
    return place.replace(f"{folder}/", "").replace(str(folder), ".")
