"""The lifecycle's share of the composition root: models, data and releases, and what watches over them.

Each is opened when it is first asked for, and its modules are imported then: a server asks for all of them before it
serves, and a command for the few that its route works with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vallum import __version__
from vallum.inventory import Inventory
from vallum.kernel.clock import Clock
from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.gate import Gate
from vallum.kernel.keys import DEFAULT_TENANT, Keyring
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.policy import PolicyStore
from vallum.kernel.store.chores import Chores
from vallum.kernel.store.epochs import EpochWatch
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject
from vallum.monitor.alerts import Alerts
from vallum.serving.root_keys import pkcs11_pin
from vallum.settings import Settings

if TYPE_CHECKING:
    from vallum.data.catalogue import DataCatalogue
    from vallum.data.classify import SpanClassifier
    from vallum.data.subjects import SubjectErasures
    from vallum.guards.port import Guard
    from vallum.kernel.store.blobs import Blobs
    from vallum.models.registry import DependencyWatch, Descriptions, Registry, SigningPlace
    from vallum.models.registry.recorded import RevokedKeys
    from vallum.monitor import ExportAlerts
    from vallum.releases import Releases, Watch

__all__ = ["OpenedDomains"]


@dataclass(frozen=True)
class OpenedDomains:
    """Implements `api.Domains`. None needs one that needs it, so that they open in any order, once each."""

    settings: Settings
    records: Records
    clock: Clock
    keyring: Keyring
    ledger: Ledger
    inventory: Inventory
    policy_store: PolicyStore
    gate: Gate
    alerts: Alerts
    epochs: EpochWatch
    chores: Chores
    system: Subject  # whose the entries of schedules are

    def open_all(self) -> None:
        """What a server does before it serves. Raises Invalid for settings that one of them cannot be opened with."""
        _ = self.dependency_watch, self.release_watch, self.export_alerts, self.subject_erasures

    def close(self) -> None:
        """End what those that were opened have started."""
        if "models" in self.__dict__:  # to open it for that would be odd
            self.models.close()

    @cached_property
    def models(self) -> "Registry":
        from vallum.models.registry import DamageAlarm, Registry, ScanAttester, load_trust
        from vallum.models.registry.recorded import recorded_at, was_revoked

        models = self.settings.models
        trust = load_trust(Path(models.trusted_signers_file) if models.trusted_signers_file else None)
        registry = Registry(
            self.records, self.keyring, self.clock, self._open_blobs, self.settings.spool_path, trust,
            tenant=DEFAULT_TENANT, max_upload_bytes=models.max_upload_bytes, attester=ScanAttester(__version__),
            signing=self._signing_place, recorded_at=partial(recorded_at, self.ledger),
            was_revoked=partial(was_revoked, self.ledger), revoked_keys=self._revoked_keys,
        )  # fmt: skip
        registry.tell_of_damage(DamageAlarm(self.gate, self.clock, self.system))
        self.chores.every(300, registry.uploads.tidy)
        return registry

    @cached_property
    def model_descriptions(self) -> "Descriptions":
        from vallum.models.registry import Descriptions

        settings = self.settings
        return Descriptions(self.models, settings.spool_path, self.clock, settings.advisories_path, __version__)

    @cached_property
    def dependency_watch(self) -> "DependencyWatch":
        from vallum.models.registry import DependencyWatch

        audit = None
        if self.settings.models.pip_audit:
            from vallum.models.dependencies.pip_audit import with_pip_audit

            audit = partial(with_pip_audit, osv_url=self.settings.models.osv_url)
        return DependencyWatch(self.records, self.clock, self.model_descriptions, self.gate, self.system, audit)

    @cached_property
    def data(self) -> "DataCatalogue":
        from vallum.data.catalogue import DataCatalogue, TreatmentPolicy
        from vallum.models.registry import ReportSigner, SigningKeys

        datasets = self.settings.datasets
        keys = SigningKeys(self.records, self.keyring, self.clock, self._revoked_keys, self._signing_place)
        catalogue = DataCatalogue(
            self.records, self.keyring, self.clock, self._open_blobs, self.settings.data_spool_path,
            ReportSigner(keys, "urn:vallum:data-intake:1"),
            tenant=DEFAULT_TENANT, max_source_bytes=datasets.max_source_bytes,
            finder=_span_finder(datasets.recognisers),
            policy=TreatmentPolicy(datasets.kinds_treated, datasets.untreated, datasets.erased),
            retention_days=datasets.retention_days,
        )  # fmt: skip
        self.chores.every(300, catalogue.tidy)
        return catalogue

    @cached_property
    def export_alerts(self) -> "ExportAlerts":
        from vallum.monitor import ExportAlerts

        return ExportAlerts(self.records, self.alerts, self.gate, self.clock, self.system, self.data.exports)

    @cached_property
    def subject_erasures(self) -> "SubjectErasures":
        """Every place that keeps something of people; what retrieval indexes in memory is no place of its own."""
        from vallum.data.catalogue.subject_rows import RowEraser
        from vallum.data.subjects import ERASURE_REPORT, ExchangeEraser, SubjectErasures
        from vallum.models.registry import ReportSigner, SigningKeys

        records, keyring, clock, gate, system = self.records, self.keyring, self.clock, self.gate, self.system
        erasers = (
            RowEraser(self.data, records, gate, clock, system),
            ExchangeEraser(records, keyring, gate, clock, system),
        )
        sign = ReportSigner(SigningKeys(records, keyring, clock, self._revoked_keys), ERASURE_REPORT)
        return SubjectErasures(records, keyring, clock, gate, sign, erasers, self.data.erased, system)

    @cached_property
    def releases(self) -> "Releases":
        from vallum.releases import EPOCH, Releases, load_rules
        from vallum.releases.adapters.cards import RegisteredCards
        from vallum.releases.adapters.data_sets import GovernedDataSets
        from vallum.releases.adapters.inventory import InventoryApplications
        from vallum.releases.recorded import was_revoked

        settings = self.settings.releases
        rules = load_rules(Path(settings.rules_file) if settings.rules_file else None)
        releases = Releases.open(
            self.records, self.keyring, self.clock, rules, self.models, InventoryApplications(self.inventory),
            self.policy_store, partial(was_revoked, self.ledger), cards=RegisteredCards(self.model_descriptions),
            data=GovernedDataSets(self.data), false_alarms=settings.false_alarms,
        )  # fmt: skip
        self.epochs.subscribe(EPOCH, releases.deployments.refresh)
        releases.deployments.refresh()
        self.chores.every(2, releases.deployments.flush)
        return releases

    @cached_property
    def release_watch(self) -> "Watch":
        return self.releases.watching(self.gate, self.system, heals=self.settings.releases.heal)

    @cached_property
    def _revoked_keys(self) -> "RevokedKeys":
        from vallum.models.registry.recorded import RevokedKeys

        return RevokedKeys(self.records, self.ledger)

    @cached_property
    def _signing_place(self) -> "SigningPlace":
        """Where the keys that sign models are made. A token is spoken to when something is signed."""
        from vallum.models.registry import SigningPlace
        from vallum.models.signing.token import SigningToken

        models, keys = self.settings.models, self.settings.keys
        if models.signing == "sealed":
            return SigningPlace(None, models.signing_curve)
        token = SigningToken(keys.pkcs11_module, keys.pkcs11_token, partial(pkcs11_pin, keys), models.signing_label)
        return SigningPlace(token, models.signing_curve)

    def _open_blobs(self) -> "Blobs":
        from vallum.kernel.store.blobs import Blobs  # only when a model's file or rows are stored or read

        return Blobs.open(self.settings.blobs_url)


def _span_finder(recognisers: str) -> "Callable[[], SpanClassifier] | None":
    """With recognisers beside the rules; loaded when something is first taken in, as they may be large."""

    @cache
    def finder() -> "SpanClassifier":
        from vallum.data.classify import SpanClassifier
        from vallum.guards.plugins import load_plugin

        try:
            loaded = [load_plugin(name) for name in recognisers.split(",")]
            if not all(hasattr(guard, "find") for guard in loaded):
                raise Invalid("a recogniser reads one text at a time, and one of these does not")
            return SpanClassifier(cast("list[Guard]", loaded))
        except Invalid as e:
            raise Unavailable(f"nothing is taken in without datasets.recognisers: {e}") from e

    return finder if recognisers else None
