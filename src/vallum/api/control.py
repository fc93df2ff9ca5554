"""Performing a route: the gate first, then the work, then one entry that says how it went.

Every face comes through `ControlPlane.perform`: HTTP, the console, and the command line on the machine itself.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from vallum.api.routing import Prepared, Route
from vallum.inventory import Inventory
from vallum.kernel.clock import Clock
from vallum.kernel.errors import Unauthenticated, Unavailable, VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.identity import SESSION_PREFIX, Identity, Peer, Session
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Vault
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.ledger.writer import LedgerWriter
from vallum.kernel.policy import Directory, PolicyChanges, PolicyEngine, PolicyStore
from vallum.kernel.store.records import Records
from vallum.kernel.upkeep import Upkeep
from vallum.kernel.values import AssetRef, Subject
from vallum.monitor.alerts import Alerts

if TYPE_CHECKING:  # whoever opens one imports it
    from vallum.data.catalogue import DataCatalogue
    from vallum.data.subjects import SubjectErasures
    from vallum.models.registry import DependencyWatch, Descriptions, Registry
    from vallum.monitor import ExportAlerts
    from vallum.releases import Releases, Watch

__all__ = ["Call", "ControlPlane", "Domains", "Performed", "Services"]

_READ_RECORDED_SECONDS = 60  # a page that refreshes itself would fill the ledger with its own reading
_MAX_REMEMBERED_READS = 10_000


class Domains(Protocol):
    """What lies above the kernel. Asking for one may open it: a server has asked for all before it serves."""

    @property
    def models(self) -> "Registry": ...

    @property
    def model_descriptions(self) -> "Descriptions": ...

    @property
    def dependency_watch(self) -> "DependencyWatch": ...

    @property
    def releases(self) -> "Releases": ...

    @property
    def release_watch(self) -> "Watch": ...

    @property
    def data(self) -> "DataCatalogue": ...

    @property
    def export_alerts(self) -> "ExportAlerts": ...

    @property
    def subject_erasures(self) -> "SubjectErasures": ...


@dataclass(frozen=True, slots=True)
class Services:
    """What routes work with."""

    records: Records
    clock: Clock
    identity: Identity
    inventory: Inventory
    keyring: Keyring
    vault: Vault
    upkeep: Upkeep
    ledger: Ledger
    writer: LedgerWriter
    policy: PolicyEngine
    policy_store: PolicyStore
    policy_changes: PolicyChanges
    directory: Directory
    alerts: Alerts
    domains: Domains
    public_url: str
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    environment: str = ""

    @property
    def models(self) -> "Registry":
        return self.domains.models

    @property
    def model_descriptions(self) -> "Descriptions":
        return self.domains.model_descriptions

    @property
    def dependency_watch(self) -> "DependencyWatch":
        return self.domains.dependency_watch

    @property
    def releases(self) -> "Releases":
        return self.domains.releases

    @property
    def release_watch(self) -> "Watch":
        return self.domains.release_watch

    @property
    def data(self) -> "DataCatalogue":
        return self.domains.data

    @property
    def export_alerts(self) -> "ExportAlerts":
        return self.domains.export_alerts

    @property
    def subject_erasures(self) -> "SubjectErasures":
        return self.domains.subject_erasures


@dataclass(frozen=True, slots=True)
class Call:
    """One request, decoded: `body` and `query` are of the route's types. `credential` is what was presented, `peer`
    where it came from, `dpop` the DPoP proof beside it, `urls` the names this request may have been sent to,
    `certificate` (DER) what a mutual TLS handshake verified."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    subject: Subject | None = None
    session: Session | None = None
    credential: str = field(default="", repr=False)
    peer: Peer = field(default=Peer())
    dpop: str = field(default="", repr=False)
    urls: tuple[str, ...] = ()
    certificate: bytes = field(default=b"", repr=False)
    prepared: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Performed:
    """A route's answer and the entry that records it; None for a read that was recorded moments ago."""

    value: Any
    entry_id: str | None


