"""Signing in to Vault, what it refuses, and the root key that the settings name."""

import socket

import pytest
from key_services import CloudKmsDouble, KeyVaultDouble, TransitDouble, own_tls

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.keys import AwsKey, AzureKey, FileRoot, GcpKey, RemoteRoot, RootKeyRefused, SealBroken, TransitKey
from vallum.serving.root_keys import make_root, open_root
from vallum.serving.transit import HttpTransit
from vallum.settings import InvalidSettings, load_settings


@pytest.fixture
def vault():
    double = TransitDouble()
    double.make("vallum")
    yield double
    double.stop()


@pytest.fixture
def open_vault(vault, tmp_path):
    """The root key in `vault`, by settings; `credential` is what the file holds at first."""

    def open_(credential="hvs.first", **changed):
        (tmp_path / "credential").write_text(credential + "\n")
        given = {
            "root": "vault",
            "vault_url": vault.url,
            "vault_credential_file": str(tmp_path / "credential"),
            **changed,
        }
        return open_root(load_settings(None, {}, {f"keys.{name}": value for name, value in given.items()}))

    return open_


@pytest.mark.parametrize(
    ("login", "role", "credential"), [("approle", "role-1", "secret-1"), ("kubernetes", "vallum", "jwt-1")]
)
def test_a_service_signs_in_with_its_own_credential(vault, open_vault, login, role, credential):
    with pytest.raises(RootKeyRefused, match=r"keys\.vault_role"):
        open_vault("another", vault_login=login, vault_role=role)
    with pytest.raises(RootKeyRefused, match=r"keys\.vault_role"):
        open_vault(credential, vault_login=login, vault_role="another")
    root = open_vault(credential, vault_login=login, vault_role=role)
    wrapped = root.wrap(b"k" * 32, b"c")
    assert vault.logins == 1  # its token is used again
    vault.tokens.clear()
    assert root.unwrap(wrapped, b"c") == b"k" * 32  # revoked before its time: signed in anew
    assert vault.logins == 2


def test_a_token_past_its_time_is_got_anew(vault, open_vault, monkeypatch):
    vault.lease_seconds = 100
    root = open_vault("secret-1", vault_login="approle", vault_role="role-1")
    from vallum.serving import transit

    now = transit.monotonic()
    monkeypatch.setattr(transit, "monotonic", lambda: now + 81)
    root.wrap(b"k" * 32, b"c")
    assert vault.logins == 2


def test_the_token_file_is_read_again_after_it_was_replaced(vault, open_vault, tmp_path):
    root = open_vault()
    vault.tokens = {"hvs.second"}
    with pytest.raises(Unavailable, match="policy must allow"):
        root.wrap(b"k" * 32, b"c")
    (tmp_path / "credential").write_text("hvs.second\n")
    assert root.unwrap(root.wrap(b"k" * 32, b"c"), b"c") == b"k" * 32
    (tmp_path / "credential").unlink()
    with pytest.raises(Unavailable, match="vault_credential_file cannot be read"):
        root.wrap(b"k" * 32, b"c")


@pytest.mark.parametrize("line", ["", "two\tparts", "tökèn"])
def test_what_is_no_token_is_said_and_not_repeated(open_vault, line):
    with pytest.raises(RootKeyRefused, match=r"keys\.vault_credential_file") as caught:
        open_vault(line)
    assert not line or line not in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"type": "rsa-2048"}, "aes256-gcm96"),
        ({"derived": True}, "not derived"),
        ({"exportable": True}, "may be exported"),
        ({"allow_plaintext_backup": True}, "may be exported"),
    ],
)
def test_a_key_that_is_not_fit_is_refused(vault, open_vault, facts, words):
    vault.make("vallum", **facts)
    with pytest.raises(RootKeyRefused, match=words):
        open_vault()


def test_an_engine_that_ignores_what_is_bound_is_refused(vault, open_vault):
    vault.ignores_associated_data = True
    with pytest.raises(RootKeyRefused, match="ignores associated_data"):
        open_vault()


def test_a_refused_token_an_unknown_mount_and_a_sealed_vault(vault, open_vault):
    with pytest.raises(RootKeyRefused, match=r"'read' on transit/keys/vallum"):
        open_vault("hvs.wrong")
    with pytest.raises(RootKeyRefused, match=r"keys\.vault_key"):
        open_vault(vault_mount="elsewhere")
    vault.sealed = True
    with pytest.raises(Unavailable, match="sealed"):
        open_vault()


def test_a_version_that_vault_bars_is_named(vault, open_vault):
    root = open_vault()
    wrapped = root.wrap(b"k" * 32, b"c")
    vault.rotate("vallum")
    vault.keys["vallum"]["min_decryption_version"] = 2
    with pytest.raises(SealBroken, match="version 1 of vallum"):
        root.unwrap(wrapped, b"c")


