"""Rows at rest: parts, each a Parquet file sealed as a stream under its version's own key.

Parts that are encoded here have at most 65,536 rows, their restricted columns sealed field by field before. Of a
Parquet file that is kept as it came, a part is some of its row groups, the column chunks as they lie, not decoded.

Everything is bound to its place: a part opens as that part of that version alone, a field as that column of that data
set alone. What a part must be like (its rows, its number) is in the version's record, so that a lost one is noticed.
Destroying the version's key makes every part of it noise, whoever kept a copy.
"""

import hashlib
import io
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from vallum.data.catalogue.field_keys import KeptFieldKeys
from vallum.data.catalogue.model import DataSetDamaged, VersionColumn
from vallum.data.catalogue.ports import BlobStore
from vallum.data.fields import BATCH_FIELDS, SealedBatch
from vallum.kernel.errors import NotFound, Unavailable
from vallum.kernel.ids import new_id
from vallum.kernel.keys import SealBroken, decrypt_stream, encrypt_stream

if TYPE_CHECKING:
    import polars as pl

    from vallum.data.readers.column_chunks import ChunkFile

__all__ = ["MASKED", "SEALED_CHUNK_BYTES", "ContentDigest", "Layout", "Part", "Parts", "carried_content", "part_rows"]

MASKED = "•••"
SEALED_CHUNK_BYTES = 1 << 18  # of what is large and read whole: a tenth less work than in chunks of 64 KiB
_AT_ONCE = 2  # parts that are sealed side by side, each of them by one thread from the file to the store
_PART_CELLS = 2_000_000  # a table of 10,000 columns gets parts of 200 rows, not of gigabytes


class Part(msgspec.Struct, frozen=True):
    """`headers` are of its sealed columns' batches, in base64 as JSON has no bytes."""

    blob: str
    first_row: int
    rows: int
    size: int
    headers: dict[str, str]


class Layout(msgspec.Struct, frozen=True):
    """Where the rows of a version or a case lie. `schema` is an empty table (Arrow IPC) with the types as they were."""

    owner: str
    schema: str
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