class ControlPlane:
    """Safe to share between threads. Every method may take some milliseconds: not for an event loop's thread."""

    def __init__(self, services: Services, gate: Gate, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called after each committed change: this process sees it at once, others within their poll."""
        self.services = services
        self._gate = gate
        self._changed = changed
        self._lock = Lock()
        self._recorded_reads: dict[tuple[str, ...], float] = {}
        self._refusals = _RefusalTally(services)

    def authenticate(
        self,
        credential: str,
        *,
        scheme: str = "bearer",
        dpop: str = "",
        method: str = "",
        urls: Sequence[str] = (),
        peer: Peer = Peer(),
    ) -> tuple[Subject, Session | None]:
        """Who presents this session or access token. Raises Unauthenticated; a refusal is recorded.

        A token that is bound to a key comes as `scheme` dpop with a proof of this request, `method` to one of `urls`.
        """
        try:
            if not credential:
                raise Unauthenticated("sign in first: send a session or an access token as Authorization: Bearer")
            if credential.startswith(SESSION_PREFIX):
                return self.services.identity.sessions.authenticate(credential, peer.network)
            return self._authenticate_token(credential, scheme, dpop, method, urls), None
        except Unauthenticated:
            self._refusals.note("api:request:authenticate")
            raise

    def _authenticate_token(self, token: str, scheme: str, dpop: str, method: str, urls: Sequence[str]) -> Subject:
        services = self.services.identity.services
        if scheme != "dpop":
            return services.authenticate_token(token)
        proof = services.check_dpop(dpop, method, urls, token)
        subject = services.authenticate_token(token, proof.thumbprint)
        with self.services.records.write() as conn:
            services.use_up(conn, proof)
        return subject

    def perform(self, route: Route, call: Call) -> Performed:
        """Raises AccessDenied, recorded; and whatever the work raises, recorded for a change."""
        if route.access == "open":
            return self._perform_open(route, call)
        subject = call.subject
        if subject is None:
            raise Unauthenticated("sign in first")
        asset = route.asset(call.path, call.body)
        context = {"route": route.name, **route.context(call.path, call.body)}
        if route.prepare is not None and self._gate.decide(subject, route.action, asset).effect == "allow":
            call = replace(call, prepared=route.prepare(self.services, call))
        prepared = call.prepared if isinstance(call.prepared, Prepared) else Prepared()
        context |= prepared.context
        if route.access == "change":
            kept = prepared.retention_seconds if prepared.contents else None
            with self._gate.change(subject, route.action, asset, context, prepared.contents, kept) as change:
                value = route.perform(self.services, call, change)
            with suppress(Unavailable):  # it is committed; this process then learns of it as the others do
                self._changed()
            return Performed(value, change.receipt.entry_id)
        entry_id = self._admit_read(route, subject, asset, context)
        return Performed(route.perform(self.services, call), entry_id)

    def _admit_read(
        self, route: Route, subject: Subject, asset: AssetRef, context: Mapping[str, str | int]
    ) -> str | None:
        """Denials always leave an entry; the same read by the same credential one a minute, or each where that says."""
        key = (route.name, subject.render(), subject.credential or "", asset.render())
        now = self.services.clock.now().timestamp()
        with self._lock:
            recent = now - self._recorded_reads.get(key, 0.0) < _READ_RECORDED_SECONDS
        if recent and not route.recorded_each and self._gate.decide(subject, route.action, asset).effect == "allow":
            return None
        admission = self._gate.require(subject, route.action, asset, context)
        with self._lock:
            if len(self._recorded_reads) >= _MAX_REMEMBERED_READS:
                self._recorded_reads.clear()
            self._recorded_reads[key] = now
        return admission.receipt.entry_id

    def _perform_open(self, route: Route, call: Call) -> Performed:
        """What comes of it is recorded with it: in its transaction when it succeeds, by itself when it is refused."""
        services = self.services
        asset = route.asset(call.path, call.body)
        try:
            if route.prepare is not None:
                call = replace(call, prepared=route.prepare(services, call))
            if not route.recorded:
                return Performed(route.perform(services, call), None)
            with services.records.write() as conn:
                value, subject = route.perform(services, call, conn)
                found = call.prepared.context if isinstance(call.prepared, Prepared) else {}
                draft = _open_draft(route, asset, subject, found)
                (receipt,) = services.ledger.append(conn, [draft])
        except VallumError as e:
            self._refusals.note(str(route.action), asset, e.code)
            raise
        return Performed(value, receipt.entry_id)


class _RefusalTally:
    """Refusals of strangers: the first of each second is recorded, the others are counted into the next."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = Lock()
        self._next_at = 0.0
        self._uncounted = 0

    def note(self, action: str, asset: AssetRef | None = None, code: str = "unauthenticated") -> None:
        now = self._services.clock.now().timestamp()
        with self._lock:
            if now < self._next_at:
                self._uncounted += 1
                return
            self._next_at = now + 1.0
            attempts, self._uncounted = self._uncounted + 1, 0
        self._services.writer.record_sync(
            EntryDraft(
                tenant=DEFAULT_TENANT,
                kind="authentication",
                subject="nobody",
                action=action,
                asset=(asset or AssetRef("System", "vallum")).render(),
                effect="deny",
                outcome="refused",
                reason="what was presented proves nobody",
                context={"code": code, "attempts": attempts},
            )
        )


def _open_draft(route: Route, asset: AssetRef, subject: str, found: Mapping[str, str | int]) -> EntryDraft:
    return EntryDraft(
        tenant=DEFAULT_TENANT,
        kind="authentication",
        subject=subject,
        action=str(route.action),
        asset=asset.render(),
        effect="allow",
        outcome="ok",
        reason="proven by what the request carried",
        context={"route": route.name, **found},
    )