def test_its_certificate_is_verified(tmp_path):
    tls, ca_file = own_tls(tmp_path)
    double = TransitDouble(tls)
    double.make("vallum")
    try:
        for file, refused in (("", True), (str(ca_file), False)):
            transit = HttpTransit(double.url, "token", "", lambda: "hvs.first", ca_file=file)
            if refused:
                with pytest.raises(Unavailable, match="vault_ca_file"):
                    RemoteRoot.open(TransitKey(transit, "transit", "vallum"))
            else:
                RemoteRoot.open(TransitKey(transit, "transit", "vallum"))
    finally:
        double.stop()
    with pytest.raises(Invalid, match=r"keys\.vault_ca_file cannot be read"):
        HttpTransit(double.url, "token", "", lambda: "", ca_file=str(tmp_path / "none.pem"))
    (tmp_path / "empty.pem").write_text("no certificate\n")
    with pytest.raises(Invalid, match=r"keys\.vault_ca_file holds no"):
        HttpTransit(double.url, "token", "", lambda: "", ca_file=str(tmp_path / "empty.pem"))


def test_no_redirect_is_followed_with_the_token(vault, open_vault, monkeypatch):
    import key_services

    asked = []

    def elsewhere(method, path, headers, body):
        asked.append(path)
        raise key_services.Answer(307, {}, {"location": f"{vault.url}/v1/other"})

    vault.answer = elsewhere
    with pytest.raises(Unavailable, match="status 307"):
        open_vault()
    assert asked == ["/v1/transit/keys/vallum"]


@pytest.mark.parametrize(
    "answer", [[], {"data": []}, {"data": {"ciphertext": "vault:v0:AAAA"}}, {"data": {"type": "x" * 300_000}}]
)
def test_an_answer_that_makes_no_sense_is_no_key(vault, answer):
    transit = HttpTransit(vault.url, "token", "", lambda: "hvs.first")
    key = TransitKey(transit, "transit", "vallum")
    vault.answer = lambda *request: answer
    for attempt in (lambda: key.encrypt(b"k" * 32, b""), lambda: key.decrypt(b"\0\0\0\1" + b"x" * 60, b"")):
        with pytest.raises(Unavailable):
            attempt()


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"keys.root": "vault"}, "keys.vault_url"),
        ({"keys.root": "vault", "keys.vault_url": "http://vault.lan", "keys.vault_credential_file": "t"}, "https"),
        ({"keys.root": "vault", "keys.vault_url": "https://a:b@c", "keys.vault_credential_file": "t"}, "vault_url"),
        ({"keys.root": "vault", "keys.vault_url": "https://[", "keys.vault_credential_file": "t"}, "keys.vault_url"),
        ({"keys.vault_key": "../sys/seal"}, "keys.vault_key"),
        ({"keys.vault_mount": "a/../b"}, "keys.vault_mount"),
        (
            {
                "keys.root": "vault", "keys.vault_url": "https://vault:8200", "keys.vault_credential_file": "t",
                "keys.vault_login": "approle",
            },
            "keys.vault_role",
        ),
        ({"keys.root": "aws"}, "keys.aws_key"),
        ({"keys.root": "gcp"}, "keys.gcp_key"),
        ({"keys.root": "azure"}, "keys.azure_key"),
        ({"keys.root": "pkcs11"}, "keys.pkcs11_module"),
        ({"keys.root": "elsewhere"}, "keys.root"),
    ],
)  # fmt: skip
def test_settings_that_name_no_whole_place_are_refused(given, place):
    with pytest.raises(InvalidSettings, match=place):
        load_settings(None, {}, given)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AwsKey("alias/vallum"),
        lambda: AwsKey("arn:aws:kms:eu-central-1:123456789012:alias/vallum"),
        lambda: GcpKey("projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"),
        lambda: AzureKey("https://v.vault.azure.net/keys/k/0123456789abcdef0123456789abcdef"),
        lambda: AzureKey("http://v.vault.azure.net/keys/k"),
    ],
)
def test_a_name_that_could_come_to_mean_another_key_is_refused(make):
    with pytest.raises(RootKeyRefused, match=r"keys\."):
        make()


