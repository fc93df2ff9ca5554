"""The catalogue: data sets by name, their immutable versions, who used them, what left, and who may have which column.

Rows are read through `open_rows` alone: of a version that is available, columns of personal data only for the purpose
that the version was taken in for, and only those that the caller's decision allows. Everything else comes masked, and
what is masked is not even decrypted. Answers a reader who takes more than was decided, a database that says a version
is available whose key was destroyed, and a store that serves another version's rows.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.erased import ErasedPeople
from vallum.data.catalogue.erasure import Erasures
from vallum.data.catalogue.exports import Exports
from vallum.data.catalogue.field_keys import KeptFieldKeys
from vallum.data.catalogue.intake import Intakes
from vallum.data.catalogue.model import (
    RETENTION_DAYS,
    DataHeld,
    DataSet,
    DataSetVersion,
    DataUse,
    check_data_name,
    check_purpose,
    check_reason,
    check_words,
)
from vallum.data.catalogue.parts import Parts
from vallum.data.catalogue.ports import BlobStore, SignReport
from vallum.data.catalogue.private_statistics import PrivateStatistics
from vallum.data.catalogue.quarantine import Desk
from vallum.data.catalogue.retention import Retention
from vallum.data.catalogue.shredding import destroy_unused_keys
from vallum.data.catalogue.treating import KeptTreatments
from vallum.data.catalogue.treatments import TreatmentPolicy
from vallum.data.catalogue.verifying import verify_version
from vallum.data.catalogue.versions import (
    columns_of,
    key_of,
    layout_of,
    open_report,
    require_available,
    row_of,
    version_of,
)
from vallum.inventory.model import Classification
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.keys import Keyring
from vallum.kernel.policy import AssetFacts
from vallum.kernel.policy.changes import OwnRequest
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import AssetRef, Subject

if TYPE_CHECKING:
    import polars as pl

    from vallum.data.classify import SpanClassifier

__all__ = ["DataCatalogue", "Rows"]

_PRIVATE = ("confidential", "restricted")
_ORPHANED_SECONDS = 86_400


class Rows(msgspec.Struct, frozen=True):
    """What is about to be read: how much of it, and which columns come masked."""

    version: DataSetVersion
    columns: tuple[str, ...]
    masked: tuple[str, ...]


class DataCatalogue:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        open_blobs: Callable[[], BlobStore],
        spool: Path,
        sign: SignReport,
        *,
        tenant: str,
        max_source_bytes: int,
        finder: "Callable[[], SpanClassifier] | None" = None,
        policy: TreatmentPolicy = TreatmentPolicy(),
        retention_days: Mapping[str, int] = RETENTION_DAYS,
    ) -> None:
        """`finder` finds what is in texts (the rules alone without); `policy` says what is never kept untreated.
        `open_blobs` is called when rows are first stored or read; `sign` is whoever signs reports."""
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._open_blobs = open_blobs
        self._tenant = tenant
        self._sign = sign
        keys = KeptFieldKeys(records, keyring)
        self._parts = Parts(lambda: self._blobs, keys)
        self.treatments = KeptTreatments(records, keyring, keys, finder or _rules)
        self.erased = ErasedPeople(records, keyring)
        self.intakes = Intakes(
            records, keyring, clock, lambda: self._blobs, self._parts, spool, sign, max_source_bytes=max_source_bytes,
            treatments=self.treatments, finder=finder or _rules, policy=policy, erased=self.erased,
            retention_days=retention_days,
        )  # fmt: skip
        self.statistics = PrivateStatistics(records, keyring, clock, self._parts)
        self.field_keys = keys
        self.desk = Desk(records, keyring, clock, self._parts, sign)
        self.exports = Exports(clock)
        self.retention = Retention(clock)
        self.erasures = Erasures(
            records, keyring, clock, self._parts, sign, self.intakes, self.treatments, self.erased
        )  # fmt: skip

    @cached_property
    def _blobs(self) -> BlobStore:
        return self._open_blobs()

    # Data sets.

    def create(
        self,
        conn: Connection,
        name: str,
        by: Subject,
        *,
        owner: str = "",
        classification: Classification = "internal",
        description: str = "",
        purpose: str = "",
        licence: str = "",
    ) -> DataSet:
        """`owner` is who answers for it; whoever creates it without. Raises Invalid, Conflict for a name in use."""
        values = {
            "name": check_data_name(name), "tenant": self._tenant, "holder": by.holder,
            "owner": check_words(owner, "owner") or by.render(), "classification": classification,
            "description": check_words(description, "description"), "purpose": check_purpose(purpose),
            "licence": check_words(licence, "licence"), "created_at": format_time(self._clock.now()),
            "created_by": by.render(), "newest": 0, "hold": "",
        }  # fmt: skip
        row = upsert(conn, table.data_sets).values(values).on_conflict_do_nothing().returning(table.data_sets.c.name)
        if conn.execute(row).first() is None:
            raise Conflict(f"there is a data set {name} already: take a version of it in, or take another name")
        return self.data_set(conn, name)

    def data_set(self, conn: Connection, name: str) -> DataSet:
        """Raises NotFound."""
        return _data_set(self._set_row(conn, name))

    def data_sets(self, conn: Connection) -> list[DataSet]:
        """By name."""
        return [_data_set(row) for row in conn.execute(select(table.data_sets).order_by(table.data_sets.c.name))]

    def hold(self, conn: Connection, name: str, reason: str, by: Subject) -> DataSet:
        """From now on nothing of it is erased, destroyed or expires. Raises NotFound, DataHeld."""
        reason = check_reason(reason)
        d = table.data_sets.c
        held = update(table.data_sets).where(d.name == name, d.hold == "").values(hold=reason, held_by=by.render())
        if conn.execute(held).rowcount != 1:
            self._set_row(conn, name)
            raise DataHeld(f"{name} is under legal hold already")
        return self.data_set(conn, name)

    def release_hold(self, conn: Connection, name: str) -> DataSet:
        """Raises NotFound; Conflict where there is no hold."""
        d = table.data_sets.c
        freed = update(table.data_sets).where(d.name == name, d.hold != "").values(hold="", held_by=None)
        if conn.execute(freed).rowcount != 1:
            self._set_row(conn, name)
            raise Conflict(f"{name} is under no legal hold")
        return self.data_set(conn, name)

    # Versions.

    def version(self, conn: Connection, dataset: str, number: int) -> DataSetVersion:
        """Raises NotFound."""
        return version_of(row_of(conn, dataset, number))

    def versions(self, conn: Connection, dataset: str, *, limit: int = 20) -> list[DataSetVersion]:
        """The newest first. Raises NotFound for a data set that is not there."""
        self._set_row(conn, dataset)
        v = table.versions.c
        rows = conn.execute(select(table.versions).where(v.dataset == dataset).order_by(v.number.desc()).limit(limit))
        return [version_of(row) for row in rows]

    def report(self, conn: Connection, dataset: str, number: int) -> dict[str, Any]:
        """What intake found. Raises NotFound, DataUnavailable for what was erased."""
        found: dict[str, Any] = msgspec.json.decode(self.signed_report(conn, dataset, number)[0])
        return found

    def signed_report(self, conn: Connection, dataset: str, number: int) -> tuple[bytes, bytes]:
        """The report as it was hashed, and the envelope that names its digest. Raises as `report` does."""
        row = row_of(conn, dataset, number)
        report = open_report(key_of(self._keyring, "version", row), row.id, bytes(row.report))
        return report, bytes(row.envelope)

    def contract(self, conn: Connection, dataset: str, number: int) -> bytes:
        """Raises NotFound."""
        return bytes(row_of(conn, dataset, number).contract)

    def verify(self, dataset: str, number: int) -> None:
        """Read every part of a version and hold all of it against what was signed at intake. Raises NotFound,
        DataUnavailable, DataSetDamaged, SealBroken, and what the signer raises of IntegrityError."""
        with self._records.read() as conn:
            row = row_of(conn, dataset, number)
        verify_version(row, key_of(self._keyring, "version", row), self._parts, self._sign)

    def approve(self, conn: Connection, dataset: str, number: int, by: Subject, note: str) -> DataSetVersion:
        """Vouch for a version, for promotions to rest on. Raises NotFound, OwnRequest for whoever took it in,
        DataUnavailable, Conflict for one that is approved."""
        note = check_reason(note)
        row = row_of(conn, dataset, number, lock=True)
        require_available(row)
        if row.created_by == by.render() or (row.holder and row.holder == by.holder):
            raise OwnRequest("you took this version in yourself: somebody else approves it")
        v = table.versions.c
        change = update(table.versions).where(v.id == row.id, v.state == "available", v.approved_by.is_(None))
        at = format_time(self._clock.now())
        if conn.execute(change.values(approved_by=by.render(), approved_at=at, approval_note=note)).rowcount != 1:
            raise Conflict(f"{dataset}/{number} is approved already")
        return self.version(conn, dataset, number)

    # Lineage.

    def use(
        self,
        conn: Connection,
        dataset: str,
        number: int,
        kind: Literal["run", "model", "release", "index"],
        used_by: str,
        by: Subject,
    ) -> DataUse:
        """Record that something was made from a version. Said twice, it is said once. Raises NotFound, Invalid,
        DataUnavailable: nothing is made from what nobody may read."""
        require_available(row_of(conn, dataset, number))
        used_by = check_words(used_by, "used_by")
        if not used_by:
            raise Invalid("used_by: name what was made from it, as in churn/3")
        values: dict[str, Any] = {
            "dataset": dataset, "number": number, "kind": kind, "used_by": used_by,
            "at": format_time(self._clock.now()), "by": by.render(),
        }  # fmt: skip
        conn.execute(upsert(conn, table.uses).values(values).on_conflict_do_nothing())
        return DataUse(**values)

    def uses(self, conn: Connection, dataset: str, number: int | None = None) -> list[DataUse]:
        """Of a version, or of all. Raises NotFound."""
        u = table.uses.c
        self._set_row(conn, dataset)
        query = select(table.uses).where(u.dataset == dataset).order_by(u.number, u.at)
        rows = conn.execute(query if number is None else query.where(u.number == number))
        return [DataUse(**{name: getattr(row, name) for name in DataUse.__struct_fields__}) for row in rows]

    def unapproved(self, conn: Connection, model: str, number: int) -> Sequence[str] | None:
        """The versions that a model was trained on and that are not approved, or of which rows were since found that
        nobody may use; None where nothing is known of the model."""
        u, v = table.uses.c, table.versions.c
        used_by = f"{model}/{number}"
        query = select(v.dataset, v.number, v.state, v.approved_by).join(
            table.uses, (u.dataset == v.dataset) & (u.number == v.number)
        )
        rows = conn.execute(query.where(u.kind == "model", u.used_by == used_by).order_by(v.dataset, v.number)).all()
        if not rows:
            return None
        found = [f"{row.dataset}/{row.number}" for row in rows if row.state != "available" or row.approved_by is None]
        held = self.desk.affecting(conn, used_by, {row.dataset for row in rows})
        return [*found, *(name for name in held if name not in found)]

    # Rows.

    def plan_rows(
        self,
        dataset: str,
        number: int,
        purpose: str,
        allowed: Callable[[str], bool],
        columns: Collection[str] | None = None,
    ) -> Rows:
        """What a reader is about to get. `allowed` says of a column of personal data whether the decision has it.

        Raises NotFound, DataUnavailable; Invalid for a column that is not there.
        """
        with self._records.read() as conn:
            row = row_of(conn, dataset, number)
        require_available(row)
        version = version_of(row)
        there = [c.name for c in version.columns]
        for name in columns or ():
            if name not in there:
                raise Invalid(f"{version.id} has no column {name[:100]!r}")
        wanted = tuple(name for name in there if columns is None or name in columns)
        fits = bool(purpose) and purpose == version.purpose
        masked = tuple(
            c.name
            for c in version.columns
            if c.name in wanted and c.classification in _PRIVATE and not (fits and allowed(c.name))
        )
        return Rows(version, wanted, masked)

    def open_rows(self, plan: Rows) -> "Iterator[pl.DataFrame]":
        """Frames in order. Raises DataUnavailable for a version that is gone; DataSetDamaged, as it is read."""
        with self._records.read() as conn:
            row = row_of(conn, plan.version.dataset, plan.version.number)
        require_available(row)
        key = key_of(self._keyring, "version", row)
        return self._parts.read(
            key, row.dataset, layout_of(row), columns_of(row), only=plan.columns, masked=plan.masked
        )  # fmt: skip

    def empty_rows(self, plan: Rows) -> "pl.DataFrame":
        """The shape of what `open_rows` yields, for a version without a row."""
        import polars as pl

        with self._records.read() as conn:
            row = row_of(conn, plan.version.dataset, plan.version.number)
        types = self._parts.schema(layout_of(row)).schema
        return pl.DataFrame(schema={n: pl.String if n in plan.masked else types[n] for n in plan.columns})

    # Blobs.

    def tidy(self) -> None:
        """Delete blobs that nothing opens any more (of intakes that are over, of keys that were destroyed), and seal
        marks of people who were erased under the newest key."""
        self.intakes.tidy()
        self.erased.keep_sealed()
        with self._records.write() as conn:
            if destroy_unused_keys(conn):
                erase_copies(conn)
        with self._records.read() as conn:
            shredded = [
                (kind, row)
                for kind in (table.versions, table.cases)
                for row in conn.execute(select(kind).where(kind.c.sealed_key == b""))
            ]
        for kind, row in shredded:
            layout = layout_of(row)
            if not layout.parts:
                continue
            self._parts.drop(part.blob for part in layout.parts)
            empty = msgspec.json.encode(msgspec.structs.replace(layout, parts=()))
            with self._records.write() as conn:
                conn.execute(update(kind).where(kind.c.id == row.id, kind.c.sealed_key == b"").values(parts=empty))
        before = time() - _ORPHANED_SECONDS
        self._parts.sweep(self._named_blobs(), lambda made: _made_at_seconds(made) < before)

    def _named_blobs(self) -> dict[str, frozenset[str] | None]:
        with self._records.read() as conn:
            named: dict[str, frozenset[str] | None] = dict.fromkeys(conn.execute(select(table.intakes.c.id)).scalars())
            for kind in (table.versions, table.cases):
                for row in conn.execute(select(kind)):
                    named[row.id] = frozenset(part.blob for part in layout_of(row).parts)
        return named

    # What policy knows.

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        """Of a DataSet, a DataSetVersion, a DataColumn (`NAME/NUMBER/COLUMN`) or a QuarantineCase."""
        with self._records.read() as conn:
            match ref.kind:
                case "DataSet":
                    row = self._find_set(conn, ref.id)
                    return None if row is None else _facts(_set_facts(row) | {"holder": row.holder})
                case "QuarantineCase":
                    return self._case_facts(conn, ref.id)
            name, _, rest = ref.id.partition("/")
            text, slash, column = rest.partition("/")
            if not (text.isascii() and text.isdigit() and len(text) < 10) or str(int(text)) != text:
                return None
            of = self._find_set(conn, name)
            if of is None or (ref.kind == "DataColumn") is not bool(slash):
                return None
            try:
                row = row_of(conn, name, int(text))
            except NotFound:
                return None
        told = {
            **_set_facts(of), "holder": row.holder, "dataset": name, "state": row.state,
            "classification": row.classification, "approved": row.approved_by is not None, "purpose": row.purpose,
        }  # fmt: skip
        if ref.kind == "DataSetVersion":
            return _facts(told)
        found = next((c for c in columns_of(row) if c.name == column), None)
        if found is None:
            return None
        return _facts(
            {"tenant": of.tenant, "owner": of.owner, "holder": row.holder, "dataset": name, "column": column,
             "classification": found.classification, "purpose": row.purpose}
        )  # fmt: skip

    def _case_facts(self, conn: Connection, case: str) -> AssetFacts | None:
        row = conn.execute(select(table.cases).where(table.cases.c.id == case)).one_or_none()
        of = self._find_set(conn, row.dataset) if row is not None else None
        if row is None or of is None:
            return None
        return _facts(_set_facts(of) | {"holder": row.holder, "dataset": row.dataset, "state": row.state})

    def _find_set(self, conn: Connection, name: str) -> Row[Any] | None:
        return conn.execute(select(table.data_sets).where(table.data_sets.c.name == name)).one_or_none()

    def _set_row(self, conn: Connection, name: str) -> Row[Any]:
        row = self._find_set(conn, name)
        if row is None:
            raise NotFound(f"there is no data set {name}")
        return row


@cache
def _rules() -> "SpanClassifier":
    from vallum.data.classify import SpanClassifier

    return SpanClassifier()


def _data_set(row: Row[Any]) -> DataSet:
    return DataSet(**{name: getattr(row, name) for name in DataSet.__struct_fields__})


def _set_facts(row: Row[Any]) -> dict[str, Any]:
    return {
        "tenant": row.tenant, "owner": row.owner, "classification": row.classification, "held": row.hold != "",
    }  # fmt: skip


def _facts(attributes: dict[str, Any]) -> AssetFacts:
    """Decisions are kept for one version of an asset: any of these attributes makes another."""
    said = msgspec.json.encode(attributes, order="sorted")
    return AssetFacts(attributes, int.from_bytes(hashlib.sha256(said).digest()[:7]))


def _made_at_seconds(owner: str) -> float:
    """An id's own time (kernel.ids); one that is no id of ours was never made here, and is left alone."""
    alphabet, body = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", owner.partition("_")[2][:10]
    value = 0
    for char in body:
        if char not in alphabet:
            return time()
        value = value * 32 + alphabet.index(char)
    return value / 1000 if len(body) == 10 else time()
