"""Versions and cases as they are kept: their keys, their rows' layout, and the record that becomes a `DataSetVersion`.

A version's key is drawn for it alone and sealed under the keyring's purpose `fields`; destroying that record destroys
the version, and no other.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from os import urandom
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import (
    RETENTION_DAYS,
    Against,
    CaseRow,
    DataSetDamaged,
    DataSetVersion,
    DataUnavailable,
    QuarantineCase,
    VersionColumn,
    highest_class,
)
from vallum.data.catalogue.parts import Layout
from vallum.data.catalogue.ports import SignReport
from vallum.inventory.model import CLASSIFICATIONS
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import NotFound
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose, SealBroken, decrypt_stream, encrypt_stream

__all__ = [
    "NewCase",
    "NewVersion",
    "case_of",
    "columns_of",
    "draw_key",
    "insert_case",
    "insert_version",
    "key_of",
    "layout_of",
    "open_report",
    "require_available",
    "row_of",
    "seal_report",
    "version_of",
]

MAX_REASONS = 10_000
_NOTHING = Against()


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is to become a version, sealed and in place; it has no number yet."""

    id: str
    dataset: str
    passed: bool
    columns: tuple[VersionColumn, ...]
    dropped: tuple[str, ...]
    purpose: str
    source: str
    source_sha256: str
    contract: bytes
    content_sha256: str
    report: bytes  # sealed
    report_sha256: str
    layout: Layout
    sealed_key: bytes
    quarantined: int
    retention_days: int | None
    derived_from: int | None = None
    expires_at: str = ""  # of a version made from another: when that would have gone
    against: Against = _NOTHING
    asked: bytes = b""  # what else its making rested on

    @property
    def digest(self) -> str:
        said: list[Any]
        said = [self.dataset, self.source_sha256, _sha256(self.contract), self.purpose, self.content_sha256]
        if self.against.versions:
            said.append(self.against)
        return _sha256(msgspec.json.encode([*said, self.derived_from, self.passed]))


@dataclass(frozen=True, slots=True)
class NewCase:
    id: str
    columns: tuple[VersionColumn, ...]
    reasons: tuple[CaseRow, ...]
    affected: tuple[str, ...]
    layout: Layout
    sealed_key: bytes


def draw_key(keyring: Keyring, kind: str, owner: str) -> tuple[bytes, bytes]:
    """A fresh key of 32 bytes for this owner, and the same sealed."""
    key = urandom(32)
    return key, keyring.seal(DEFAULT_TENANT, Purpose.FIELDS, key, _key_aad(kind, owner))


def key_of(keyring: Keyring, kind: str, row: Any) -> bytes:
    """Raises SealBroken for a record that was altered or moved, DataUnavailable for a key that was destroyed."""
    if not row.sealed_key:
        raise DataUnavailable(f"the rows of {row.dataset}/{row.number} were erased, or have expired")
    return keyring.open(DEFAULT_TENANT, Purpose.FIELDS, bytes(row.sealed_key), _key_aad(kind, row.id))


def seal_report(key: bytes, owner: str, report: bytes) -> tuple[bytes, str]:
    """A report shows frequent values of columns: it lies under the version's key, and goes with it. With its digest."""
    return b"".join(encrypt_stream(key, [report], _report_aad(owner))), _sha256(report)


def open_report(key: bytes, owner: str, sealed: bytes) -> bytes:
    """Raises DataSetDamaged for one that was altered."""
    try:
        return b"".join(decrypt_stream(key, [sealed], _report_aad(owner)))
    except SealBroken as e:
        raise DataSetDamaged(f"the report of {owner} was altered") from e