def test_a_service_that_allows_nothing_is_said_with_what_to_allow(tmp_path):
    from azure.core.credentials import AccessToken
    from azure.keyvault.keys import KeyClient
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport

    name = "projects/p/locations/global/keyRings/r/cryptoKeys/vallum"
    google, tls = CloudKmsDouble(), own_tls(tmp_path)
    google.make(name)
    transport = KeyManagementServiceRestTransport(
        host=f"127.0.0.1:{google.port}", url_scheme="http", credentials=AnonymousCredentials()
    )
    gcp = GcpKey(name, KeyManagementServiceClient(transport=transport))
    root = RemoteRoot.open(gcp)
    wrapped = root.wrap(b"k" * 32, b"c")
    google.keys[name][0] = None  # that version is disabled
    with pytest.raises(Unavailable, match="disabled or destroyed"):
        root.unwrap(wrapped, b"c")
    google.allowed = False
    with pytest.raises(RootKeyRefused, match="cryptoKeyEncrypterDecrypter"):
        RemoteRoot.open(gcp)
    transport.close()
    google.stop()

    class Credential:
        def get_token(self, *scopes, **options):
            return AccessToken("t", 1 << 40)

    azure = KeyVaultDouble(tls[0])
    azure.make("vallum")
    with KeyClient(
        azure.url, Credential(), verify_challenge_resource=False, connection_verify=str(tls[1]), retry_total=0
    ) as client:
        key = AzureKey(f"{azure.url}/keys/vallum", client)
        azure.operations = ["wrapKey", "unwrapKey"]
        with pytest.raises(RootKeyRefused, match="not permitted to sign, verify"):
            RemoteRoot.open(key)
        azure.operations = ["wrapKey", "unwrapKey", "sign", "verify"]
        azure.allowed = False
        with pytest.raises(RootKeyRefused, match="allow get, wrapKey, unwrapKey, sign and verify"):
            RemoteRoot.open(key)
    azure.stop()


def test_what_is_wrapped_with_the_public_half_alone_is_refused(tmp_path):
    """Whoever reads the public key can wrap by RSA, but not sign."""
    import os

    from azure.core.credentials import AccessToken
    from azure.keyvault.keys import KeyClient
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    from vallum.kernel.keys.xaes import Xaes256Gcm

    class Credential:
        def get_token(self, *scopes, **options):
            return AccessToken("t", 1 << 40)

    tls, ca_file = own_tls(tmp_path)
    azure = KeyVaultDouble(tls)
    azure.make("vallum")
    with KeyClient(
        azure.url, Credential(), verify_challenge_resource=False, connection_verify=str(ca_file), retry_total=0
    ) as client:
        root = RemoteRoot.open(AzureKey(f"{azure.url}/keys/vallum", client))
        ((version, private),) = azure.keys["vallum"].items()
        once, nonce = os.urandom(32), os.urandom(24)
        wrapped = private.public_key().encrypt(once, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
        head = bytes.fromhex(version) + (256).to_bytes(2, "big") + wrapped
        forged = nonce + Xaes256Gcm(once).encrypt(nonce, b"the attacker's key", b"\x06context")
        honest = root.wrap(b"k" * 32, b"context")
        for signature in (bytes(256), honest[275:531]):
            with pytest.raises(SealBroken):
                root.unwrap(b"\x06" + head + signature + forged, b"context")
    azure.stop()


def test_nothing_is_asked_before_it_is_opened(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *a: pytest.fail("a connection"))
    AwsKey("arn:aws:kms:eu-central-1:123456789012:key/1234")
    GcpKey("projects/p/locations/l/keyRings/r/cryptoKeys/k")
    AzureKey("https://v.vault.azure.net/keys/k")
    HttpTransit("https://vault.example:8200", "token", "", lambda: "")


def test_an_endpoint_without_tls_that_the_environment_names_is_refused(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://kms.lan")
    with pytest.raises(RootKeyRefused, match="without TLS"):
        RemoteRoot.open(AwsKey("arn:aws:kms:eu-central-1:123456789012:key/1234"))


def test_no_credentials_anywhere_is_said(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    with pytest.raises(RootKeyRefused, match="no credentials"):
        RemoteRoot.open(AwsKey("arn:aws:kms:eu-central-1:123456789012:key/1234"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(RootKeyRefused, match="no application default credentials"):
        RemoteRoot.open(GcpKey("projects/p/locations/l/keyRings/r/cryptoKeys/k"))


def test_a_missing_extra_is_named(monkeypatch):
    import sys

    for module in ("boto3", "google.cloud.kms", "azure.keyvault.keys"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    for key, extra in (
        (AwsKey("arn:aws:kms:eu-central-1:123456789012:key/1234"), "aws"),
        (GcpKey("projects/p/locations/l/keyRings/r/cryptoKeys/k"), "gcp"),
        (AzureKey("https://v.vault.azure.net/keys/k"), "azure"),
    ):
        with pytest.raises(RootKeyRefused, match=rf"vallum\[{extra}\]"):
            RemoteRoot.open(key)


def test_a_file_is_made_once(tmp_path, records):
    settings = load_settings(None, {}, {"data": str(tmp_path / "data")})
    make_root(settings, records)
    before = (tmp_path / "data" / "root.key").read_bytes()
    make_root(settings, records)
    assert (tmp_path / "data" / "root.key").read_bytes() == before
    assert isinstance(open_root(settings), FileRoot)
