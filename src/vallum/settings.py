"""Every setting, in one frozen tree: read once, validated whole, handed over by the composition root.

A file (`vallum.toml`) gives sections; the environment overrides one field as `VALLUM_SECTION_FIELD`. Defaults are
the safe ones. Unknown keys are problems, and all problems are reported together, so that a typing slip never
turns a protection off in silence. Secrets are not settings: a passphrase or token is named by a file's path.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, assert_never, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from vallum.kernel.errors import Invalid

__all__ = [
    "BlobSettings",
    "CounterSettings",
    "GatewaySettings",
    "InvalidSettings",
    "KeySettings",
    "LedgerSettings",
    "LogSettings",
    "ModelSettings",
    "NoticeSettings",
    "RecordSettings",
    "ReleaseSettings",
    "ServerSettings",
    "Settings",
    "TelemetrySettings",
    "describe_settings",
    "load_settings",
]

_VAULT_NAME = r"^[A-Za-z0-9_.-]+$"  # parts of a URL's path: nothing that could lead elsewhere
_VAULT_PATH = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"

_KIND_TREATED = "(personal|health|financial|credential|special|confidential|restricted)"
_TREATED = f"^({_KIND_TREATED}(,{_KIND_TREATED})*)?$"

MAX_SETTINGS_BYTES = 262_144  # a settings file is some kilobytes; refuse what cannot be one before parsing


class InvalidSettings(Invalid):
    """One or more settings are wrong; the message lists every one."""

    code = "invalid_settings"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class ServerSettings(_Section, frozen=True):
    """Where Vallum listens, and with what certificate."""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="TCP port to listen on.")] = 8443
    public_url: Annotated[
        str, Meta(description="The URL clients use, where it differs from host and port (behind a load balancer).")
    ] = ""
    workers: Annotated[
        int,
        Meta(ge=1, le=64, description="Worker processes. More than one needs `counters.url`, to keep limits exact."),
    ] = 1
    certificate_file: Annotated[
        str, Meta(description="PEM certificate chain. Empty: a local CA is made in the data folder on first run.")
    ] = ""
    key_file: Annotated[str, Meta(description="PEM private key of `certificate_file`.")] = ""
    unsafe_plain_http: Annotated[
        bool, Meta(description="Serve without TLS. Accepted on a loopback address only; keys travel in the clear.")
    ] = False
    mtls_port: Annotated[
        int, Meta(ge=0, le=65535, description="Mutual TLS: where services prove themselves by certificate. 0: nowhere.")
    ] = 0
    mtls_ca_file: Annotated[
        str, Meta(description="PEM of the authorities of a mesh whose certificates services have, beside Vallum's own.")
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses or networks of load balancers, parted by spaces, whose X-Forwarded-For is believed."
        ),
    ] = ""
    drain_seconds: Annotated[
        int, Meta(ge=1, le=600, description="How long requests in flight may take to finish after SIGTERM.")
    ] = 30

    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Raises ValueError for what is no address."""
        return tuple(ip_network(text) for text in self.trusted_proxies.split())


class RecordSettings(_Section, frozen=True):
    """The database."""

    url: Annotated[
        str, Meta(description="`postgresql://…`, or `sqlite:///PATH`. Empty: `records.db` in the data folder.")
    ] = ""
    pool_size: Annotated[int, Meta(ge=1, le=100, description="Connections kept open by each process.")] = 5


class BlobSettings(_Section, frozen=True):
    """Where large objects and the ledger's published tiles lie."""

    url: Annotated[
        str, Meta(description="`file:///PATH`, `s3://BUCKET/PREFIX`, `gs://…` or `az://…`. Empty: the data folder.")
    ] = ""


