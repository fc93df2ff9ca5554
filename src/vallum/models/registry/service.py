"""The registry: models by name, their immutable versions, and what may be done with them.

A version is quarantined or available when it is made, and goes only onward: to available by somebody else's review, to
revoked for ever. What is loaded is the bytes that were verified: `checkout` opens every file from its sealed blob, and
holds it to the manifest of a signature by somebody who is trusted now. Answers a database or blob store that is edited:
states and digests are the database's to say, contents are not.
"""

import base64
import binascii
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, Update, insert, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, IntegrityError, Invalid, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring
from vallum.kernel.policy import AssetFacts
from vallum.kernel.policy.changes import OwnRequest
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import AssetRef, Subject
from vallum.models.registry import records as table
from vallum.models.registry.artifacts import Artifacts, BlobStore, Place, StoredFile, StoredPart
from vallum.models.registry.model import (
    Attestation,
    AttestationMalformed,
    Classification,
    Egress,
    ModelFile,
    ModelVersion,
    RegisteredModel,
    RiskClass,
    SigningKeyRecord,
    VersionBlocked,
    VersionDamaged,
    VersionFinding,
    VersionUnavailable,
    check_name,
    check_word,
)
from vallum.models.registry.parts import Parts
from vallum.models.registry.scan_attester import ScanAttester, VerdictUnproven
from vallum.models.registry.signing_keys import RevokedNumbers, SigningKeys, SigningPlace
from vallum.models.registry.uploads import Completion, Uploads, key_of, manifest_of, stored_file, stored_files
from vallum.models.scan.forks import Scanner
from vallum.models.signing import (
    Difference,
    Manifest,
    ModelDiffers,
    Resource,
    SignatureRefused,
    TrustedKey,
    TrustPolicy,
)
from vallum.models.signing.bundle import open_bundle
from vallum.models.signing.manifest import differences

__all__ = ["Registry"]

_MAX_ENVELOPE_BYTES = 4 << 20
_STATES = ("quarantined", "available", "revoked")
_PLATFORM = "system:vallum"
_MAX_PROVEN = 64  # versions whose signatures are not verified again for each of their files
_IN_TOTO = "application/vnd.in-toto+json"


Alarm = Callable[[str, IntegrityError], None]
"""Hears of a version (NAME/NUMBER) that is not as it was signed, or whose verdict nothing proves."""

RecordedAt = Callable[[Connection, tuple[str, int, str]], datetime | None]
"""When the ledger recorded that this version of this model was made with this digest; None where it did not."""

WasRevoked = Callable[[Connection, str, int], bool]
"""Whether the ledger says that this version of this model was revoked."""


