"""Verifying a version: what the database says of it and what the store holds, against what was signed at intake.

The envelope is signed by the platform and names the version, its digests and its report's. The report opens under the
version's own key alone, and so do its parts, each at its place: rows of another version stand nowhere in this one's.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Row

from vallum.data.catalogue.model import DataSetDamaged
from vallum.data.catalogue.parts import Parts
from vallum.data.catalogue.ports import SignReport
from vallum.data.catalogue.versions import columns_of, layout_of, open_report, require_available

__all__ = ["verify_version"]


def verify_version(row: Row[Any], key: bytes, parts: Parts, sign: SignReport) -> None:
    """Takes as long as reading all rows does. Raises DataSetDamaged, DataUnavailable, Unavailable; what the signer
    raises of IntegrityError for an envelope that nobody trusted signed."""
    from polars.exceptions import PolarsError

    require_available(row)
    name = f"{row.dataset}/{row.number}"
    try:
        _verify(name, row, key, parts, sign)
    except (msgspec.MsgspecError, PolarsError, TypeError, ValueError, OSError) as e:
        raise DataSetDamaged(f"what the database says of {name} cannot be read") from e


def _verify(name: str, row: Row[Any], key: bytes, parts: Parts, sign: SignReport) -> None:
    report_sha256, said = sign.verify(bytes(row.envelope), name)
    report = open_report(key, row.id, bytes(row.report))
    if not sha256(report).hexdigest() == report_sha256 == row.report_sha256:
        raise DataSetDamaged(f"the report of {name} is not the one that was signed")
    if _signed(said) != _stands(row):
        raise DataSetDamaged(f"what the database says of {name} is not what was signed")
    layout, columns = layout_of(row), columns_of(row)
    # Fields that lie sealed by themselves are part of what is read, and need not be opened for that.
    masked = {column.name for column in columns if column.field != "plain"}
    rows = sum(frame.height for frame in parts.read(key, row.dataset, layout, columns, masked=masked))
    if rows != said.get("rows"):
        raise DataSetDamaged(f"{name} has {rows} rows, and {said.get('rows')} were signed")


def _signed(said: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("version", "state", "digest", "source_sha256", "contract_sha256", "purpose", "rows", "derived_from")
    return tuple(said.get(name) for name in names)


def _stands(row: Row[Any]) -> tuple[Any, ...]:
    return (
        f"{row.dataset}/{row.number}", row.state, row.digest, row.source_sha256,
        sha256(bytes(row.contract)).hexdigest(), row.purpose, row.rows, row.derived_from,
    )  # fmt: skip