class ModelSettings(_Section, frozen=True):
    """The model registry; and serving predictive models, each in a process of its own, shut in by the kernel."""

    trusted_signers_file: Annotated[
        str,
        Meta(description="TOML that names whose model signatures count beside the platform's own. Empty: nobody's."),
    ] = ""
    signing: Annotated[
        Literal["sealed", "token"],
        Meta(
            description="Where the keys that sign versions lie: `sealed` in the database, or on the `token` that "
            "`keys.pkcs11_*` names (extra `hsm`), which they never leave."
        ),
    ] = "sealed"
    signing_curve: Annotated[
        Literal["P-256", "P-384"], Meta(description="Of signing keys that are made from now on.")
    ] = "P-256"
    signing_label: Annotated[str, Meta(min_length=1, description="The label of signing keys on the token.")] = (
        "vallum-models"
    )
    spool: Annotated[
        str,
        Meta(
            description="Folder for models being scanned, in the clear: in memory or on an encrypted disk, best. "
            "Empty: `tmp/models` in the data folder."
        ),
    ] = ""
    max_upload_bytes: Annotated[int, Meta(ge=1, description="Most bytes of one version.")] = 200 << 30
    pip_audit: Annotated[
        bool,
        Meta(
            description="Each night, ask pip-audit's service, too, what is known of the packages that models need: it "
            "is sent their names and versions. Needs `vallum[audit]`."
        ),
    ] = False
    osv_url: Annotated[str, Meta(description="With `pip_audit`: an OSV service in place of PyPI's own.")] = ""
    serve: Annotated[
        str,
        Meta(description="Which environment's releases are served here. Empty: that of `environment`, or else `prod`."),
    ] = ""
    unsafe_folder: Annotated[
        str,
        Meta(
            description="For local development: a folder of signed models that are served without a release. Nothing "
            "but `unsafe_folder_key` approves them."
        ),
    ] = ""
    unsafe_folder_key: Annotated[
        str, Meta(description="PEM of the public key whose signatures count in `unsafe_folder`.")
    ] = ""
    unsafe_no_sandbox: Annotated[
        bool,
        Meta(
            description="Serve models although the kernel cannot shut them in: a hostile model may then read what this "
            "server reads and reach what it reaches."
        ),
    ] = False


_KEPT = "Days that a version of class {} is kept where its contract names no retention."


class DataSetSettings(_Section, frozen=True):
    """Governed data sets."""

    spool: Annotated[
        str,
        Meta(
            description="Folder for sources while they are judged, in the clear: in memory or on an encrypted disk, "
            "best. Empty: `tmp/data` in the data folder."
        ),
    ] = ""
    max_source_bytes: Annotated[int, Meta(ge=1, description="Most bytes of one source.")] = 200 << 30
    must_treat: Annotated[
        str,
        Meta(
            pattern=_TREATED,
            description="Kinds of data that are not kept as they came, divided by commas: `personal`, `health`, "
            "`financial`, `credential`, `special`, or the classes `confidential` and `restricted`. A contract says how "
            "they are treated.",
        ),
    ] = "credential"
    untreated: Annotated[
        Literal["treat", "refuse"],
        Meta(
            description="What becomes of a column that must be treated, and whose contract does not say how: `treat` "
            "redacts it, in a text only what was found; `refuse` fails the version."
        ),
    ] = "treat"
    erased: Annotated[
        Literal["hold", "refuse"],
        Meta(
            description="What becomes of rows that bring somebody back who was erased: `hold` puts them into "
            "quarantine, as a case by themselves; `refuse` fails the version."
        ),
    ] = "hold"

    recognisers: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z0-9_-]+(,[A-Za-z0-9_-]+)*)?$",
            description="Guards that read texts of data sets beside the rules, for names and what else has no form, "
            "divided by commas: entry points of `vallum.guards`, as `presidio`. One that does not load stops intake.",
        ),
    ] = ""

    @property
    def kinds_treated(self) -> tuple[str, ...]:
        return tuple(self.must_treat.split(",")) if self.must_treat else ()

    public_days: Annotated[int, Meta(ge=1, le=36_500, description=_KEPT.format("public"))] = 3650
    internal_days: Annotated[int, Meta(ge=1, le=36_500, description=_KEPT.format("internal"))] = 1825
    confidential_days: Annotated[int, Meta(ge=1, le=36_500, description=_KEPT.format("confidential"))] = 730
    restricted_days: Annotated[int, Meta(ge=1, le=36_500, description=_KEPT.format("restricted"))] = 365

    @property
    def retention_days(self) -> dict[str, int]:
        """By class."""
        return {
            "public": self.public_days, "internal": self.internal_days, "confidential": self.confidential_days,
            "restricted": self.restricted_days,
        }  # fmt: skip


class CounterSettings(_Section, frozen=True):
    """Rate limits and budgets."""

    url: Annotated[
        str, Meta(description="`redis://…` or `rediss://…` (Valkey too). Empty: counted in process, for one worker.")
    ] = ""