class Registry:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        open_blobs: Callable[[], BlobStore],
        spool: Path,
        trust: TrustPolicy,
        *,
        tenant: str,
        max_upload_bytes: int,
        attester: ScanAttester,
        recorded_at: RecordedAt,
        was_revoked: WasRevoked,
        revoked_keys: RevokedNumbers,
        signing: SigningPlace | None = None,
    ) -> None:
        """`open_blobs` is called when a file is first stored or read; `trust` is whose signatures count beside ours;
        `recorded_at` is since when the ledger knows of a version by its digest, `was_revoked` whether it says so,
        `revoked_keys` which signing keys it says were."""
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._open_blobs = open_blobs
        self._spool = spool
        self._trust = trust
        self._tenant = tenant
        self._attester = attester
        self._alarm: Alarm = lambda version, error: None
        self._proven: dict[tuple[bytes, TrustPolicy], dict[str, str]] = {}
        self._recorded_at = recorded_at
        self._was_revoked = was_revoked
        self._signing_keys = SigningKeys(records, keyring, clock, revoked_keys, signing)
        self._scanner = Scanner()
        self.uploads = Uploads(
            records,
            keyring,
            clock,
            lambda: self._artifacts,
            spool,
            self._signing_keys,
            trust,
            max_upload_bytes=max_upload_bytes,
            scan=self._scanner.scan,
        )
        self.parts = Parts(records, keyring, lambda: self._artifacts, self.uploads, max_upload_bytes)

    def close(self) -> None:
        """End the processes that scan. The next scan starts them anew."""
        self._scanner.close()

    @cached_property
    def _artifacts(self) -> Artifacts:
        return Artifacts(self._open_blobs(), self._spool)

    # Models.

    def register(
        self,
        conn: Connection,
        name: str,
        by: Subject,
        *,
        owner: str = "",
        classification: Classification = "internal",
        risk_class: RiskClass = "limited",
        description: str = "",
    ) -> RegisteredModel:
        """`owner` is who answers for it; whoever registers it without. Raises Invalid, Conflict for a name in use."""
        made = RegisteredModel(
            check_name(name), check_word(owner, "owner") or by.render(), classification, risk_class,
            check_word(description, "description"), format_time(self._clock.now()), by.render(),
        )  # fmt: skip
        values = {field: getattr(made, field) for field in RegisteredModel.__struct_fields__ if field != "aliases"}
        values |= {"tenant": self._tenant, "holder": by.holder, "newest": 0}
        row = upsert(conn, table.models).values(values).on_conflict_do_nothing().returning(table.models.c.name)
        if conn.execute(row).first() is None:
            raise Conflict(f"there is a registered model {name} already: upload a version of it, or take another name")
        return made

    def model(self, conn: Connection, name: str) -> RegisteredModel:
        """Raises NotFound."""
        row = conn.execute(select(table.models).where(table.models.c.name == name)).one_or_none()
        if row is None:
            raise NotFound(f"there is no registered model {name}")
        return _model(row, self.aliases(conn, name))

    def models(self, conn: Connection) -> list[RegisteredModel]:
        """By name."""
        query = select(table.aliases.c.model, table.aliases.c.alias, table.aliases.c.number)
        led: dict[str, dict[str, int]] = {}
        for model, alias, number in conn.execute(query):
            led.setdefault(model, {})[alias] = number
        rows = conn.execute(select(table.models).order_by(table.models.c.name))
        return [_model(row, led.get(row.name, {})) for row in rows]

    def aliases(self, conn: Connection, model: str) -> dict[str, int]:
        c = table.aliases.c
        rows = conn.execute(select(c.alias, c.number).where(c.model == model).order_by(c.alias))
        return {alias: number for alias, number in rows}  # noqa: C416  a row is no pair to the type checker

    def set_alias(self, conn: Connection, model: str, alias: str, number: int) -> None:
        """Called by a promotion alone: no route leads here. Raises NotFound, VersionUnavailable, Invalid."""
        check_name(alias)
        _require_available(self._row(conn, model, number, lock=True))
        values = {"model": model, "alias": alias, "number": number}
        moved = upsert(conn, table.aliases).values(values)
        conn.execute(moved.on_conflict_do_update(index_elements=["model", "alias"], set_={"number": number}))

    # Versions.

    def version(self, conn: Connection, model: str, number: int) -> ModelVersion:
        """Raises NotFound."""
        row = self._row(conn, model, number)
        return _version(row, [one.file for one in stored_files(conn, row.upload)])

    def versions(self, conn: Connection, model: str, *, limit: int = 20) -> list[ModelVersion]:
        """The newest first. Raises NotFound for a model that is not registered."""
        self.model(conn, model)
        c = table.versions.c
        rows = conn.execute(select(table.versions).where(c.model == model).order_by(c.number.desc()).limit(limit)).all()
        return [_version(row, [one.file for one in stored_files(conn, row.upload)]) for row in rows]

    def finish(self, conn: Connection, completion: Completion) -> ModelVersion:
        """Keep what came of completing an upload; of one completed before, the version that it has become.

        With the version its scan is attested. Raises as `Uploads.finish`.
        """
        if completion.is_there:
            return self.of_upload(conn, completion.upload)
        made = self.uploads.finish(conn, completion)
        signer, key = self._signing_keys.current(conn)
        self.attest(conn, made.model, made.number, self._attester.attest(made, key, signer), _PLATFORM)
        return made

    def of_upload(self, conn: Connection, upload: str) -> ModelVersion:
        """The version that a completed upload has become. Raises NotFound."""
        row = conn.execute(select(table.versions).where(table.versions.c.upload == upload)).one_or_none()
        if row is None:
            raise NotFound("there is no version of this upload")
        return _version(row, [one.file for one in stored_files(conn, upload)])

    def review(
        self,
        conn: Connection,
        model: str,
        number: int,
        by: Subject,
        decision: Literal["release", "reject"],
        note: str,
    ) -> ModelVersion:
        """Somebody else's decision about a version that the scanner could not judge.

        Raises NotFound, OwnRequest for the uploader whatever their account, VersionBlocked to release what was found
        harmful, VersionUnavailable when it is not in quarantine.
        """
        note = check_word(note, "note", 10)
        c = table.versions.c
        theirs = (c.created_by != by.render()) & ((c.holder == "") | (c.holder != by.holder))
        changed = _of(model, number).where(c.state == "quarantined", theirs)
        if decision == "release":
            changed = changed.where(c.verdict == "review").values(state="available")
        else:
            changed = changed.values(state="revoked", revoked_by=by.render(), revoked_reason=note)
        if conn.execute(changed.values(reviewed_by=by.render(), review_note=note)).rowcount != 1:
            row = self._row(conn, model, number)
            if row.created_by == by.render() or (row.holder and row.holder == by.holder):
                raise OwnRequest("you uploaded this yourself: somebody else reviews it")
            if row.state == "quarantined":
                raise VersionBlocked(
                    f"{model}/{number} was found harmful, and no review releases it: upload one without"
                )
            raise VersionUnavailable(f"{model}/{number} is {row.state}, and waits for no review")
        made = self.version(conn, model, number)
        if decision == "release":  # signed, since a word in the database is anybody's who writes into it
            signer, key = self._signing_keys.current(conn)
            self.attest(conn, model, number, self._attester.approve(made, self._clock.now(), key, signer), _PLATFORM)
        return made

    def revoke(self, conn: Connection, model: str, number: int, by: Subject, reason: str) -> ModelVersion:
        """For ever. Raises NotFound, VersionUnavailable for one that was revoked before."""
        reason = check_word(reason, "reason", 10)
        changed = _of(model, number).where(table.versions.c.state.in_(("quarantined", "available")))
        values = {"state": "revoked", "revoked_by": by.render(), "revoked_reason": reason}
        if conn.execute(changed.values(values)).rowcount != 1:
            self._row(conn, model, number)
            raise VersionUnavailable(f"{model}/{number} is revoked already")
        c = table.aliases.c
        conn.execute(table.aliases.delete().where(c.model == model, c.number == number))
        return self.version(conn, model, number)

    # Bytes.

    def checkout(self, model: str, number: int, folder: Path) -> ModelVersion:
        """The version's files below `folder`, which is made, or is empty and this user's alone.

        They are the bytes that its signature names, or nothing is there. Raises NotFound, VersionUnavailable, Invalid;
        SignatureRefused when nobody trusted signed it, ModelDiffers and VersionDamaged when anything is not as signed.
        """
        with self._alarmed(model, number):
            return self._checkout(model, number, folder)

    def _checkout(self, model: str, number: int, folder: Path) -> ModelVersion:
        row, stored, key = self._verified(model, number)
        is_made = _prepared(folder)
        try:
            self._artifacts.write(key, model, number, stored, folder)
            with self._records.read() as conn:  # what was revoked meanwhile is not loaded either
                _require_available(self._row(conn, model, number))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            if not is_made:
                folder.mkdir(mode=0o700, exist_ok=True)  # as it was: empty
            raise
        return _version(row, [one.file for one in stored])

    def verify(self, model: str, number: int) -> None:
        """Read every file as `checkout` does, and write none of them anywhere. Raises as it does."""
        with self._alarmed(model, number):
            _, stored, key = self._verified(model, number)
            for one in stored:
                for _ in self._artifacts.open(key, Place(model, number, one.file.path), one):
                    pass

    def tell_of_damage(self, alarm: Alarm) -> None:
        """`alarm` hears of whatever is refused from now on because it is not as it was signed."""
        self._alarm = alarm

    @contextmanager
    def _alarmed(self, model: str, number: int) -> Iterator[None]:
        try:
            yield
        except IntegrityError as e:
            self._alarm(f"{model}/{number}", e)
            raise

    def _verified(self, model: str, number: int) -> tuple[Row[Any], list[StoredFile], bytes]:
        """What the database has of a version that may be loaded, held against its signature; and its key."""
        with self._records.read() as conn:
            row = self._row(conn, model, number)
            _require_available(row)
            stored = stored_files(conn, row.upload)
            upload = conn.execute(select(table.uploads).where(table.uploads.c.id == row.upload)).one_or_none()
        self._require_not_revoked(row)
        self._verify(row, [one.file for one in stored])
        return row, stored, self._key_of(row, upload)

    def file(self, model: str, number: int, path: str) -> ModelFile:
        """As its version's signature names it. Raises NotFound, VersionUnavailable; as `checkout` for one that is not
        as it was signed."""
        return self._signed_file(model, number, path)[1].file

    def download(self, model: str, number: int, path: str) -> Iterator[bytes]:
        """One file in pieces, authentic each. Raises NotFound and VersionUnavailable; VersionDamaged as it is read."""
        _, stored, key = self._signed_file(model, number, path)

        def opened() -> Iterator[bytes]:
            with self._alarmed(model, number):
                yield from self._artifacts.open(key, Place(model, number, path), stored)

        return opened()

    def _signed_file(self, model: str, number: int, path: str) -> tuple[Row[Any], StoredFile, bytes]:
        with self._alarmed(model, number):
            with self._records.read() as conn:
                row = self._row(conn, model, number)
                _require_available(row)
                stored = _file(conn, row, path)
                upload = conn.execute(select(table.uploads).where(table.uploads.c.id == row.upload)).one_or_none()
            self._require_not_revoked(row)
            signed = self._proof(row)
            if signed.get(path) != stored.file.sha256:
                kind = "changed" if path in signed else "extra"
                raise ModelDiffers([Difference(kind, path)])
            return row, stored, self._key_of(row, upload)

    def _key_of(self, row: Row[Any], upload: Row[Any] | None) -> bytes:
        if upload is None:
            raise VersionDamaged(f"the key of {row.model}/{row.number} is gone from the database")
        return key_of(self._keyring, upload)

    def signature(self, model: str, number: int) -> bytes:
        """The version's signature (OMS 1.0). Raises NotFound, and VersionUnavailable in quarantine."""
        with self._records.read() as conn:
            row = self._row(conn, model, number)
            _require_available(row)
            return bytes(row.bundle)

    def signing_keys(self) -> Sequence[SigningKeyRecord]:
        """Public halves, the newest first."""
        return self._signing_keys.list()

    def rotate_signing_key(self, conn: Connection) -> SigningKeyRecord:
        """A fresh key signs from now on; what former ones signed goes on verifying. Raises Unavailable."""
        return self._signing_keys.rotate(conn)

    def revoke_signing_key(self, conn: Connection, number: int, reason: str, since: str | None) -> SigningKeyRecord:
        """For ever. `since` (RFC 3339) spares what the ledger recorded before. Raises NotFound, Conflict, Invalid."""
        try:
            from_ = None if since is None else datetime.fromisoformat(since)
            if from_ is not None and from_.tzinfo is not None:
                from_ = from_.astimezone(UTC)
        except (ValueError, OverflowError) as e:
            raise Invalid("since: a time with its zone, as in 2026-11-01T00:00:00Z") from e
        return self._signing_keys.revoke(conn, number, check_word(reason, "reason", 10), from_)

    def _verify(self, row: Row[Any], found: Sequence[ModelFile]) -> None:
        """The files that the database has are those that were signed, all of them and no others."""
        signed = Manifest(row.model, tuple(Resource(*one) for one in sorted(self._proof(row).items())))
        there = differences(signed, manifest_of(row.model, found))
        if there:
            raise ModelDiffers(there)

    def _require_not_revoked(self, row: Row[Any]) -> None:
        """Asked at every loading: a state in the database is set back by whoever writes into it, the ledger is not."""
        with self._records.read() as conn:
            if self._was_revoked(conn, row.model, row.number):
                raise VerdictUnproven(
                    f"{row.model}/{row.number} is {row.state} in the database, and the ledger says that it was revoked"
                )

    def _proof(self, row: Row[Any]) -> dict[str, str]:
        """The files by their digests, as somebody signed them who is trusted now, and the platform judged them.

        Held to when it was made: a certificate may be over since. Remembered for what was asked, byte for byte.
        """

        def recorded_at() -> datetime | None:
            with self._records.read() as conn:
                return self._recorded_at(conn, (row.model, row.number, row.digest))

        c = table.attestations.c
        query = select(c.predicate_type, c.envelope).where(c.model == row.model, c.number == row.number)
        with self._records.read() as conn:
            attested = [(kind, bytes(raw)) for kind, raw in conn.execute(query.where(c.by == _PLATFORM).order_by(c.id))]
        keys = self._signing_keys.trusted(recorded_at)
        asked = (_fingerprint(row, attested, keys), self._trust)
        if asked in self._proven:
            return self._proven[asked]
        if row.signer not in {key.name for key in keys} and self._signing_keys.is_revoked(row.signer):
            raise SignatureRefused(
                f"{row.model}/{row.number} was signed by {row.signer}, which is revoked: upload the model anew"
            )
        trust = TrustPolicy((*keys, *self._trust.keys), self._trust.certificates)
        signed, _, signer = open_bundle(bytes(row.bundle), trust, datetime.fromisoformat(row.created_at))
        if signer.name != row.signer:
            raise SignatureRefused(f"{row.model}/{row.number} is signed by {signer.name}, and not by {row.signer}")
        if signed.root != row.digest:
            raise ModelDiffers(())
        files = [ModelFile(one.name, one.digest, 0) for one in signed.resources]
        self._attester.require_proven(_version(row, files), attested, {key.name: key.pem for key in keys})
        if len(self._proven) >= _MAX_PROVEN:
            self._proven.clear()
        self._proven[asked] = {one.name: one.digest for one in signed.resources}
        return self._proven[asked]

    # What left the house.

    def count_egress(self, conn: Connection, subject: str, size: int) -> None:
        c, day = table.egress.c, format_time(self._clock.now())[:10]
        counted = upsert(conn, table.egress).values(subject=subject, day=day, size=size, downloads=1)
        more = {"size": c.size + size, "downloads": c.downloads + 1}
        conn.execute(counted.on_conflict_do_update(index_elements=["subject", "day"], set_=more))

    def egress(self, conn: Connection, *, subject: str | None = None, limit: int = 200) -> list[Egress]:
        """Per subject and day, the latest first."""
        c = table.egress.c
        query = select(c.subject, c.day, c.size, c.downloads).order_by(c.day.desc(), c.size.desc()).limit(limit)
        if subject is not None:
            query = query.where(c.subject == subject)
        return [Egress(*row) for row in conn.execute(query)]

    # Attestations.

    def attest(self, conn: Connection, model: str, number: int, envelope: bytes, by: str) -> Attestation:
        """Append a statement; none is ever changed or taken away. Who signed it is for whoever relies on it to verify.

        Raises NotFound, AttestationMalformed for what is no signed in-toto statement about this version.
        """
        version = self.version(conn, model, number)
        predicate_type = _predicate_type(envelope, {version.digest, *(file.sha256 for file in version.files)})
        at = format_time(self._clock.now())
        conn.execute(
            insert(table.attestations).values(
                id=new_id("att"),
                model=model,
                number=number,
                predicate_type=predicate_type,
                envelope=envelope,
                at=at,
                by=by,
            )
        )
        return Attestation(predicate_type, envelope, at, by)

    def attestations(self, conn: Connection, model: str, number: int) -> list[Attestation]:
        """The oldest first. Raises NotFound."""
        self._row(conn, model, number)
        c = table.attestations.c
        rows = conn.execute(select(table.attestations).where(c.model == model, c.number == number).order_by(c.id))
        return [Attestation(row.predicate_type, bytes(row.envelope), row.at, row.by) for row in rows]

    # What policy knows.

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        """Of a RegisteredModel or a ModelVersion; None when there is none."""
        if ref.kind == "RegisteredModel":
            with self._records.read() as conn:
                row = conn.execute(select(table.models).where(table.models.c.name == ref.id)).one_or_none()
            return None if row is None else AssetFacts(_model_facts(row) | {"holder": row.holder})
        model, _, text = ref.id.rpartition("/")
        if not (text.isascii() and text.isdigit() and len(text) < 10) or str(int(text)) != text:
            return None
        v, m = table.versions.c, table.models.c
        query = select(table.models, v.state, v.verdict, v.holder.label("uploader")).join(
            table.models, m.name == v.model
        )
        with self._records.read() as conn:
            row = conn.execute(query.where(v.model == model, v.number == int(text))).one_or_none()
        if row is None:
            return None
        told = {"model": model, "holder": row.uploader, "state": row.state, "verdict": row.verdict}
        return AssetFacts(_model_facts(row) | told, _STATES.index(row.state))

    def _row(self, conn: Connection, model: str, number: int, *, lock: bool = False) -> Row[Any]:
        c = table.versions.c
        query = select(table.versions).where(c.model == model, c.number == number)
        row = conn.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotFound(f"there is no version {number} of {model}")
        return row


