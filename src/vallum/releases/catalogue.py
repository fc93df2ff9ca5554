"""The catalogue of releases: building, reading, what is said of them, and revoking.

A release is built once and never changes; only its state does. Whoever can write the database cannot make or alter one
unseen: the manifest is read out of its signed envelope each time, and the row is held against it. Prompt templates may
hold secrets: they lie sealed under the purpose `content`, and elsewhere there are digests of them.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError as RowExists

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring, Purpose
from vallum.kernel.policy import AssetFacts, OwnRequest, PolicyStore
from vallum.kernel.policy.changes import check_note, check_reason
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, TenantId
from vallum.kernel.values import Subject as Who
from vallum.releases import records as table
from vallum.releases.errors import ManifestRefused, ReleaseBroken, ReleaseRevoked
from vallum.releases.indexes import Indexes
from vallum.releases.manifest import (
    Declaration,
    Manifest,
    ManifestModel,
    decode_manifest,
    encode_manifest,
    highest,
    not_enforceable,
    prompt_digests,
)
from vallum.releases.model import Evidence, EvidenceKind, Release
from vallum.releases.ports import Applications, ModelRegistry
from vallum.releases.statements import (
    EVIDENCE,
    MANIFEST,
    Statements,
    Subject,
    predicate_of,
    stored_bytes,
    unverified_application,
)

__all__ = ["Catalogue", "WasRevoked", "check_parts", "version_of"]

MANIFEST_SIGNER = "manifests"
_MAX_LISTED = 500

WasRevoked = Callable[[Connection, str], bool]
"""Whether the ledger says that this release was revoked."""


class Catalogue:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        statements: Statements,
        clock: Clock,
        registry: ModelRegistry,
        applications: Applications,
        policies: PolicyStore,
        was_revoked: WasRevoked,
        indexes: Indexes,
    ) -> None:
        self._records = records
        self._keyring = keyring
        self._statements = statements
        self._clock = clock
        self._registry = registry
        self._applications = applications
        self._policies = policies
        self._was_revoked = was_revoked
        self.indexes = indexes

    # Building.

    def build(self, conn: Connection, wanted: Declaration, by: Who) -> Release:
        """Raises ManifestRefused, NotFound for a part that is not there, ReleaseRevoked, and Conflict for one that is
        built already."""
        problems = [*wanted.problems(), *not_enforceable(wanted)]
        if problems:
            raise ManifestRefused("the release has problems:\n" + "\n".join(f"  - {problem}" for problem in problems))
        manifest = self._manifest_of(conn, wanted)
        raw = encode_manifest(manifest)
        digest = sha256(raw).hexdigest()
        before = conn.execute(select(table.releases).where(table.releases.c.digest == digest)).one_or_none()
        if before is not None and before.state == "revoked":
            raise ReleaseRevoked(f"exactly this was built as {before.id} and revoked: change what was wrong with it")
        if before is not None:
            raise Conflict(f"exactly this is built already: {before.id}")
        subjects = (Subject(f"release:{manifest.product}", {"sha256": digest}), *_model_subjects(manifest))
        values: dict[str, Any] = {
            "id": new_id("rel"),
            "tenant": by.tenant,
            "product": manifest.product,
            "digest": digest,
            "envelope": self._statements.sign(conn, MANIFEST_SIGNER, MANIFEST, subjects, manifest),
            "classification": manifest.classification,
            "risk_class": manifest.risk_class,
            "models": msgspec.json.encode([f"{one.name}/{one.version}" for one in manifest.models]).decode(),
            "state": "built",
            "built_by": by.render(),
            "holder": by.holder or by.render(),
            "built_at": format_time(self._clock.now()),
            "revoked_by": None,
            "revoked_at": None,
            "reason": "",
        }
        try:
            conn.execute(insert(table.releases).values(values))
        except RowExists as e:
            raise Conflict("exactly this was built by somebody else just now") from e
        for prompt in wanted.prompts:
            sealed = self._keyring.seal(
                TenantId(by.tenant), Purpose.CONTENT, prompt.text.encode(), _place(values["id"], prompt.name), conn=conn
            )
            conn.execute(insert(table.prompts).values(release=values["id"], name=prompt.name, sealed=sealed))
        self.indexes.use(conn, manifest, values["id"], by)
        return _release(values)

    def _manifest_of(self, conn: Connection, wanted: Declaration) -> Manifest:
        classes: list[str] = [wanted.classification]
        risks: list[str] = [wanted.risk_class]
        models = []
        for declared in sorted(wanted.models, key=lambda model: model.name):
            version = version_of(conn, self._registry, declared.name, declared.version)
            models.append(ManifestModel(declared.name, declared.version, version.digest, declared.serving))
            facts = self._registry.facts(AssetRef("RegisteredModel", declared.name))
            attributes = facts.attributes if facts is not None else {}
            classes.append(str(attributes.get("classification", "")))
            risks.append(str(attributes.get("risk_class", "")))
        application = None
        if wanted.application is not None:
            application = self._applications.policy(conn, wanted.application)
            if application is None:
                raise NotFound(f"there is no application {wanted.application}: vallum apply declares it")
            classes.append(application.classification)
        indexes = self.indexes.bind(conn, wanted.indexes)
        classes += [classification for _, classification in indexes]
        classification, risk_class = highest(classes, risks)
        return Manifest(
            v=1,
            product=wanted.product,
            classification=classification,
            risk_class=risk_class,
            application=application,
            models=tuple(models),
            prompts=prompt_digests(wanted.prompts),
            tools=tuple(sorted(wanted.tools)),
            indexes=tuple(index for index, _ in indexes),
            policy=self._policies.in_force(conn),
            dependencies=wanted.dependencies,
        )

    # Reading.

    def release(self, conn: Connection, release_id: str) -> Release:
        """Raises NotFound."""
        return _release(self._row(conn, release_id)._mapping)

    def listed(self, product: str | None = None, model: str | None = None) -> list[Release]:
        """Newest first; with `model` (NAME/NUMBER), those that hold that version."""
        query = select(table.releases).order_by(table.releases.c.built_at.desc()).limit(_MAX_LISTED)
        if product is not None:
            query = query.where(table.releases.c.product == product)
        if model is not None:
            held = msgspec.json.encode(model).decode()
            query = query.where(table.releases.c.models.contains(held, autoescape=True))
        with self._records.read() as conn:
            return [_release(row._mapping) for row in conn.execute(query)]

    def manifest(self, conn: Connection, release_id: str, *, lock: bool = False) -> tuple[Release, Manifest]:
        """A release and what was signed. With `lock` nobody revokes it until the transaction ends.

        Raises NotFound, and ReleaseBroken when anything of it is not what was signed, or the ledger says that it was
        revoked and its row does not.
        """
        row = self._row(conn, release_id, lock=lock)
        statement = self._statements.verify(conn, MANIFEST_SIGNER, MANIFEST, row.envelope)
        raw = bytes(statement.predicate)
        manifest, digest = decode_manifest(raw), sha256(raw).hexdigest()
        subjects = (Subject(f"release:{manifest.product}", {"sha256": digest}), *_model_subjects(manifest))
        release, models = _release(row._mapping), tuple(f"{one.name}/{one.version}" for one in manifest.models)
        stands = (row.digest, row.product, row.classification, row.risk_class, release.models)
        signed = (digest, manifest.product, manifest.classification, manifest.risk_class, models)
        if statement.subject != subjects or stands != signed:
            raise ReleaseBroken(f"{release_id} is not what was signed under that digest")
        if release.state != "revoked" and self._was_revoked(conn, release_id):
            raise ReleaseBroken(f"{release_id} is {release.state} in the database, and revoked by the ledger")
        return release, manifest

    def envelope(self, conn: Connection, release_id: str) -> bytes:
        """The signed statement as DSSE's JSON, for others to verify. Raises NotFound."""
        return bytes(self._row(conn, release_id).envelope)

    def prompts(self, release_id: str) -> dict[str, str]:
        """The templates' texts, each held against its digest. Raises NotFound, ReleaseBroken, SealBroken."""
        with self._records.read() as conn:
            return self.prompts_of(conn, *self.manifest(conn, release_id))

    def prompts_of(self, conn: Connection, release: Release, manifest: Manifest) -> dict[str, str]:
        """As `prompts`, of a release whose manifest was verified."""
        rows = conn.execute(select(table.prompts).where(table.prompts.c.release == release.id)).all()
        found = {
            row.name: self._keyring.open(
                TenantId(release.tenant), Purpose.CONTENT, stored_bytes(row.sealed), _place(release.id, row.name)
            ).decode()
            for row in rows
        }
        digests = {name: sha256(text.encode()).hexdigest() for name, text in found.items()}
        if digests != {prompt.name: prompt.sha256 for prompt in manifest.prompts}:
            raise ReleaseBroken(f"the prompt templates of {release.id} are not those that were signed")
        return found

    def claimed_application(self, conn: Connection, release_id: str) -> str | None:
        """Whose application a release says it holds, though nothing of it may verify: for refusing alone."""
        try:
            return unverified_application(stored_bytes(self._row(conn, release_id).envelope))
        except (NotFound, ReleaseBroken):
            return None

    # What is said of it.

    def attest(
        self, conn: Connection, release_id: str, kind: EvidenceKind, passed: bool, report: str, note: str, by: Who
    ) -> Evidence:
        """Add signed evidence. Nobody vouches for data or against threats of what they built: raises OwnRequest."""
        row = self._row(conn, release_id)
        if kind != "tests" and row.holder in (by.holder, by.render()):
            raise OwnRequest("you built this yourself: somebody else reviews it")
        if row.state == "revoked":
            raise ReleaseRevoked(f"{release_id} was revoked: evidence changes nothing about that")
        said = Evidence(
            new_id("evi"), release_id, kind, passed, report, check_note(note), by.render(),
            format_time(self._clock.now()),
        )  # fmt: skip
        envelope = self._statements.sign(conn, MANIFEST_SIGNER, EVIDENCE, [_subject(row)], said)
        values = {"id": said.id, "release": release_id, "kind": kind, "envelope": envelope}
        conn.execute(insert(table.evidence).values(values))
        return said

    def evidence(self, conn: Connection, release_id: str) -> list[Evidence]:
        """Oldest first; each verified, and about this very manifest. Raises NotFound, ReleaseBroken."""
        row = self._row(conn, release_id)
        query = select(table.evidence).where(table.evidence.c.release == release_id).order_by(table.evidence.c.id)
        found = []
        for kept in conn.execute(query):
            statement = self._statements.verify(conn, MANIFEST_SIGNER, EVIDENCE, kept.envelope)
            said: Evidence = predicate_of(statement, Evidence)
            if statement.subject != (_subject(row),) or (said.id, said.kind) != (kept.id, kept.kind):
                raise ReleaseBroken(f"evidence {kept.id} is not about {release_id}")
            found.append(said)
        return sorted(found, key=lambda said: said.at)

    # Revoking.

    def revoke(self, conn: Connection, release_id: str, reason: str, by: Who) -> Release:
        """For good. What runs it is `Environments.revoke`'s. Raises NotFound, Conflict."""
        reason = check_reason(reason)
        c = table.releases.c
        values = {"state": "revoked", "revoked_by": by.render(), "reason": reason}
        at = format_time(self._clock.now())
        done = conn.execute(
            update(table.releases).where(c.id == release_id, c.state == "built").values(**values, revoked_at=at)
        )
        if done.rowcount != 1:
            self._row(conn, release_id)
            raise Conflict(f"{release_id} is revoked already")
        return self.release(conn, release_id)

    def facts(self, release_id: str) -> AssetFacts | None:
        """What policy knows of a release: whose it is, as a human being, and its classes."""
        c = table.releases.c
        query = select(c.tenant, c.holder, c.classification, c.risk_class, c.product).where(c.id == release_id)
        with self._records.read() as conn:
            row = conn.execute(query).one_or_none()
        return AssetFacts(dict(row._mapping)) if row is not None else None

    def builder(self, conn: Connection, release_id: str) -> str:
        """The human being who built it."""
        return str(self._row(conn, release_id).holder)

    def _row(self, conn: Connection, release_id: str, *, lock: bool = False) -> Any:
        query = select(table.releases).where(table.releases.c.id == release_id)
        row = conn.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotFound(f"there is no release {release_id}")
        return row