class KeySettings(_Section, frozen=True):
    """The root key that wraps every other key, and how long keys are in use."""

    root: Annotated[
        Literal["file", "pkcs11", "vault", "aws", "gcp", "azure"],
        Meta(
            description="Where the root key lies: `file`; `pkcs11`, an HSM (extra `hsm`); `vault`, the transit engine "
            "of Vault or OpenBao; `aws`, `gcp` or `azure`, the cloud's KMS (extra of that name)."
        ),
    ] = "file"
    pkcs11_module: Annotated[str, Meta(description="The HSM's PKCS#11 module, a shared library.")] = ""
    pkcs11_token: Annotated[str, Meta(description="The label of the token that holds the root key.")] = ""
    pkcs11_pin_file: Annotated[str, Meta(description="A file whose first line is the token's user PIN.")] = ""
    pkcs11_label: Annotated[str, Meta(min_length=1, description="The root key's label on the token.")] = "vallum"
    vault_url: Annotated[str, Meta(description="Vault's or OpenBao's address, `https://HOST:8200`.")] = ""
    vault_key: Annotated[
        str, Meta(pattern=_VAULT_NAME, description="The transit key's name; its type is `aes256-gcm96`.")
    ] = "vallum"
    vault_mount: Annotated[str, Meta(pattern=_VAULT_PATH, description="Where the transit engine is mounted.")] = (
        "transit"
    )
    vault_namespace: Annotated[str, Meta(description="The namespace, where there are any.")] = ""
    vault_ca_file: Annotated[
        str, Meta(description="PEM of the CA that signed Vault's certificate, if a private one.")
    ] = ""
    vault_login: Annotated[Literal["token", "approle", "kubernetes"], Meta(description="How to sign in to Vault.")] = (
        "token"
    )
    vault_login_mount: Annotated[str, Meta(description="Where that method is mounted. Empty: under its own name.")] = ""
    vault_role: Annotated[str, Meta(description="The AppRole's role id, or the Kubernetes role. Not for a token.")] = ""
    vault_credential_file: Annotated[
        str,
        Meta(
            description="A file whose first line is the token, the AppRole's secret id or the service account's token. "
            "Read when needed, so that what renews it may replace it."
        ),
    ] = ""
    aws_key: Annotated[str, Meta(description="The KMS key's ARN, `arn:aws:kms:…:key/…`; no alias.")] = ""
    gcp_key: Annotated[
        str, Meta(description="The Cloud KMS key, `projects/…/locations/…/keyRings/…/cryptoKeys/…`.")
    ] = ""
    azure_key: Annotated[str, Meta(description="The key's URL without a version, `https://VAULT/keys/NAME`.")] = ""
    passphrase_file: Annotated[
        str, Meta(description="A file whose first line seals the root key. Empty: the key file is only mode 0600.")
    ] = ""
    rotation_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36_500,
            description="How long a keyset's version seals, unless it has its own schedule. 0: for ever.",
        ),
    ] = 365
    rotate_automatically: Annotated[
        bool, Meta(description="Rotate keysets when they are due. Otherwise that is somebody's to do.")
    ] = True
    max_age_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36_500,
            description="How old the root key, a signing key, a client secret or an API key without expiry may be, and "
            "how long an API key may go unused, before it is reported. 0: for ever.",
        ),
    ] = 365


class LedgerSettings(_Section, frozen=True):
    """The tamper-evident log."""

    origin: Annotated[
        str,
        Meta(
            max_length=200,
            description="The log's name in its checkpoints; never change it. Empty: vallum.local/[ENVIRONMENT/]ledger.",
        ),
    ] = ""
    publish_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="How often tiles and the checkpoint are published to the blob store.")
    ] = 5.0
    checkpoint_file: Annotated[
        str,
        Meta(
            description="A copy of the newest checkpoint outside the database. Empty: `checkpoint` in the data folder."
        ),
    ] = ""
    witness_policy_file: Annotated[
        str,
        Meta(description="Who cosigns each published head, in the C2SP tlog-policy format. Empty: no witnesses."),
    ] = ""


class GatewaySettings(_Section, frozen=True):
    """Bounds on inference traffic; per-application limits stand in the application's file."""

    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=268_435_456, description="Largest request body accepted; images are most of it.")
    ] = 16_777_216
    read_timeout_seconds: Annotated[
        float, Meta(gt=0, le=600, description="How long a client may take to send its body.")
    ] = 30.0
    max_stream_chars: Annotated[
        int, Meta(ge=1024, description="Longest streamed answer, in characters; longer ones are cut and recorded.")
    ] = 4_000_000