def insert_version(
    conn: Connection, clock: Clock, sign: SignReport, new: NewVersion, by: str, holder: str
) -> tuple[Row[Any], bool]:
    """The version's record, and whether it is new: the same content asked in the same way gives the version there is.

    Whoever comes second waits here for the first. Raises NotFound for a data set that is gone.
    """
    d, v = table.data_sets.c, table.versions.c
    claimed = update(table.data_sets).where(d.name == new.dataset).values(newest=d.newest + 1)
    number = conn.execute(claimed.returning(d.newest)).scalar_one_or_none()
    if number is None:
        raise NotFound(f"there is no data set {new.dataset}")
    same = select(table.versions).where(v.dataset == new.dataset, v.digest == new.digest, v.state == "available")
    present = conn.execute(same).one_or_none()
    if present is not None:
        conn.execute(update(table.data_sets).where(d.name == new.dataset).values(newest=d.newest - 1))
        return present, False
    found = highest_class(list(new.columns))
    now = clock.now()
    kept_days = new.retention_days or RETENTION_DAYS[found]
    expires_at = new.expires_at or format_time(now + timedelta(days=kept_days))
    name = f"{new.dataset}/{number}"
    predicate = {
        "version": name, "state": "available" if new.passed else "failed", "digest": new.digest,
        "content_sha256": new.content_sha256, "source_sha256": new.source_sha256,
        "contract_sha256": _sha256(new.contract), "report_sha256": new.report_sha256, "purpose": new.purpose,
        "rows": new.layout.rows, "quarantined": new.quarantined, "derived_from": new.derived_from,
    }  # fmt: skip
    conn.execute(
        insert(table.versions).values(
            id=new.id, dataset=new.dataset, number=number, state=predicate["state"], digest=new.digest,
            rows=new.layout.rows, size=new.layout.size, classification=found,
            columns=msgspec.json.encode(new.columns), dropped=msgspec.json.encode(new.dropped), purpose=new.purpose,
            source=new.source, source_sha256=new.source_sha256, contract=new.contract,
            contract_sha256=_sha256(new.contract), report=new.report, report_sha256=new.report_sha256,
            envelope=sign(name, new.report_sha256, predicate), quarantined=new.quarantined,
            derived_from=new.derived_from, parts=msgspec.json.encode(new.layout), sealed_key=new.sealed_key,
            created_at=format_time(now), created_by=by, holder=holder,
            expires_at=expires_at, approval_note="",
            against=new.asked or None,
        )
    )  # fmt: skip
    present_class = conn.execute(select(d.classification).where(d.name == new.dataset)).scalar_one()
    if CLASSIFICATIONS.index(found) > CLASSIFICATIONS.index(present_class):
        conn.execute(update(table.data_sets).where(d.name == new.dataset).values(classification=found))
    return row_of(conn, new.dataset, number), True


def insert_case(conn: Connection, clock: Clock, new: NewCase, dataset: str, number: int, by: str, holder: str) -> None:
    """Shown at once, usable never."""
    conn.execute(
        insert(table.cases).values(
            id=new.id, dataset=dataset, number=number, state="open", rows=new.layout.rows,
            columns=msgspec.json.encode(new.columns), reasons=msgspec.json.encode(new.reasons[:MAX_REASONS]),
            affected=msgspec.json.encode(new.affected), parts=msgspec.json.encode(new.layout),
            sealed_key=new.sealed_key, created_at=format_time(clock.now()), created_by=by, holder=holder, note="",
        )
    )  # fmt: skip


def row_of(conn: Connection, dataset: str, number: int, *, lock: bool = False) -> Row[Any]:
    """Raises NotFound."""
    v = table.versions.c
    query = select(table.versions).where(v.dataset == dataset, v.number == number)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"there is no version {number} of {dataset}")
    return row


def require_available(row: Row[Any]) -> None:
    if row.state == "available":
        return
    why = {"failed": "failed its gates", "erased": "was erased", "expired": "has expired"}[row.state]
    raise DataUnavailable(f"{row.dataset}/{row.number} {why}: nobody reads it")


def columns_of(row: Row[Any]) -> tuple[VersionColumn, ...]:
    return msgspec.json.decode(row.columns, type=tuple[VersionColumn, ...])


def layout_of(row: Row[Any]) -> Layout:
    return msgspec.json.decode(row.parts, type=Layout)


def version_of(row: Row[Any]) -> DataSetVersion:
    """Raises DataSetDamaged for a record that nobody here wrote."""
    try:
        decoded: dict[str, Any] = {
            "columns": columns_of(row),
            "dropped": msgspec.json.decode(row.dropped, type=tuple[str, ...]),
        }
    except (msgspec.MsgspecError, TypeError, ValueError) as e:
        raise DataSetDamaged(f"what the database says of {row.dataset}/{row.number} cannot be read") from e
    return DataSetVersion(**_plain(row, DataSetVersion, decoded), **decoded)


def case_of(row: Row[Any]) -> QuarantineCase:
    decoded: dict[str, Any] = {
        "reasons": msgspec.json.decode(row.reasons, type=tuple[CaseRow, ...]),
        "affected": msgspec.json.decode(row.affected, type=tuple[str, ...]),
    }
    return QuarantineCase(**_plain(row, QuarantineCase, decoded), **decoded)


def _plain(row: Row[Any], kind: Any, but: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in kind.__struct_fields__ if name not in but}


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _report_aad(owner: str) -> bytes:
    return b"\x00".join((b"vallum/data/report/1", owner.encode()))


def _key_aad(kind: str, owner: str) -> bytes:
    return b"\x00".join((b"vallum/data/key/1", kind.encode(), owner.encode()))
