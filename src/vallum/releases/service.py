"""The whole of releases, wired: what the composition root builds and the routes use."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from vallum.kernel.clock import Clock
from vallum.kernel.gate import Gate
from vallum.kernel.keys import Keyring
from vallum.kernel.policy import PolicyStore
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject
from vallum.releases.catalogue import Catalogue, WasRevoked
from vallum.releases.checks import Checks
from vallum.releases.deployments import ReleaseDeployments, ServedModels
from vallum.releases.environments import Environments
from vallum.releases.indexes import Indexes
from vallum.releases.model import EnvironmentState, Running, ServingTrouble
from vallum.releases.ports import Applications, Cards, DataSets, ModelRegistry
from vallum.releases.promotions import Promotions
from vallum.releases.rules import ReleaseRules
from vallum.releases.statements import Statements
from vallum.releases.trials import Trials
from vallum.releases.watch import Watch

__all__ = ["Releases"]


@dataclass(frozen=True, slots=True)
class Releases:
    """One process's. `watch` is made by `watching`, since it acts through a gate that knows these assets' facts."""

    records: Records
    clock: Clock
    catalogue: Catalogue
    environments: Environments
    trials: Trials
    promotions: Promotions
    deployments: ReleaseDeployments
    served: ServedModels
    registry: ModelRegistry
    applications: Applications
    policies: PolicyStore

    @classmethod
    def open(
        cls,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        rules: ReleaseRules,
        registry: ModelRegistry,
        applications: Applications,
        policies: PolicyStore,
        was_revoked: WasRevoked,
        *,
        cards: Cards | None = None,
        data: DataSets | None = None,
        false_alarms: float = 0.01,
    ) -> "Releases":
        statements = Statements(keyring)
        catalogue = Catalogue(
            records, keyring, statements, clock, registry, applications, policies, was_revoked, Indexes(data)
        )
        environments = Environments(records, statements, clock, rules, catalogue, registry, applications)
        trials = Trials(clock, catalogue, environments, registry, false_alarms)
        checks = Checks(rules, registry, cards, data)
        promotions = Promotions(records, clock, catalogue, environments, trials, checks, registry)
        deployments = ReleaseDeployments(records, catalogue, environments, trials, registry)
        return cls(
            records, clock, catalogue, environments, trials, promotions, deployments, ServedModels(clock), registry,
            applications, policies,
        )  # fmt: skip

    def watching(self, gate: Gate, subject: Subject, *, heals: bool) -> Watch:
        return Watch(
            self.records, self.clock, gate, subject, self.catalogue, self.environments, self.trials, self.registry,
            self.applications, self.policies, self.served, heals=heals,
        )  # fmt: skip

    def status(self, watch: Watch) -> list[EnvironmentState]:
        """What runs where, since when, by whom it was approved, and when it was verified last."""
        with self.records.read() as conn:
            return [
                EnvironmentState(
                    rule.name,
                    rule.approvals,
                    tuple(self._running(conn, watch, row) for row in self.environments.all_running(conn, rule.name)),
                )
                for rule in self.environments.rules.environment
            ]

    def _running(self, conn: Connection, watch: Watch, row: Any) -> Running:  # a row, whose type no table declares
        values = row._mapping
        trial = self.trials.find(conn, values["environment"], values["product"])
        verified = watch.last(conn, values["environment"], values["product"])
        if verified is not None and verified.at < values["at"]:
            verified = None  # of what ran before: this one has not been looked at yet
        answering = {values["release"], trial.release if trial is not None else ""}
        return Running(
            product=values["product"],
            release=values["release"],
            sequence=int(values["sequence"]),
            kind=values["kind"],
            by=values["by"],
            since=values["at"],
            approved_by=self.promotions.approved_for(conn, values["release"], values["environment"]),
            trial=trial,
            verified=verified,
            troubles=tuple(
                ServingTrouble(one.process, one.release, one.model, one.trouble)
                for one in self.served.loaded(conn, values["environment"])
                if one.trouble and one.release in answering
            ),
        )