class AccessSettings(_Section, frozen=True):
    """How people sign in, and for how long; and whose certificates services have."""

    trust_domain: Annotated[
        str,
        Meta(description="The SPIFFE trust domain of certificates issued here. Empty: the host of `ledger.origin`."),
    ] = ""
    session_hours: Annotated[
        int, Meta(ge=1, le=24, description="How long a session lasts, whatever is done with it.")
    ] = 8
    session_idle_minutes: Annotated[
        int, Meta(ge=5, le=1440, description="How long a session lasts while nothing is done with it.")
    ] = 120


class OidcSettings(_Section, frozen=True):
    """Single sign-on by OpenID Connect. Off without an issuer."""

    issuer: Annotated[str, Meta(description="The provider's issuer, exactly as its discovery document says.")] = ""
    client_id: Annotated[str, Meta(description="Vallum's client id there.")] = ""
    client_secret_file: Annotated[
        str, Meta(description="A file whose first line is the client's secret. Empty: a public client, PKCE alone.")
    ] = ""
    roles: Annotated[
        str, Meta(description="Which group gives which role: `GROUP=ROLE, GROUP=ROLE`. Others may not sign in.")
    ] = ""
    groups_claim: Annotated[str, Meta(min_length=1, description="The claim that holds the groups.")] = "groups"
    name_claim: Annotated[str, Meta(min_length=1, description="The claim that holds the sign-in name.")] = (
        "preferred_username"
    )
    scope: Annotated[str, Meta(min_length=6, description="The scopes to ask for.")] = "openid profile email"
    mfa_amr: Annotated[
        str, Meta(description="Methods (`amr`, RFC 8176) of which one proves a second factor, parted by spaces.")
    ] = "mfa"
    mfa_acr: Annotated[str, Meta(description="Contexts (`acr`) of which each proves one, too.")] = ""
    applications: Annotated[
        str,
        Meta(
            description="Which client's ID tokens an application may exchange: `CLIENT_ID=APPLICATION, …`. Empty: none."
        ),
    ] = ""
    ca_file: Annotated[str, Meta(description="PEM of the CA of a provider with a certificate of its own.")] = ""

    def role_of_group(self) -> dict[str, str]:
        """Raises ValueError for what is not `GROUP=ROLE`."""
        return _pairs(self.roles, "GROUP=ROLE")

    def application_of_client(self) -> dict[str, str]:
        """Raises ValueError for what is not `CLIENT_ID=APPLICATION`."""
        return _pairs(self.applications, "CLIENT_ID=APPLICATION")


def _pairs(text: str, form: str) -> dict[str, str]:
    pairs = [pair.rpartition("=") for pair in text.split(",") if pair.strip()]
    if any(not name.strip() or not value.strip() for name, _, value in pairs):
        raise ValueError(f"write {form}, {form}")
    return {name.strip(): value.strip() for name, _, value in pairs}


class NoticeSettings(_Section, frozen=True):
    """Who is told of alerts, incidents, requests for access and proposed policies. Off without a receiver."""

    webhook_url: Annotated[str, Meta(description="Where each notice is POSTed as JSON (Standard Webhooks).")] = ""
    webhook_secret_file: Annotated[
        str, Meta(description="A file whose first line signs them: `whsec_` and 24 to 64 random bytes in base64.")
    ] = ""
    smtp_host: Annotated[str, Meta(description="A mail server, over TLS always. Empty: no mail.")] = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65535, description="Its port for submission.")] = 587
    smtp_tls: Annotated[
        Literal["starttls", "implicit"], Meta(description="TLS after a greeting in the clear, or from the start.")
    ] = "starttls"
    smtp_user: Annotated[str, Meta(description="Who signs in there. Empty: nobody does.")] = ""
    smtp_password_file: Annotated[str, Meta(description="A file whose first line is that user's password.")] = ""
    mail_from: Annotated[str, Meta(description="The address that notices come from.")] = ""
    mail_to: Annotated[str, Meta(description="The addresses that notices go to, parted by spaces.")] = ""
    ca_file: Annotated[str, Meta(description="PEM of the CA of a receiver with a certificate of its own.")] = ""

    def recipients(self) -> tuple[str, ...]:
        return tuple(self.mail_to.split())


