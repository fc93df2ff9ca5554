"""The composition root: settings in, a running platform out. The one place that knows every package.

A platform is one process's share: the kernel, wired. The faces are built on it: `build_app` in each serving worker,
`Background` in the one process that sequences, publishes and forgets what has expired.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vallum.api import CERTIFICATE_PATH, TOKEN_PATH, ControlPlane, Services
from vallum.api.control import Call, Performed
from vallum.api.routing import Route
from vallum.compose_domains import OpenedDomains
from vallum.inventory import EPOCH as INVENTORY_EPOCH
from vallum.inventory import Inventory
from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock, SystemClock
from vallum.kernel.errors import Invalid
from vallum.kernel.gate import Gate
from vallum.kernel.identity import EPOCH as IDENTITY_EPOCH
from vallum.kernel.identity import Identity, OidcConfig, OidcProvider
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, RootKeyProvider, RotationRules, Rotations, Vault
from vallum.kernel.keys import EPOCH as KEYS_EPOCH
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.ledger.writer import LedgerWriter
from vallum.kernel.policy import AssetFacts, Directory, PolicyChanges, PolicyEngine, PolicyStore
from vallum.kernel.policy.store import EPOCH as POLICY_EPOCH
from vallum.kernel.store.chores import Chores
from vallum.kernel.store.epochs import EpochWatch
from vallum.kernel.store.records import Records
from vallum.kernel.store.schema import check_schema, migrate
from vallum.kernel.upkeep import Upkeep
from vallum.kernel.values import AssetRef, Subject, SubjectKind, TenantId
from vallum.monitor.alerts import Alerts
from vallum.serving.logs import configure_logging
from vallum.serving.root_keys import make_root, open_destination, open_root
from vallum.serving.root_keys import rotate_root as rotate_root_key
from vallum.settings import KeySettings, OidcSettings, Settings

if TYPE_CHECKING:
    from vallum.serving.local_ca import ServerCertificate
    from vallum.serving.mutual_tls import MutualTlsListener

__all__ = [
    "SYSTEM_SUBJECT",
    "Platform",
    "Role",
    "build_app",
    "load_app",
    "move_root",
    "open_ledger",
    "open_mutual_tls",
    "prepare",
    "rotate_root",
]

_log = logging.getLogger("vallum")

Role = Literal["all", "gateway", "control", "worker"]

SYSTEM_SUBJECT = Subject(SubjectKind.SYSTEM, "vallum", TenantId(DEFAULT_TENANT), credential="root-key")
"""Whoever holds the data folder's root key: local administration, and Vallum's own schedules."""

_KINDS_WITHOUT_ATTRIBUTES = ("System", "Ledger", "Entry", "Keyset", "Secret", "PolicySet", "Session", "Guard")


@dataclass(frozen=True, slots=True)
class Platform:
    """The kernel and the inventory of one process. `start` before use, `close` after."""

    settings: Settings
    clock: Clock
    records: Records
    keyring: Keyring
    vault: Vault
    ledger: Ledger
    writer: LedgerWriter
    identity: Identity
    inventory: Inventory
    policy: PolicyEngine
    policy_store: PolicyStore
    gate: Gate
    control: ControlPlane
    epochs: EpochWatch
    chores: Chores
    domains: OpenedDomains

    @classmethod
    def open(cls, settings: Settings, *, moving_to: RootKeyProvider | None = None) -> "Platform":
        """Raises Unavailable when the database does not answer or is of another release, Invalid for a bad root key.

        With `moving_to`, that root wraps from now on, and the one of the settings only unwraps.
        """
        platform = cls.open_for_one(settings, moving_to=moving_to)
        platform.domains.open_all()
        return platform

    @classmethod
    def open_for_one(cls, settings: Settings, *, moving_to: RootKeyProvider | None = None) -> "Platform":
        """As `open`, for one route to be performed: models, data and releases are opened if that asks for them."""
        clock = SystemClock()
        _require_database(settings)
        records = Records(settings.records_url, pool_size=settings.records.pool_size)
        check_schema(records)
        root = open_root(settings)
        former = [root] if moving_to else []
        keyring = Keyring(records, moving_to or root, clock, former, environment=settings.environment)
        keyring.check_environment()
        vault = Vault(records, keyring, clock)
        ledger = Ledger(keyring, clock, settings.origin)
        writer = LedgerWriter(ledger, records)
        access = settings.access
        identity = Identity.open(
            records, keyring, clock, issuer=settings.origin, url=settings.url,
            trust_domain=settings.trust_domain,
            session_seconds=access.session_hours * 3600, idle_seconds=access.session_idle_minutes * 60,
            sso=_single_sign_on(settings.oidc),
        )  # fmt: skip
        inventory = Inventory(records, clock)
        policy_store = PolicyStore(clock)
        with records.read() as conn:
            policy_set = policy_store.load(conn)
        policy_changes = PolicyChanges(records, clock)
        alerts = Alerts(records, clock)
        directory = _directory(records, identity, inventory, policy_changes, alerts, lambda: domains)
        policy = PolicyEngine(policy_set, directory, clock)
        gate = Gate(policy, ledger, writer, records, identity.grants)
        keys = settings.keys
        rules = RotationRules(keys.rotation_days, keys.rotate_automatically, keys.max_age_days)
        upkeep = Upkeep(records, keyring, vault, Rotations(keyring, clock, rules), gate, clock, SYSTEM_SUBJECT)
        epochs, chores = EpochWatch(records), Chores()
        domains = OpenedDomains(
            settings, records, clock, keyring, ledger, inventory, policy_store, gate, alerts, epochs, chores,
            SYSTEM_SUBJECT,
        )  # fmt: skip
        services = Services(
            records,
            clock,
            identity,
            inventory,
            keyring,
            vault,
            upkeep,
            ledger,
            writer,
            policy,
            policy_store,
            policy_changes,
            directory,
            alerts,
            domains,
            settings.url,
            settings.server.proxies(),
            settings.environment,
        )
        control = ControlPlane(services, gate, epochs.poll_once)
        return cls(
            settings, clock, records, keyring, vault, ledger, writer, identity, inventory, policy, policy_store, gate,
            control, epochs, chores, domains,
        )  # fmt: skip

    def start(self) -> None:
        self.inventory.refresh()
        self.epochs.subscribe(INVENTORY_EPOCH, self.inventory.refresh)
        self.epochs.subscribe(IDENTITY_EPOCH, self.identity.refresh)
        self.chores.every(30, self.identity.api_keys.flush_uses)
        self.chores.every(30, self.vault.flush_uses)
        self.chores.every(300, self.identity.sign_in.sweep)
        self.chores.every(3600, self.identity.sessions.sweep)
        self.chores.every(3600, self.control.services.alerts.sweep)
        self.chores.every(30, self.records.erase_copies_left)
        self.epochs.subscribe(KEYS_EPOCH, self.keyring.refresh)
        self.epochs.subscribe(KEYS_EPOCH, self.vault.refresh)
        self.epochs.subscribe(POLICY_EPOCH, self._refresh_policy)
        self.epochs.poll_once()
        self.writer.start()
        self.epochs.start()
        self.chores.start()

    def close(self) -> None:
        """Flush the ledger, let go of the database, and end what was started."""
        self.chores.stop()
        self.epochs.stop()
        self.domains.close()
        self.writer.close()
        self.records.close()

    def perform(self, route: Route, call: Call) -> Performed:
        """A route of the control plane, by whoever holds the root key."""
        return self.control.perform(route, replace(call, subject=SYSTEM_SUBJECT))

    def _refresh_policy(self) -> None:
        with self.records.read() as conn:
            self.policy.replace(self.policy_store.load(conn))


def prepare(settings: Settings) -> None:
    """Make what a first run needs: the data folder, the root key, the schema. Changes nothing that is there."""
    data = settings.data_path
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise Invalid(f"the data folder {data} cannot be made: {e.strerror}") from e
    records = Records(settings.records_url, pool_size=1)
    try:
        migrate(records)
        with records.write() as conn:
            PolicyStore(SystemClock()).remember_shipped(conn)
        make_root(settings, records)
    finally:
        records.close()


def move_root(settings: Settings, keys: KeySettings) -> int:
    """Wrap every key under the root that `keys` names, in one transaction with its entry; returns how many.

    Whatever uses these settings opens nothing afterwards. May be run again, for what an older process made meanwhile.
    Raises as `open_destination` and `Keyring.rewrap` do.
    """
    platform = Platform.open_for_one(settings, moving_to=open_destination(settings, keys))
    platform.start()
    try:
        context = {"from_root": settings.keys.root, "to_root": keys.root}
        system = AssetRef("System", "vallum")
        with platform.gate.change(SYSTEM_SUBJECT, Action.KEYSET_ROTATE, system, context) as change:
            return platform.keyring.rewrap(change.conn)
    finally:
        platform.close()


def rotate_root(settings: Settings) -> int:
    """Make a fresh root key where the present one lies, and wrap every key under it; returns how many.

    Servers may go on: they find the fresh one, and the former still unwraps. Raises Invalid for a key service.
    """
    platform = Platform.open_for_one(settings)
    platform.start()
    try:
        system = AssetRef("System", "vallum")
        with platform.gate.change(SYSTEM_SUBJECT, Action.KEYSET_ROTATE, system, {"root": settings.keys.root}) as change:
            rotate_root_key(settings)
            return platform.keyring.rewrap(change.conn)
    finally:
        platform.close()


def load_app(settings: Settings, role: Role) -> Any:
    """For a spawned worker: picklable arguments in, an ASGI application out."""
    configure_logging(settings.log)
    return build_app(settings, role)


def build_app(settings: Settings, role: Role) -> Any:
    from vallum.asgi import VallumApp

    return VallumApp(lambda: Platform.open(settings), role, _faces)


def _faces(platform: Platform, role: Role) -> Any:
    """The applications by path prefix; built on the event loop that will run them."""
    from vallum.asgi import Faces
    from vallum.compose_gateway import open_gateway

    gateway = open_gateway(platform) if role in ("all", "gateway") else None
    if role not in ("all", "control"):
        return Faces(gateway, None, None)
    from vallum.api import ApiApp
    from vallum.console import ConsoleApp

    api = ApiApp(platform.control)
    console = ConsoleApp(platform.control, platform.settings.url)
    return Faces(gateway, api, console)


def open_mutual_tls(platform: Platform, certificate: "ServerCertificate | None") -> "MutualTlsListener | None":
    """Where services prove themselves by certificate; None unless it is set. Raises Invalid."""
    settings = platform.settings
    if not settings.server.mtls_port or certificate is None:
        return None
    from vallum.api import ApiApp
    from vallum.serving.mutual_tls import MutualTlsListener, mutual_tls_context

    own = platform.identity.services.authority.pem
    return MutualTlsListener(
        ApiApp(platform.control, (settings.mtls_url, settings.url)),
        settings.server.host,
        settings.server.mtls_port,
        mutual_tls_context(certificate, own, settings.server.mtls_ca_file),
        (TOKEN_PATH, CERTIFICATE_PATH),
    )


def _directory(
    records: Records,
    identity: Identity,
    inventory: Inventory,
    policy_changes: PolicyChanges,
    alerts: Alerts,
    domains: Callable[[], OpenedDomains],
) -> Directory:
    """`domains` are asked when somebody asks for one of their assets, and are made after it."""

    def erasure_facts(ref: AssetRef) -> AssetFacts | None:
        from vallum.data.subjects import erasure_facts

        return erasure_facts(records, ref.id)

    plain = AssetFacts({"tenant": DEFAULT_TENANT})
    return Directory(
        {
            **dict.fromkeys(("Application", "Model", "Provider"), inventory.facts),
            **dict.fromkeys(("Person", "Service", "ApiKey", "Grant"), identity.facts),
            "PolicyChange": lambda ref: policy_changes.facts(ref.id),
            "Alert": lambda ref: alerts.facts(ref.id),
            **dict.fromkeys(("RegisteredModel", "ModelVersion"), lambda ref: domains().models.facts(ref)),
            **dict.fromkeys(
                ("DataSet", "DataSetVersion", "DataColumn", "QuarantineCase"), lambda ref: domains().data.facts(ref)
            ),
            "SubjectErasure": erasure_facts,
            "Release": lambda ref: domains().releases.catalogue.facts(ref.id),
            "Promotion": lambda ref: domains().releases.promotions.facts(ref.id),
            "Environment": lambda ref: domains().releases.environments.facts(ref.id, DEFAULT_TENANT),
            **{kind: lambda ref: plain for kind in _KINDS_WITHOUT_ATTRIBUTES},
        }
    )


def _require_database(settings: Settings) -> None:
    """SQLite makes a file that is not there; an empty one would only be a puzzle."""
    url = settings.records_url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise Invalid(f"there is no database in {settings.data_path}: run vallum up or vallum migrate first")


def _single_sign_on(oidc: OidcSettings) -> tuple[OidcConfig, OidcProvider] | None:
    if not oidc.issuer:
        return None
    from vallum.serving.oidc import HttpOidcProvider

    secret = None
    if oidc.client_secret_file:
        try:
            secret = Path(oidc.client_secret_file).read_text().partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as e:
            raise Invalid("oidc.client_secret_file cannot be read") from e
    roles = oidc.role_of_group()
    check_roles(roles.values())
    config = OidcConfig(
        oidc.issuer, oidc.client_id, roles, oidc.groups_claim, oidc.name_claim, oidc.scope,
        frozenset(oidc.mfa_amr.split()), frozenset(oidc.mfa_acr.split()), oidc.application_of_client(),
    )  # fmt: skip
    return config, HttpOidcProvider(oidc.issuer, oidc.client_id, secret, oidc.ca_file)


@contextmanager
def open_ledger(settings: Settings) -> Iterator[tuple[Records, Ledger, Keyring]]:
    """The ledger alone, for verifying it: no gate, no writer, nothing that could write an entry."""
    _require_database(settings)
    records = Records(settings.records_url, pool_size=1)
    try:
        check_schema(records)
        clock = SystemClock()
        keyring = Keyring(records, open_root(settings), clock, environment=settings.environment)
        keyring.check_environment()
        yield records, Ledger(keyring, clock, settings.origin), keyring
    finally:
        records.close()