def version_of(conn: Connection, registry: ModelRegistry, name: str, number: int) -> Any:
    """A version that may run. Raises NotFound, ReleaseRevoked, Conflict."""
    version = registry.version(conn, name, number)
    if version.state == "revoked":
        raise ReleaseRevoked(f"model version {name}/{number} was revoked: build a release with another version")
    if version.state != "available":
        raise Conflict(f"model version {name}/{number} is {version.state}: vallum models show {name}/{number}")
    return version


def check_parts(conn: Connection, registry: ModelRegistry, release: Release, manifest: Manifest) -> None:
    """Neither the release nor a model version in it was revoked, and each is the one that was signed.

    Raises ReleaseRevoked, Conflict, ReleaseBroken.
    """
    if release.state == "revoked":
        raise ReleaseRevoked(f"{release.id} was revoked ({release.reason}): build another")
    for model in manifest.models:
        try:
            version = version_of(conn, registry, model.name, model.version)
        except NotFound as e:
            raise ReleaseBroken(f"the registry has no {model.name}/{model.version} any more") from e
        if version.digest != model.digest:
            raise ReleaseBroken(f"{model.name}/{model.version} in the registry is not the one in {release.id}")


def _model_subjects(manifest: Manifest) -> tuple[Subject, ...]:
    return tuple(Subject(f"{model.name}/{model.version}", {"sha256": model.digest}) for model in manifest.models)


def _subject(row: Any) -> Subject:
    return Subject(f"release:{row.product}", {"sha256": row.digest})


def _place(release_id: str, name: str) -> bytes:
    return b"release_prompts\x00sealed\x00" + release_id.encode() + b"\x00" + name.encode()


def _release(row: Any) -> Release:
    values = {name: row[name] for name in Release.__struct_fields__}
    try:
        models = msgspec.json.decode(values["models"], type=tuple[str, ...])
    except (msgspec.MsgspecError, TypeError, ValueError) as e:
        raise ReleaseBroken(f"{values['id']} is not what was signed: its models cannot be read") from e
    return Release(**{**values, "models": models})