class ReleaseSettings(_Section, frozen=True):
    """What releases go through, and how what runs is watched."""

    rules_file: Annotated[
        str, Meta(description="TOML with environments, approvals and checks. Empty: dev, test and prod, as documented.")
    ] = ""
    verify_minutes: Annotated[int, Meta(ge=1, le=59, description="How often what runs is verified again.")] = 5
    heal: Annotated[bool, Meta(description="Deploy the verified release again where what runs drifted from it.")] = True
    false_alarms: Annotated[
        float, Meta(gt=0, le=0.5, description="The chance that a canary no worse than the stable release is stopped.")
    ] = 0.01


class TelemetrySettings(_Section, frozen=True):
    """Metrics and traces. Neither holds content."""

    metrics: Annotated[bool, Meta(description="Serve Prometheus metrics at `/metrics`.")] = True
    otlp_endpoint: Annotated[
        str, Meta(description="OTLP/HTTP endpoint for traces, needs the `otel` extra. Empty: no traces.")
    ] = ""


class LogSettings(_Section, frozen=True):
    """The operator's log on standard error. It holds ids and codes, never content."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severity shown.")] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="Line format.")] = "text"


class Settings(_Section, frozen=True):
    """The whole tree. `data` is the folder that embedded defaults live in."""

    data: Annotated[str, Meta(min_length=1, description="Folder for the embedded database, keys, blobs and CA.")] = (
        "vallum-data"
    )
    environment: Annotated[
        str,
        Meta(
            pattern=r"^([a-z][a-z0-9-]{0,31})?$",
            description="dev, test, prod, …: keys made in one open in no other. Set it at first, and never change it.",
        ),
    ] = ""
    server: ServerSettings = ServerSettings()
    records: RecordSettings = RecordSettings()
    blobs: BlobSettings = BlobSettings()
    models: ModelSettings = ModelSettings()
    datasets: DataSetSettings = DataSetSettings()
    counters: CounterSettings = CounterSettings()
    keys: KeySettings = KeySettings()
    ledger: LedgerSettings = LedgerSettings()
    access: AccessSettings = AccessSettings()
    oidc: OidcSettings = OidcSettings()
    gateway: GatewaySettings = GatewaySettings()
    notices: NoticeSettings = NoticeSettings()
    releases: ReleaseSettings = ReleaseSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    log: LogSettings = LogSettings()

    @property
    def data_path(self) -> Path:
        return Path(self.data).expanduser().resolve()

    @property
    def records_url(self) -> str:
        return self.records.url or f"sqlite:///{self.data_path / 'records.db'}"

    @property
    def blobs_url(self) -> str:
        return self.blobs.url or (self.data_path / "blobs").as_uri()

    @property
    def served_environment(self) -> str:
        return self.models.serve or self.environment or "prod"

    @property
    def advisories_path(self) -> Path:
        return self.data_path / "advisories.sqlite"

    @property
    def spool_path(self) -> Path:
        return Path(self.models.spool) if self.models.spool else self.data_path / "tmp" / "models"

    @property
    def data_spool_path(self) -> Path:
        return Path(self.datasets.spool) if self.datasets.spool else self.data_path / "tmp" / "data"

    @property
    def checkpoint_path(self) -> Path:
        return Path(self.ledger.checkpoint_file) if self.ledger.checkpoint_file else self.data_path / "checkpoint"

    @property
    def origin(self) -> str:
        """The ledger's name, and the issuer of what is signed here."""
        place = f"{self.environment}/" if self.environment else ""
        return self.ledger.origin or f"vallum.local/{place}ledger"

    @property
    def trust_domain(self) -> str:
        return self.access.trust_domain or self.origin.partition("/")[0].lower()

    @property
    def mtls_url(self) -> str:
        """Where services prove themselves by certificate: the host that clients know, and the port for this alone."""
        host = urlsplit(self.url).hostname or self.server.host
        return f"https://{f'[{host}]' if ':' in host else host}:{self.server.mtls_port}"

    @property
    def url(self) -> str:
        """What a client on this machine puts before `/v1`."""
        scheme = "http" if self.server.unsafe_plain_http else "https"
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        return self.server.public_url.rstrip("/") or f"{scheme}://{host}:{self.server.port}"


