"""Intake: a source arrives, is judged as a whole, and becomes a version; or vanishes.

Nothing of it is visible before it is a version. The source lies sealed under a key of its own until then, so that a
judgement whose process died is taken over and begun again. Judging is claimed by one process at a time (`claims`); of
two intakes of the same content, the first to finish makes the version and the other is given that one. What a source is
held against is `earlier`'s, what is found out `judging`'s, what is kept of it `sealing`'s.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import urandom
from pathlib import Path
from threading import BoundedSemaphore
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.claims import EXPIRE_SECONDS, IntakeClaims, claimed, described, mine_of, open_of
from vallum.data.catalogue.earlier import EarlierVersions
from vallum.data.catalogue.erased import ErasedPeople
from vallum.data.catalogue.model import (
    MAX_CONTRACT_BYTES,
    RETENTION_DAYS,
    DataIntake,
    DataSetDamaged,
    DataSetVersion,
    IntakeBusy,
    IntakeTooLarge,
    check_purpose,
)
from vallum.data.catalogue.parts import SEALED_CHUNK_BYTES, Parts
from vallum.data.catalogue.ports import BlobStore, SignReport
from vallum.data.catalogue.sealing import Sealing, against_of
from vallum.data.catalogue.versions import (
    NewCase,
    NewVersion,
    insert_case,
    insert_version,
    row_of,
    version_of,
)
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Invalid, NotFound, Unavailable, VallumError
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose, SealBroken, decrypt_stream, encrypt_stream
from vallum.kernel.store.beside import Beside
from vallum.kernel.store.growing import GrowingFile
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.values import Subject

if TYPE_CHECKING:
    from vallum.data.catalogue.against import Wanted
    from vallum.data.catalogue.treating import KeptTreatments
    from vallum.data.catalogue.treatments import TreatmentPolicy
    from vallum.data.classify import SpanClassifier
    from vallum.data.contracts import Contract, ContractTable

__all__ = ["EXPIRE_SECONDS", "IntakeCompletion", "Intakes", "ReceivedSource"]

_MAX_JUDGED = 2  # side by side in one process
_RECEIVED = "received-"  # how a source's blob is named whose stream is bound to that name; "source-" before
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True)
class ReceivedSource:
    """A source that arrived whole and is stored, and not yet part of its intake."""

    intake: str
    blob: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class IntakeCompletion:
    """What came of judging: a version to be kept with its cases, one that is there already, or why there is none."""

    intake: str
    claim: str
    by: str
    holder: str
    new: NewVersion | None = None
    cases: tuple[NewCase, ...] = ()
    present: DataSetVersion | None = None
    refused: VallumError | None = None


class Intakes:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        blobs: Callable[[], BlobStore],
        parts: Parts,
        spool: Path,
        sign: SignReport,
        *,
        max_source_bytes: int,
        treatments: "KeptTreatments",
        finder: "Callable[[], SpanClassifier]",
        policy: "TreatmentPolicy",
        erased: ErasedPeople,
        retention_days: Mapping[str, int] = RETENTION_DAYS,
    ) -> None:
        """`spool` holds sources in clear while they are judged: a file system for this service alone. `retention_days`
        are by class, for versions whose contract says nothing; `erased` are people whose rows do not come back."""
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._blobs = blobs
        self._parts = parts
        self._spool = spool
        self._sign = sign
        self._max_source_bytes = max_source_bytes
        self._finder = finder
        self._policy = policy
        self._erased = erased
        self._claims = IntakeClaims(records, clock)
        self._earlier = EarlierVersions(records, keyring, parts)
        self._sealing = Sealing(keyring, parts, sign, treatments, self._earlier, retention_days)
        self._judging = BoundedSemaphore(_MAX_JUDGED)

    # What the bringer does. Who may take in is for the gate to say; an intake is its beginner's alone.

    def begin(
        self,
        conn: Connection,
        dataset: str,
        file_name: str,
        contract: bytes,
        purpose: str,
        by: Subject,
        *,
        parents: Mapping[str, str] = MappingProxyType({}),
        evaluation: str = "",
        allowed: "Wanted" = lambda version, column: False,
    ) -> DataIntake:
        """`parents` (by the contract's name for them) and `evaluation` are versions, or data sets for their newest,
        that `allowed` lets the caller read. Raises NotFound, DataUnavailable, Denied; Invalid, BadContract for what
        can never become a version."""
        from vallum.data.catalogue.against import resolved
        from vallum.data.catalogue.judging import minimised
        from vallum.data.catalogue.treatments import asked

        if not file_name.lower().removesuffix(".gz").endswith(_SUFFIXES) or "/" in file_name or len(file_name) > 200:
            raise Invalid(f"a source is named {', '.join(_SUFFIXES)}, text ones also .gz, without folders")
        if len(contract) > MAX_CONTRACT_BYTES:
            raise IntakeTooLarge(f"a contract has at most {MAX_CONTRACT_BYTES} bytes")
        agreed = _agreed(contract)
        minimised(*agreed, check_purpose(purpose))
        asked(*agreed)
        there = select(table.data_sets.c.name).where(table.data_sets.c.name == dataset)
        if (
            conn.execute(there.with_for_update(read=True)).first() is None
        ):  # its keys are not being destroyed: shredding
            raise NotFound(f"there is no data set {dataset}")
        against = resolved(conn, agreed[1], parents, evaluation, allowed)
        intake = new_id("int")
        conn.execute(
            insert(table.intakes).values(
                id=intake, dataset=dataset, state="open", file_name=file_name, purpose=check_purpose(purpose),
                contract=contract, created_at=format_time(self._clock.now()), created_by=by.render(),
                holder=by.holder, touched_at_seconds=self._now(), claim="", step="",
                sealed_key=self._keyring.seal(
                    DEFAULT_TENANT, Purpose.FIELDS, urandom(32), _aad(intake, dataset), conn=conn
                ),
                blob="", sha256="", size=0, against=msgspec.json.encode(against),
            )
        )  # fmt: skip
        return described(mine_of(conn, dataset, intake, by))

    def intake(self, dataset: str, intake: str, by: Subject) -> DataIntake:
        """Raises NotFound, also for somebody else's."""
        with self._records.read() as conn:
            return described(mine_of(conn, dataset, intake, by))

    def receive(self, dataset: str, intake: str, by: Subject, chunks: Iterable[bytes]) -> ReceivedSource:
        """Store a source that arrives; it becomes the intake's by `keep`. Not in a transaction: it takes its time.

        Raises NotFound, IntakeBusy, IntakeTooLarge, Unavailable; and what `chunks` raises.
        """
        with self._records.read() as conn:
            row = open_of(mine_of(conn, dataset, intake, by))
        blob, digest, size = f"data/{intake}/{_RECEIVED}{new_id('blb')[4:]}", hashlib.sha256(), 0

        def told() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                size += len(chunk)
                if size > self._max_source_bytes:
                    raise IntakeTooLarge(f"a source has at most {self._max_source_bytes} bytes")
                hashing.add(chunk)
                yield chunk

        try:
            aad = _source_aad(intake, dataset, blob)
            with Beside(digest.update) as hashing:
                sealed = encrypt_stream(self._key(row), told(), aad, chunk_bytes=SEALED_CHUNK_BYTES)
                self._blobs().put_stream(blob, sealed)
        except BaseException:
            self._parts.drop([blob])
            raise
        return ReceivedSource(intake, blob, digest.hexdigest(), size)

    def keep(self, conn: Connection, received: ReceivedSource) -> None:
        """In place of what arrived before. Raises IntakeBusy when the intake is over."""
        i = table.intakes.c
        still = update(table.intakes).where(i.id == received.intake, i.state == "open")
        found = {"blob": received.blob, "sha256": received.sha256, "size": received.size}
        if conn.execute(still.values(**found, touched_at_seconds=self._now())).rowcount != 1:
            raise IntakeBusy("the intake is being judged, or is over: it takes nothing more")

    def abandon(self, conn: Connection, dataset: str, intake: str, by: Subject) -> None:
        """Erase its key; what it brought goes with the next `tidy`. Raises NotFound, IntakeBusy."""
        open_of(mine_of(conn, dataset, intake, by))
        self.erase(conn, [intake])

    # Judging.

    def complete(self, dataset: str, intake: str, by: Subject) -> IntakeCompletion:
        """Judge what arrived, and seal what may stay; `finish` keeps what comes of it. Not in a transaction.

        What refuses the source is in the answer, for `finish` to raise where it is recorded. Raises NotFound, and
        IntakeBusy while somebody else judges it.
        """
        with self._records.write() as conn:
            row = mine_of(conn, dataset, intake, by)
            if row.state == "done":
                present = version_of(row_of(conn, dataset, row.number))
                return IntakeCompletion(intake, "", row.created_by, row.holder, present=present)
            if not row.blob:
                raise Invalid("nothing arrived yet: send the source first")
            claim = self._claims.claim(conn, intake)
        try:
            with self._claims.renewed(intake, claim), self._judging:
                return self._completed(row, claim)
        except VallumError as e:
            self._claims.let_go(intake, claim)
            return IntakeCompletion(intake, claim, row.created_by, row.holder, refused=e)
        except BaseException:
            self._claims.let_go(intake, claim)  # who asks again need not wait for the claim to grow stale
            raise

    def finish(self, conn: Connection, completion: IntakeCompletion) -> DataSetVersion:
        """Make the version and its cases. Raises why there is none, and IntakeBusy when the claim was lost."""
        if completion.refused is not None:
            raise completion.refused
        if completion.present is not None and not completion.claim:
            return completion.present
        number = completion.present.number if completion.present is not None else None
        if completion.new is not None:
            made, is_new = insert_version(
                conn, self._clock, self._sign, completion.new, completion.by, completion.holder
            )
            number = made.number
            for case in completion.cases if is_new else ():
                insert_case(conn, self._clock, case, made.dataset, made.number, completion.by, completion.holder)
        else:
            assert completion.present is not None
            made = row_of(conn, completion.present.dataset, completion.present.number)
        done = claimed(completion.intake, completion.claim)
        if conn.execute(done.values(state="done", claim="", sealed_key=b"", number=number)).rowcount != 1:
            raise IntakeBusy("somebody else judges this intake: ask for it again in a moment")
        erase_copies(conn)
        return version_of(made)

    def _completed(self, row: Row[Any], claim: str) -> IntakeCompletion:
        from vallum.data.catalogue.judging import judge
        from vallum.data.gates.contracted import types_of
        from vallum.data.readers import Staging, open_table, refusing_broken

        agreed, of = _agreed(bytes(row.contract))
        present = self._present(row)
        if present is not None:
            return IntakeCompletion(row.id, claim, row.created_by, row.holder, present=present)
        with _no_room(row.file_name):
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            with Staging(self._spool) as staging:
                source = self._laid_out(row, staging.folder)
                self._claims.step(row.id, "reading the source")
                subject = open_table(source, staging, types_of(of))
                against = against_of(row)
                parents, evaluation, of = self._earlier.held_against(against, of, staging)
                judged = judge(
                    subject, agreed, of, staging, purpose=row.purpose, parents=parents, evaluation=evaluation,
                    references=self._earlier.references(row.dataset, of, staging),
                    text_source=".csv" in row.file_name.lower() or ".tsv" in row.file_name.lower(),
                    now=self._clock.now(), step=lambda what: self._claims.step(row.id, what),
                    finder=self._finder(), policy=self._policy, erased=self._erased.known(row.dataset),
                )  # fmt: skip
                with refusing_broken(row.file_name):  # what is only found while it is read once more
                    judged = self._sealing.held_to_anonymity(row, agreed, judged, staging, self._clock.now())
                    self._claims.step(row.id, "sealing")
                    new, cases = self._sealing.seal(row, agreed, judged, self._asked(row))
                    return IntakeCompletion(row.id, claim, row.created_by, row.holder, new, cases)

    def _present(self, row: Row[Any]) -> DataSetVersion | None:
        """The version that this very source became before, asked in the same way."""
        v = table.versions.c
        contract = hashlib.sha256(bytes(row.contract)).hexdigest()
        purpose = row.purpose or _agreed(bytes(row.contract))[0].purpose
        query = select(table.versions).where(
            v.dataset == row.dataset, v.source_sha256 == row.sha256, v.contract_sha256 == contract,
            v.purpose == purpose, v.state == "available", v.derived_from.is_(None), v.against == self._asked(row),
        )  # fmt: skip
        with self._records.read() as conn:
            found = conn.execute(query.order_by(v.number.desc()).limit(1)).one_or_none()
        return None if found is None else version_of(found)

    def _asked(self, row: Row[Any]) -> bytes:
        """What beside source, contract and purpose an answer rests on: asked otherwise, it is found out anew."""
        policy = self._policy
        return msgspec.json.encode([against_of(row), policy.must_treat, policy.otherwise, policy.erased])

    def _laid_out(self, row: Row[Any], folder: Path) -> Path:
        """The source in clear, as it arrived. Raises DataSetDamaged when it is not that any more.

        A stream that opens is whole, and bound to its blob's name: it is what was received there, with the digest taken
        then. One from before names were bound could be another source of this intake: its digest is taken again.
        """
        path, digest = folder / str(row.file_name), hashlib.sha256()
        is_bound, aad = _is_bound(row.blob), _source_aad(row.id, row.dataset, row.blob)
        try:
            pieces = decrypt_stream(self._key(row), self._blobs().stream(row.blob), aad)
            with GrowingFile(path, 0o600) as out:
                out.write_all(pieces if is_bound else _digested(pieces, digest))
        except (NotFound, SealBroken) as e:
            why = "is gone" if isinstance(e, NotFound) else "was altered"
            raise DataSetDamaged(f"the source of intake {row.id} {why} in the blob store: send it again") from e
        if not is_bound and digest.hexdigest() != row.sha256:
            raise DataSetDamaged(f"the source of intake {row.id} is not what was sent: send it again")
        return path

    def _key(self, row: Row[Any]) -> bytes:
        return self._keyring.open(
            DEFAULT_TENANT, Purpose.FIELDS, bytes(row.sealed_key), _aad(row.id, row.dataset)
        )  # fmt: skip

    # Vanishing.

    def expired(self, conn: Connection) -> list[str]:
        """Intakes that nothing happened to since yesterday."""
        i, past = table.intakes.c, self._now() - EXPIRE_SECONDS
        query = select(i.id).where(i.touched_at_seconds < past, i.state.in_(("open", "judging")))
        return list(conn.execute(query).scalars())

    def erase(self, conn: Connection, found: Sequence[str]) -> None:
        i = table.intakes.c
        gone = update(table.intakes).where(i.id.in_(found), i.state.in_(("open", "judging")))
        conn.execute(gone.values(state="expired", claim="", sealed_key=b""))
        erase_copies(conn)

    def tidy(self) -> None:
        """Remove the sources of intakes that are over."""
        i = table.intakes.c
        with self._records.read() as conn:
            query = select(i.id, i.blob).where(i.state.in_(("done", "expired")), i.blob != "")
            over = [(row.id, row.blob) for row in conn.execute(query)]
        for intake, blob in over:
            self._blobs().delete(blob)
            with self._records.write() as conn:
                conn.execute(update(table.intakes).where(i.id == intake).values(blob=""))

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def _agreed(contract: bytes) -> "tuple[Contract, ContractTable]":
    """The contract and its one table. Raises BadContract, BadYaml, Invalid."""
    from vallum.data.contracts import parse_contract

    agreed = parse_contract(contract)
    of = agreed.table()
    if of is None:
        raise Invalid("a contract for intake describes one table: keep one contract for each")
    return agreed, of


def _digested(pieces: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _is_bound(blob: str) -> bool:
    return blob.rpartition("/")[2].startswith(_RECEIVED)


def _source_aad(intake: str, dataset: str, blob: str) -> bytes:
    """Two sources of one intake have one key: the name says which one it is."""
    return b"\x00".join((_aad(intake, dataset), blob.encode())) if _is_bound(blob) else _aad(intake, dataset)


def _aad(intake: str, dataset: str) -> bytes:
    return b"\x00".join((b"vallum/data/intake/1", intake.encode(), dataset.encode()))


@contextmanager
def _no_room(name: str) -> Iterator[None]:
    import polars as pl

    from vallum.data.readers import refusing_broken

    try:
        yield
    except OSError as e:
        raise Unavailable(f"the source cannot be judged here: {e.strerror or type(e).__name__}") from e
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        with refusing_broken(name):
            raise