def _prepared(folder: Path) -> bool:
    """True when it was made here. Raises Invalid for one where something lies, or that others could write into."""
    try:
        folder.mkdir(mode=0o700, parents=True)
        return True
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise Invalid(f"{folder}: a model is checked out into a folder for this user alone") from None
        if any(folder.iterdir()):
            raise Invalid(f"{folder}: a model is checked out into an empty folder, or a new one") from None
        return False
    except OSError as e:
        raise Invalid(f"{folder} cannot be made: {e.strerror}") from e


def _fingerprint(row: Row[Any], attested: Sequence[tuple[str, bytes]], keys: Sequence[TrustedKey]) -> bytes:
    said = (row.model, row.number, row.digest, row.signer, row.created_at, row.state, row.verdict, row.reviewed_by)
    whole = hashlib.sha256(msgspec.json.encode(said))
    for part in (bytes(row.bundle), *(raw for _, raw in attested), *(key.name.encode() + key.pem for key in keys)):
        whole.update(hashlib.sha256(part).digest())
    return whole.digest()


def _of(model: str, number: int) -> Update:
    return update(table.versions).where(table.versions.c.model == model, table.versions.c.number == number)


def _require_available(row: Row[Any]) -> None:
    if row.state == "available":
        return
    hint = ": somebody else than its uploader reviews it first" if row.state == "quarantined" else ""
    raise VersionUnavailable(f"{row.model}/{row.number} is {row.state}{hint}")