_ADDRESS = re.compile(r"[^@\s,<>\[\]()\":;\\]+@[A-Za-z0-9.-]+")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def load_settings(
    file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None
) -> Settings:
    """Read once, validate whole. `overrides` are dotted names from the command line and win.

    Raises InvalidSettings that lists every problem with its place.
    """
    problems: list[str] = []
    tree = _read_file(file, problems) if file else {}
    _merge_environment(tree, environ, problems)
    for dotted, value in (overrides or {}).items():
        _place(tree, dotted, value)
    settings = _checked(tree, problems)
    if settings is not None:
        problems += _cross_checks(settings)
    if problems or settings is None:
        raise InvalidSettings("the settings have problems:\n" + "\n".join(f"  - {p}" for p in problems))
    return settings


def describe_settings() -> Iterator[tuple[str, str, object, str]]:
    """Every setting as (dotted name, environment variable, default, description): the reference is made of it."""
    for dotted, hint, default in _fields():
        description = next(m.description for m in hint.__metadata__ if isinstance(m, Meta))
        yield dotted, "VALLUM_" + dotted.replace(".", "_").upper(), default, description or ""


def _fields() -> Iterator[tuple[str, Any, object]]:
    for name, value in zip(Settings.__struct_fields__, msgspec.structs.astuple(Settings()), strict=True):
        if isinstance(value, _Section):
            hints = get_type_hints(type(value), include_extras=True)
            for leaf, default in zip(value.__struct_fields__, msgspec.structs.astuple(value), strict=True):
                yield f"{name}.{leaf}", hints[leaf], default
        else:
            yield name, get_type_hints(Settings, include_extras=True)[name], value


def _read_file(file: Path, problems: list[str]) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_SETTINGS_BYTES + 1)
    except OSError as e:
        problems.append(f"{file}: cannot be read ({e.strerror})")
        return {}
    if len(raw) > MAX_SETTINGS_BYTES:
        problems.append(f"{file}: larger than {MAX_SETTINGS_BYTES} bytes")
        return {}
    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        problems.append(f"{file}: not TOML ({e})")
        return {}


