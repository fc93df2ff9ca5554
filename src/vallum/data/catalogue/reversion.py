"""The next version of a version: the same columns and contract, other rows. How rows come out of quarantine, and how a
person's rows go."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row

from vallum.data.catalogue.parts import Parts, part_rows
from vallum.data.catalogue.versions import NewVersion, columns_of, draw_key, key_of, layout_of, open_report, seal_report
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring

if TYPE_CHECKING:
    import polars as pl

__all__ = ["next_version", "rechunked"]


def next_version(
    parts: Parts,
    keyring: Keyring,
    row: Row[Any],
    frames: "Iterable[pl.DataFrame]",
    said: Mapping[str, Any],
    *,
    quarantined: int | None = None,
) -> NewVersion:
    """Sealed under a key of its own and in place; it has no number yet. `said` goes into its report. Its approval is
    not the former's: somebody vouches anew. Its time is: what is made anew is kept no longer. Raises DataSetDamaged,
    Unavailable."""
    owner, columns = new_id("dsv"), columns_of(row)
    key, sealed_key = draw_key(keyring, "version", owner)
    schema = parts.schema(layout_of(row))
    layout, content = parts.write(
        key, row.dataset, owner, columns, rechunked(frames, part_rows(len(columns))), schema
    )  # fmt: skip
    former = msgspec.json.decode(open_report(key_of(keyring, "version", row), row.id, bytes(row.report)))
    # No profile: its frequent values are of the former rows, and may be of whoever is erased.
    report = {**former, "profile": {"of_version": row.number}, "derived": {"from": row.number, **said}}
    sealed, report_sha256 = seal_report(key, owner, msgspec.json.encode(report))
    dropped = msgspec.json.decode(row.dropped, type=tuple[str, ...])
    held = row.quarantined if quarantined is None else quarantined
    return NewVersion(
        owner, row.dataset, True, columns, dropped, row.purpose, row.source, row.source_sha256, bytes(row.contract),
        content, sealed, report_sha256, layout, sealed_key, held, None, row.number, row.expires_at,
    )  # fmt: skip


def rechunked(frames: "Iterable[pl.DataFrame]", rows: int) -> "Iterator[pl.DataFrame]":
    """Frames of exactly `rows` rows, but the last: the content's digest depends on where parts end."""
    import polars as pl

    waiting, have = list[pl.DataFrame](), 0
    for frame in frames:
        waiting.append(frame)
        have += frame.height
        while have >= rows:
            joined = pl.concat(waiting)
            yield joined.head(rows)
            waiting, have = [joined.slice(rows)], have - rows
    if have:
        yield pl.concat(waiting)