def _file(conn: Connection, row: Row[Any], path: str) -> StoredFile:
    c = table.files.c
    found = conn.execute(select(table.files).where(c.upload == row.upload, c.path == path)).one_or_none()
    if found is None:
        raise NotFound(f"{row.model}/{row.number} has no such file")
    p = table.parts.c
    pieces = select(table.parts).where(p.upload == row.upload, p.path == path).order_by(p.begin)
    return stored_file(found, [StoredPart(int(one.begin), int(one.size), one.blob) for one in conn.execute(pieces)])


def _model(row: Row[Any], led: dict[str, int]) -> RegisteredModel:
    values = {name: getattr(row, name) for name in RegisteredModel.__struct_fields__ if name != "aliases"}
    return RegisteredModel(**values, aliases=led)


def _version(row: Row[Any], found: Sequence[ModelFile]) -> ModelVersion:
    values = {name: getattr(row, name) for name in ModelVersion.__struct_fields__ if name not in ("files", "findings")}
    findings = msgspec.json.decode(row.findings, type=tuple[VersionFinding, ...])
    return ModelVersion(files=tuple(found), findings=findings, **values)


def _model_facts(row: Row[Any]) -> dict[str, Any]:
    return {
        "tenant": row.tenant,
        "owner": row.owner,
        "classification": row.classification,
        "risk_class": row.risk_class,
    }