def _merge_environment(tree: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    variables = {variable: dotted for dotted, variable, _, _ in describe_settings()}
    for variable, text in environ.items():
        if not variable.startswith("VALLUM_") or variable in _OTHER_VARIABLES:
            continue
        dotted = variables.get(variable)
        if dotted is None:
            problems.append(f"{variable}: no such setting")
            continue
        _place(tree, dotted, text)


def _place(tree: dict[str, Any], dotted: str, value: object) -> None:
    """Set one field; where the file gave a section as a plain value, leave that for the check to report."""
    section, _, name = dotted.rpartition(".")
    branch = tree.setdefault(section, {}) if section else tree
    if isinstance(branch, dict):
        branch[name] = value


# Read by the client and the tests, not by the server.
_OTHER_VARIABLES = frozenset(
    {
        "VALLUM_CONFIG",
        "VALLUM_CREDENTIALS",
        "VALLUM_TEST_POSTGRES",
        "VALLUM_TEST_REDIS",
        "VALLUM_TEST_KILL_ROUNDS",
        "VALLUM_TEST_RACE_ROUNDS",
    }
)


def _checked(tree: Mapping[str, Any], problems: list[str]) -> Settings | None:
    """Convert field by field, since msgspec stops at the first problem and an operator wants them all."""
    known = {dotted: hint for dotted, hint, _ in _fields()}
    sections = {dotted.partition(".")[0] for dotted in known if "." in dotted}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if name in sections and isinstance(value, dict):
            flat |= {f"{name}.{leaf}": v for leaf, v in value.items()}
        else:
            flat[name] = value
    built: dict[str, Any] = {}
    before = len(problems)
    for dotted, value in flat.items():
        if dotted not in known:
            problems.append(f"{dotted}: no such setting")
            continue
        try:
            converted = msgspec.convert(value, known[dotted], strict=not isinstance(value, str))
        except msgspec.ValidationError as e:
            problems.append(f"{dotted}: {e}")
            continue
        section, _, name = dotted.rpartition(".")
        (built.setdefault(section, {}) if section else built)[name] = converted
    return msgspec.convert(built, Settings) if len(problems) == before else None


def _cross_checks(settings: Settings) -> Iterator[str]:
    server = settings.server
    if server.unsafe_plain_http and server.host not in _LOOPBACK:
        yield f"server.unsafe_plain_http: only on a loopback address, not on {server.host}"
    if bool(server.certificate_file) != bool(server.key_file):
        yield "server.certificate_file and server.key_file: give both or neither"
    if server.workers > 1 and not settings.counters.url:
        yield "server.workers: more than one needs counters.url, since limits are counted in process without it"
    if server.mtls_port == server.port:
        yield "server.mtls_port: another port than server.port, which asks nobody for a certificate"
    if server.mtls_port and server.unsafe_plain_http:
        yield "server.mtls_port: needs TLS, and server.unsafe_plain_http turns it off"
    if server.mtls_port and not re.fullmatch(r"[a-z0-9._-]{1,255}", settings.trust_domain):
        yield "access.trust_domain: lower-case letters, digits, '.', '_' and '-'"
    yield from _key_checks(settings.keys)
    if settings.environment == "prod":
        if server.unsafe_plain_http:
            yield "environment: prod is served over TLS, and server.unsafe_plain_http turns it off"
        if settings.keys.root == "file" and not settings.keys.passphrase_file:
            yield "environment: prod seals its root key: give keys.passphrase_file, or keep it in an HSM or KMS"
    oidc = settings.oidc
    if oidc.issuer:
        if not oidc.client_id or not oidc.roles:
            yield "oidc.issuer: single sign-on needs oidc.client_id and oidc.roles, too"
        if not oidc.mfa_amr.strip() and not oidc.mfa_acr.strip():
            yield "oidc.mfa_amr: say how the provider proves a second factor, here or in oidc.mfa_acr"
        try:
            oidc.role_of_group()
        except ValueError as e:
            yield f"oidc.roles: {e}"
        try:
            oidc.application_of_client()
        except ValueError as e:
            yield f"oidc.applications: {e}"
    if settings.models.signing == "token":
        keys = settings.keys
        if not (keys.pkcs11_module and keys.pkcs11_token and keys.pkcs11_pin_file):
            yield "models.signing: a token needs keys.pkcs11_module, keys.pkcs11_token and keys.pkcs11_pin_file"
    if settings.models.osv_url and not _is_service_url(settings.models.osv_url):
        yield "models.osv_url: https://HOST…; plain HTTP is taken from this machine alone"
    yield from _notice_checks(settings.notices)
    try:
        server.proxies()
    except ValueError as e:
        yield f"server.trusted_proxies: {e}"
    if any(c.isspace() for c in settings.ledger.origin) or "+" in settings.ledger.origin:
        yield "ledger.origin: no spaces and no '+'"


def _is_service_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.query or parts.fragment or not host:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


def _key_checks(keys: KeySettings) -> Iterator[str]:
    match keys.root:
        case "file":
            return
        case "pkcs11":
            if not (keys.pkcs11_module and keys.pkcs11_token and keys.pkcs11_pin_file):
                yield "keys.root: an HSM needs keys.pkcs11_module, keys.pkcs11_token and keys.pkcs11_pin_file"
        case "vault":
            if not (keys.vault_url and keys.vault_credential_file):
                yield "keys.root: Vault needs keys.vault_url and keys.vault_credential_file"
            elif not _is_service_url(keys.vault_url):
                yield "keys.vault_url: https://HOST:PORT and no more; plain HTTP is taken from this machine alone"
            if (keys.vault_login == "token") == bool(keys.vault_role):
                yield "keys.vault_role: for approle and kubernetes, and for no token"
        case "aws" | "gcp" | "azure":
            if not getattr(keys, f"{keys.root}_key"):
                yield f"keys.root: {keys.root} needs keys.{keys.root}_key"
        case _:
            assert_never(keys.root)


def _notice_checks(notices: NoticeSettings) -> Iterator[str]:
    if notices.webhook_url:
        if not _is_receiver(notices.webhook_url):
            yield "notices.webhook_url: https://HOST…, or http on a loopback address"
        if not notices.webhook_secret_file:
            yield "notices.webhook_url: needs notices.webhook_secret_file, so that its receiver knows who sends"
    if notices.smtp_host:
        addresses = (notices.mail_from, *notices.recipients())
        if not notices.mail_to or not all(_ADDRESS.fullmatch(address) for address in addresses):
            yield "notices.smtp_host: needs notices.mail_from and notices.mail_to, as name@host"
        if notices.smtp_user and not notices.smtp_password_file:
            yield "notices.smtp_user: needs notices.smtp_password_file"


def _is_receiver(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # which raises for one that is no number
    except ValueError:
        return False
    if not host or not url.isascii() or any(char.isspace() for char in url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
