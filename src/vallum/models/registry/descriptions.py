"""What a version says of itself and what the platform knows of it: its card, its bill of materials, what it needs.

Reads the small files that describe a model, out of the version's sealed blobs; the weights stay where they are.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from vallum.kernel.clock import Clock
from vallum.kernel.errors import NotFound, VallumError
from vallum.models.bom import SpecVersion, facts_of_folder, render_bom
from vallum.models.cards import CardRefused, CardScore, ModelCard, parse_card, render_card, render_markdown, score_card
from vallum.models.dependencies import (
    DEFAULT_MAX_AGE,
    CannotTell,
    Declared,
    ScanReport,
    open_database,
    scan_dependencies,
)
from vallum.models.dependencies.declared import MAX_FILE_BYTES, declares_dependencies
from vallum.models.facts import FileFact, ModelFacts, Signature
from vallum.models.registry.model import CardReport, ModelVersion
from vallum.models.registry.service import Registry

__all__ = ["Descriptions"]

CARD = "README.md"
_CONFIG = "config.json"


class Descriptions:
    """Safe to share between threads. Everything raises NotFound, VersionUnavailable and VersionDamaged."""

    def __init__(self, registry: Registry, spool: Path, clock: Clock, advisories: Path, tool_version: str) -> None:
        """`advisories` is the database of `vallum models dependencies`, which need not be there."""
        self._registry = registry
        self._spool = spool
        self._clock = clock
        self._advisories = advisories
        self._tool_version = tool_version

    def score(self, conn: Connection, model: str, number: int) -> CardScore | None:
        """How complete the author's card is for the model's risk class; None without one. Raises CardRefused."""
        author = self._card(self._registry.version(conn, model, number))
        return None if author is None else score_card(author, self._registry.model(conn, model).risk_class)

    def card(self, conn: Connection, model: str, number: int) -> CardReport:
        """The card with what the platform knows, and what its risk class still asks for. Raises CardRefused."""
        version = self._registry.version(conn, model, number)
        risk_class = self._registry.model(conn, model).risk_class
        author = self._card(version)
        scored = score_card(author or ModelCard({}, ""), risk_class)
        text = render_markdown(render_card(self.facts(conn, model, number)[0], author))
        return CardReport(text, risk_class, round(scored.score, 3), scored.missing, author is not None)

    def bom(self, conn: Connection, model: str, number: int, spec_version: SpecVersion = "1.6") -> bytes:
        """CycloneDX JSON, as of when the version was made: the same bytes whenever it is asked for."""
        facts, _ = self.facts(conn, model, number)
        made_at = datetime.fromisoformat(self._registry.version(conn, model, number).created_at)
        return render_bom(facts, made_at, spec_version=spec_version, tool_version=self._tool_version)

    def dependencies(self, conn: Connection, model: str, number: int) -> ScanReport:
        """Held against the advisories that are here now; what cannot be told is no pass."""
        return self.held_against(self.declared(conn, model, number))

    def declared(self, conn: Connection, model: str, number: int) -> Declared:
        """What its files say that it needs."""
        return self.facts(conn, model, number)[1]

    def held_against(self, declared: Declared) -> ScanReport:
        now = self._clock.now()
        try:
            with open_database(self._advisories) as known:
                return scan_dependencies(declared, known, now, max_age=DEFAULT_MAX_AGE)
        except VallumError as e:
            report = scan_dependencies(declared, None, now, max_age=timedelta(0))
            why = str(e).removeprefix(f"{self._advisories}: ")  # where it lies on the server is nobody's to know
            return msgspec.structs.replace(report, cannot_tell=(CannotTell("database", why), *declared.cannot_tell))

    def facts(self, conn: Connection, model: str, number: int) -> tuple[ModelFacts, Declared]:
        """What its files say, and over that what the registry knows."""
        version, registered = self._registry.version(conn, model, number), self._registry.model(conn, model)
        with self._laid_out(version) as folder:
            said, declared = facts_of_folder(folder, name=model, version=str(number))
        known = msgspec.structs.replace(
            said,
            digest=version.digest,
            description=registered.description,
            owner=registered.owner,
            risk_class=registered.risk_class,
            files=tuple(FileFact(one.path, one.sha256, one.size) for one in version.files),
            signature=Signature(version.signer) if version.signer else None,
            scan_verdict=version.verdict,
            scan_findings=len(version.findings),
        )
        return known, declared

    def _card(self, version: ModelVersion) -> ModelCard | None:
        if all(one.path != CARD for one in version.files):
            return None
        return parse_card(self._read(version, CARD))

    @contextmanager
    def _laid_out(self, version: ModelVersion) -> Iterator[Path]:
        """The files that describe it, in a private folder that is gone after the block."""
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="describe-", dir=self._spool) as folder:
            for one in version.files:
                if one.path in (CARD, _CONFIG) or declares_dependencies(one.path):
                    file = Path(folder, one.path)
                    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    file.write_bytes(self._read(version, one.path))
            yield Path(folder)

    def _read(self, version: ModelVersion, path: str) -> bytes:
        """Raises CardRefused for one that is too large to describe anything."""
        file = next((one for one in version.files if one.path == path), None)
        if file is None:
            raise NotFound(f"{version.id} has no {path}")
        if file.size > MAX_FILE_BYTES:
            raise CardRefused(f"{path} of {version.id} is larger than {MAX_FILE_BYTES >> 20} MiB: it describes nothing")
        return b"".join(self._registry.download(version.model, version.number, path))