def _predicate_type(envelope: bytes, digests: set[str]) -> str:
    """What kind of statement it is. Raises AttestationMalformed unless it is one about one of `digests`."""
    if len(envelope) > _MAX_ENVELOPE_BYTES:
        raise AttestationMalformed(f"an attestation has at most {_MAX_ENVELOPE_BYTES} bytes")
    try:
        outer = msgspec.json.decode(envelope, type=_Envelope)
        if outer.payloadType != _IN_TOTO:
            raise AttestationMalformed("an attestation is an in-toto statement in a DSSE envelope")
        inner = msgspec.json.decode(base64.b64decode(outer.payload, validate=True), type=_Statement)
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, ValueError, RecursionError) as e:
        raise AttestationMalformed("an attestation is an in-toto statement in a signed DSSE envelope, as JSON") from e
    if not outer.signatures or not inner.predicateType or not inner.predicateType.isprintable():
        raise AttestationMalformed("an attestation is signed, and names its predicate's type")
    if not any(subject.digest.get("sha256") in digests for subject in inner.subject):
        raise AttestationMalformed("the statement is not about this version: no subject has its digest or a file's")
    return inner.predicateType


class _Signature(msgspec.Struct, frozen=True):
    sig: str


class _Envelope(msgspec.Struct, frozen=True):
    payloadType: str
    payload: str
    signatures: list[_Signature]


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True):
    predicateType: str
    subject: list[_Subject]
