"""The root key that the settings name, opened or made. What lies in a file is read when it is needed, and not kept."""

from functools import partial
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import text

from vallum.kernel.errors import Invalid
from vallum.kernel.keys import (
    AwsKey,
    AzureKey,
    FileRoot,
    GcpKey,
    KeyService,
    Pkcs11Root,
    RemoteRoot,
    RootKeyProvider,
    RootKeyRefused,
    TransitKey,
)
from vallum.kernel.store.records import Records
from vallum.settings import KeySettings, Settings

__all__ = ["make_root", "open_destination", "open_root", "pkcs11_pin", "rotate_root"]


def open_root(settings: Settings) -> RootKeyProvider:
    """Raises RootKeyRefused for one that is not there or not fit, Unavailable when its service does not answer."""
    keys = settings.keys
    if keys.root == "file":
        return FileRoot.open(_root_file(settings), _passphrase(keys))
    if keys.root == "pkcs11":
        return Pkcs11Root(keys.pkcs11_module, keys.pkcs11_token, pkcs11_pin(keys), keys.pkcs11_label)
    return RemoteRoot.open(_service(keys))


def pkcs11_pin(keys: KeySettings) -> str:
    """Raises Invalid for a file that cannot be read."""
    return _first_line(keys.pkcs11_pin_file, "keys.pkcs11_pin_file").decode(errors="replace")


def make_root(settings: Settings, records: Records) -> None:
    """Where there is none yet, in a file or on a token; a key service's is made by who administers the service.

    Raises Invalid for a database whose keys another root key wrapped.
    """
    if settings.keys.root == "file":
        root = _root_file(settings)
        if not root.exists():
            _refuse_to_replace(records, str(root))
            FileRoot.create(root, _passphrase(settings.keys))
        return
    opened = open_root(settings)
    if isinstance(opened, Pkcs11Root):
        if not opened.exists():
            _refuse_to_replace(records, f"the token {settings.keys.pkcs11_token}")
            opened.rotate()
        opened.close()


def open_destination(settings: Settings, keys: KeySettings) -> RootKeyProvider:
    """The root that `keys` names, to move to from the one of `settings`; made where there is none in a file or token.

    Raises Invalid when it is the same one; else as `open_root` does.
    """
    if keys == settings.keys or keys.root == settings.keys.root == "file":
        raise Invalid("keys.root: this is the root key in use already; name the one to move to")
    there = replace(settings, keys=keys)
    if settings.environment == "prod" and keys.root == "file" and not keys.passphrase_file:
        raise Invalid("environment: prod seals its root key: give keys.passphrase_file, or keep it in an HSM or KMS")
    if keys.root == "file" and not _root_file(there).exists():
        return FileRoot.create(_root_file(there), _passphrase(keys))
    opened = open_root(there)
    if isinstance(opened, Pkcs11Root) and not opened.exists():
        opened.rotate()
    return opened


def rotate_root(settings: Settings) -> None:
    """A fresh root key in the file or on the token, which wraps from now on in every process; former ones still unwrap.

    Raises Invalid for a key service, whose administrator rotates its key there.
    """
    if settings.keys.root not in ("file", "pkcs11"):
        raise Invalid(f"keys.root = {settings.keys.root}: rotate the key there, and then run vallum keysets rewrap")
    opened = open_root(settings)
    if isinstance(opened, FileRoot):
        opened.rotate()
    elif isinstance(opened, Pkcs11Root):
        opened.rotate()
        opened.close()


def _service(keys: KeySettings) -> KeyService:
    if keys.root == "aws":
        return AwsKey(keys.aws_key)
    if keys.root == "gcp":
        return GcpKey(keys.gcp_key)
    if keys.root == "azure":
        return AzureKey(keys.azure_key)
    from vallum.serving.transit import HttpTransit

    transit = HttpTransit(
        keys.vault_url, keys.vault_login, keys.vault_role, partial(_credential, keys.vault_credential_file),
        login_mount=keys.vault_login_mount, namespace=keys.vault_namespace, ca_file=keys.vault_ca_file,
    )  # fmt: skip
    return TransitKey(transit, keys.vault_mount, keys.vault_key)


def _credential(file: str) -> str:
    """Raises RootKeyRefused, at any time: the file is read again whenever it is needed."""
    try:
        line = _first_line(file, "keys.vault_credential_file").decode(errors="replace").strip()
    except Invalid as e:
        raise RootKeyRefused(str(e)) from e
    if not (line.isascii() and line.isprintable()):  # it goes into a header
        raise RootKeyRefused("keys.vault_credential_file: its first line is no token")
    return line


def _root_file(settings: Settings) -> Path:
    return settings.data_path / "root.key"


def _passphrase(keys: KeySettings) -> bytes | None:
    return _first_line(keys.passphrase_file, "keys.passphrase_file") if keys.passphrase_file else None


def _first_line(file: str, setting: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            line = opened.readline().rstrip(b"\r\n")
    except OSError as e:
        raise Invalid(f"{setting} cannot be read: {e.strerror}") from e
    if not line:
        raise Invalid(f"{setting}: its first line is empty")
    return line


def _refuse_to_replace(records: Records, root: str) -> None:
    """A fresh root key beside a database whose keys an old one wrapped would open nothing, for good."""
    with records.read() as conn:
        wrapped = conn.execute(text("SELECT count(*) FROM keyset_versions WHERE wrapped IS NOT NULL")).scalar_one()
    if wrapped:
        raise Invalid(f"the database holds keys that another root key wrapped: put that one back at {root}")