def part_rows(columns: int) -> int:
    return max(1, min(BATCH_FIELDS, _PART_CELLS // max(1, columns)))


class ContentDigest:
    """A digest of rows whatever file they came from: names and types, then of each part, column by column, where nulls
    are, the values, and of texts how long each is, so that no two parts read alike.

    Numbers, dates and times are taken as they lie in memory (little-endian, a null as 0), what is neither as its text.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._started = False

    def add(self, frame: "pl.DataFrame") -> None:
        import polars as pl

        if not self._started:
            self._started = True
            self._sha256.update(repr([(name, str(dtype)) for name, dtype in frame.schema.items()]).encode())
        if not frame.height:
            return
        flat = frame.select(_flat(name, dtype) for name, dtype in frame.schema.items())
        for series in flat.iter_columns():
            self._sha256.update(series.is_null().to_numpy().data)
            if series.dtype == pl.String:
                series = series.fill_null("")
                self._sha256.update(series.str.len_bytes().to_numpy().data)
                self._sha256.update(series.str.join("").cast(pl.Binary).item())
            else:
                self._sha256.update(_numbers(series))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class Parts:
    """Safe to share between threads."""

    def __init__(self, blobs: Callable[[], BlobStore], keys: KeptFieldKeys) -> None:
        self._blobs = blobs
        self._keys = keys

    def write(
        self,
        key: bytes,
        dataset: str,
        owner: str,
        columns: Sequence[VersionColumn],
        frames: "Iterable[pl.DataFrame]",
        schema: "pl.DataFrame",
        step: Callable[[int], None] = lambda rows: None,
    ) -> tuple[Layout, str]:
        """Seal `frames`, each of at most `part_rows` rows; the layout and the content's digest. Nothing is left when
        anything fails. `schema` is a table of those columns, empty or not. Raises Unavailable."""
        ciphers = {
            column.name: (column.field, self._keys.cipher(dataset, column.classification, column.name))
            for column in columns
            if column.field != "plain"
        }
        digest, made, first = ContentDigest(), list[Part](), 0
        try:
            for frame in frames:
                if not frame.height:
                    continue
                digest.add(frame)
                sealed, headers = _seal(frame, ciphers, first)
                made.append(self._put(key, owner, len(made), first, sealed, headers))
                first += frame.height
                step(first)
        except BaseException:
            self.drop(part.blob for part in made)
            raise
        if not made:
            digest.add(schema.clear())
        return Layout(owner, _told(schema), tuple(made)), digest.hexdigest()

    def carry(self, key: bytes, owner: str, files: "Sequence[ChunkFile]", schema: "pl.DataFrame") -> Layout | None:
        """Seal `files` as they are, a part each, two at a time; nothing is left when anything fails. `schema` is as in
        `write`: None where the files, read, have other types. Raises Unavailable."""
        import polars as pl

        if files and pl.read_parquet_schema(io.BytesIO(b"".join(files[0].pieces()))) != schema.schema:
            return None
        made, first = list[Part](), 0
        for blob, file in zip(self._stored_side_by_side(key, owner, files), files, strict=True):
            made.append(Part(blob, first, file.rows, file.size, {}))
            first += file.rows
        return Layout(owner, _told(schema), tuple(made))

    def read(
        self,
        key: bytes,
        dataset: str,
        layout: Layout,
        columns: Sequence[VersionColumn],
        *,
        only: Collection[str] | None = None,
        masked: Collection[str] = (),
    ) -> "Iterator[pl.DataFrame]":
        """One frame a part, in order. Columns of `masked` come as text that says nothing of the value; the fields of a
        masked column are not even opened. Raises DataSetDamaged when a part is gone or is not what was stored."""
        import polars as pl

        types = self.schema(layout).schema
        wanted = [column for column in columns if only is None or column.name in only]
        for number, part in enumerate(layout.parts):
            frame = self._open(key, layout.owner, number, part, [c.name for c in wanted])
            shown = []
            for column in wanted:
                series = frame.get_column(column.name)
                if column.name in masked:
                    series = pl.Series(column.name, [MASKED], dtype=pl.String).new_from_index(0, frame.height)
                elif column.field != "plain":
                    series = self._unsealed(dataset, column, part, series, types[column.name])
                shown.append(series)
            yield pl.DataFrame(shown)

    def schema(self, layout: Layout) -> "pl.DataFrame":
        import polars as pl

        return pl.read_ipc(io.BytesIO(b64decode(layout.schema)))

    def drop(self, blobs: Iterable[str]) -> None:
        """What cannot be deleted now is noise without its key, and goes with `sweep`."""
        for blob in blobs:
            with suppress(Unavailable):
                self._blobs().delete(blob)

    def sweep(self, named: Mapping[str, frozenset[str] | None], old: Callable[[str], bool]) -> int:
        """Delete blobs that no record names, once they are `old`: of intakes that died, of cases that were made anew
        without somebody's rows. `named` has each owner's blobs, None where it may have any. How many went."""
        gone = 0
        for blob in self._blobs().list("data"):
            _, owner, file = blob.split("/", 2)
            blobs = named.get(owner, frozenset())
            if blobs is not None and blob not in blobs and old(f"blb_{file.partition('-')[2]}"):
                self._blobs().delete(blob)
                gone += 1
        return gone

    def _put(
        self, key: bytes, owner: str, number: int, first: int, frame: "pl.DataFrame", headers: dict[str, str]
    ) -> Part:
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)  # which nobody reads
        with buffer.getbuffer() as raw:
            blob = self._stored(key, owner, number, [raw])
            return Part(blob, first, frame.height, len(raw), headers)

    def _stored_side_by_side(self, key: bytes, owner: str, files: "Sequence[ChunkFile]") -> list[str]:
        """Their blobs, in order. Once one has failed, none is begun; those under way are waited for, and all go."""
        begun, under_way = list[Future[str]](), set[Future[str]]()
        with ThreadPoolExecutor(_AT_ONCE, "sealing") as threads:
            try:
                for number, file in enumerate(files):
                    if len(under_way) == _AT_ONCE:
                        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        for each in done:
                            each.result()
                    begun.append(threads.submit(self._stored, key, owner, number, file.pieces()))
                    under_way.add(begun[-1])
                return [each.result() for each in begun]
            except BaseException:
                wait(begun)
                self.drop(each.result() for each in begun if each.exception() is None)
                raise

    def _stored(self, key: bytes, owner: str, number: int, pieces: Iterable[bytes | memoryview]) -> str:
        blob = f"data/{owner}/{number}-{new_id('blb')[4:]}"
        try:
            sealed = encrypt_stream(key, pieces, _aad(owner, number), chunk_bytes=SEALED_CHUNK_BYTES)
            self._blobs().put_stream(blob, sealed)
        except BaseException:
            self.drop([blob])
            raise
        return blob

    def _open(self, key: bytes, owner: str, number: int, part: Part, columns: list[str]) -> "pl.DataFrame":
        import polars as pl

        try:
            raw = b"".join(decrypt_stream(key, self._blobs().stream(part.blob), _aad(owner, number)))
        except (NotFound, SealBroken) as e:
            why = "is gone" if isinstance(e, NotFound) else "was altered"
            raise DataSetDamaged(f"part {number + 1} of {owner} {why} in the blob store") from e
        frame = pl.read_parquet(io.BytesIO(raw), columns=columns)
        if frame.height != part.rows:
            raise DataSetDamaged(f"part {number + 1} of {owner} has {frame.height} rows, and not {part.rows}")
        return frame

    def _unsealed(self, dataset: str, column: VersionColumn, part: Part, series: "pl.Series", dtype: Any) -> Any:
        batch = SealedBatch(b64decode(part.headers[column.name]), series.to_list())
        try:
            cipher = self._keys.cipher_of(dataset, column.classification, column.name, batch.version)
            opened = cipher.open_joinable if column.field == "joinable" else cipher.open
            values = opened(batch, part.first_row)
        except SealBroken as e:
            raise DataSetDamaged(f"column {column.name} of {dataset}: {e}") from e
        return _typed(column.name, values, dtype)


def carried_content(
    source_sha256: str, held: Sequence[int], schema: "pl.DataFrame", files: "Sequence[ChunkFile]"
) -> str:
    """In place of a `ContentDigest` of values that were never decoded: the digest of what says which ones they are. The
    source by its own digest, the rows that were held, the columns with their types, and where parts end."""
    types = [(name, str(dtype)) for name, dtype in schema.schema.items()]
    said = ["vallum/data/carried/1", source_sha256, list(held), types, [file.rows for file in files]]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def _told(schema: "pl.DataFrame") -> str:
    empty = io.BytesIO()
    schema.clear().write_ipc(empty)
    return b64encode(empty.getvalue()).decode()


def _flat(name: str, dtype: Any) -> Any:
    import polars as pl

    if dtype.is_nested():
        return pl.struct(name).struct.json_encode().alias(name)
    if dtype == pl.Binary:
        return pl.col(name).bin.encode("hex")
    return pl.col(name).to_physical() if dtype.is_temporal() else pl.col(name)


def _numbers(series: "pl.Series") -> Any:
    """Little-endian, so that every machine has the same digest."""
    import polars as pl

    if series.dtype == pl.Boolean:
        series = series.cast(pl.UInt8)
    plain = (series.dtype.is_integer() or series.dtype.is_float()) and series.dtype not in (pl.Int128, pl.UInt128)
    if not plain:
        series = series.cast(pl.String).fill_null("")
        return ("\x00".join(series.to_list()) + "\x00").encode()
    numbers = series.fill_null(0).to_numpy()
    return numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).data


def _seal(frame: "pl.DataFrame", ciphers: Any, first: int) -> "tuple[pl.DataFrame, dict[str, str]]":
    import polars as pl

    headers, changed = {}, []
    for name, (how, cipher) in ciphers.items():
        values = _texts(frame.get_column(name))
        batch = cipher.seal_joinable(values, first) if how == "joinable" else cipher.seal(values, first)
        headers[name] = b64encode(batch.header).decode()
        changed.append(pl.Series(name, batch.fields, dtype=pl.Binary))
    return frame.with_columns(changed), headers


def _texts(series: "pl.Series") -> list[bytes | None]:
    """The values as bytes, so that `_typed` has them back exactly: numbers behind dates, not their spelling."""
    import polars as pl

    if series.dtype == pl.Binary:
        return series.to_list()
    if series.dtype == pl.Boolean:
        series = series.cast(pl.Int8)
    if series.dtype.is_float():
        return [None if value is None else value.hex().encode() for value in series.to_list()]
    if series.dtype != pl.String:
        series = (series if series.dtype.is_decimal() else series.to_physical()).cast(pl.String)
    return series.cast(pl.Binary).to_list()


def _typed(name: str, values: Sequence[bytes | None], dtype: Any) -> "pl.Series":
    import polars as pl

    if dtype == pl.Binary:
        return pl.Series(name, values, dtype=pl.Binary)
    if dtype.is_float():
        numbers = [None if v is None else math.nan if v == b"nan" else float.fromhex(v.decode()) for v in values]
        return pl.Series(name, numbers, dtype=dtype)
    texts = pl.Series(name, [None if value is None else value.decode() for value in values], dtype=pl.String)
    if dtype == pl.String:
        return texts
    if dtype == pl.Boolean:
        return texts.cast(pl.Int8).cast(pl.Boolean)
    return texts.cast(pl.Int64 if dtype.is_temporal() else dtype).cast(dtype)


def _aad(owner: str, number: int) -> bytes:
    return b"\x00".join((b"vallum/data/part/1", owner.encode(), b"%d" % number))
