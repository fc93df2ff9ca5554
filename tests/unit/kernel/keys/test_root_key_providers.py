"""What "is a root key provider" means, asked of every one of them.

Run against the real thing: the file; an HSM (SoftHSM2). Against a server that somebody else wrote: AWS KMS (moto's).
Against doubles of the documented HTTP API (`tests/doubles`): Vault's transit engine, and, through their own client
libraries, Google Cloud KMS and Azure Key Vault.
"""

import os
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
import pkcs11
import pytest
from azure.core.credentials import AccessToken
from azure.keyvault.keys import KeyClient
from google.auth.credentials import AnonymousCredentials
from google.cloud.kms_v1 import KeyManagementServiceClient
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from key_services import CloudKmsDouble, KeyVaultDouble, TransitDouble, own_tls
from moto.server import ThreadedMotoServer

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.keys import (
    AwsKey,
    AzureKey,
    FileRoot,
    GcpKey,
    Keyring,
    Pkcs11Root,
    Purpose,
    RemoteRoot,
    SealBroken,
    TransitKey,
)
from vallum.serving.transit import HttpTransit

PIN, TOKEN = "9876", "hvs.first"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
GCP_NAME = "projects/p/locations/global/keyRings/r/cryptoKeys/vallum"
KINDS = ("file", "pkcs11", "vault", "aws", "gcp", "azure")
REMOTE = ("vault", "aws", "gcp", "azure")


@dataclass
class Place:
    """Where one kind of root key lives, and what its administrator does there."""

    kind: str
    open: Any  # a provider, as a process that starts has it
    rotate: Any
    remove: Any  # the root key is not there any more, or never was
    stop: Any  # nothing answers


@pytest.fixture(params=KINDS)
def place(request):
    return request.getfixturevalue(f"{request.param}_place")


@pytest.fixture(params=REMOTE)
def service(request):
    return request.getfixturevalue(f"{request.param}_place")


@pytest.fixture
def provider(place):
    made = place.open()
    yield made
    if place.kind == "pkcs11":
        made.close()


@pytest.fixture
def file_place(tmp_path):
    path = tmp_path / "a-root.key"
    FileRoot.create(path, None)
    return Place(
        "file", lambda: FileRoot.open(path, None), lambda: FileRoot.open(path, None).rotate(), path.unlink, path.unlink
    )


@pytest.fixture
def pkcs11_place(tmp_path, monkeypatch):
    module = next((path for path in MODULES if os.path.exists(path)), None)
    assert module, "install softhsm2: the tests speak to it"
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    label = f"c{os.urandom(4).hex()}"
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    pkcs11.lib(module).reinitialize()
    Pkcs11Root.create(module, label, PIN, "vallum").close()

    def rotate():
        root = Pkcs11Root(module, label, PIN, "vallum")
        root.rotate()
        root.close()

    def remove():
        with pkcs11.lib(module).get_token(token_label=label).open(user_pin=PIN, rw=True) as session:
            for key in session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}):
                key.destroy()

    return Place("pkcs11", lambda: Pkcs11Root(module, label, PIN, "vallum"), rotate, remove, None)


@pytest.fixture
def vault():
    double = TransitDouble()
    double.make("vallum")
    yield double
    double.stop()


@pytest.fixture
def vault_place(vault):
    def open_():
        return RemoteRoot.open(TransitKey(HttpTransit(vault.url, "token", "", lambda: TOKEN), "transit", "vallum"))

    return Place("vault", open_, lambda: vault.rotate("vallum"), vault.keys.clear, vault.stop)


@pytest.fixture
def kms():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server
    server.stop()


def post(url):
    urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()


@pytest.fixture
def aws_place(kms, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-access-key")
    host, port = kms.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://{host}:{port}")
    admin = boto3.client("kms", region_name="eu-central-1")
    arn = admin.create_key()["KeyMetadata"]["Arn"]

    yield Place(
        "aws", lambda: RemoteRoot.open(AwsKey(arn)), lambda: admin.rotate_key_on_demand(KeyId=arn),
        lambda: post(f"http://{host}:{port}/moto-api/reset"), kms.stop,
    )  # fmt: skip
    admin.close()


@pytest.fixture
def cloud_kms():
    double = CloudKmsDouble()
    double.make(GCP_NAME)
    yield double
    double.stop()


def gcp_client(port):
    transport = KeyManagementServiceRestTransport(
        host=f"127.0.0.1:{port}", url_scheme="http", credentials=AnonymousCredentials()
    )
    return KeyManagementServiceClient(transport=transport)


@pytest.fixture
def gcp_place(cloud_kms):
    made = []

    def open_():
        made.append(gcp_client(cloud_kms.port))
        return RemoteRoot.open(GcpKey(GCP_NAME, made[-1]))

    yield Place("gcp", open_, lambda: cloud_kms.rotate(GCP_NAME), cloud_kms.keys.clear, cloud_kms.stop)
    for client in made:
        client.transport.close()


class Credential:
    def get_token(self, *scopes, **options):
        return AccessToken("an-azure-token", int(time.time()) + 3600)


@pytest.fixture
def key_vault(tmp_path):
    tls, ca_file = own_tls(tmp_path)
    double = KeyVaultDouble(tls)
    double.ca_file = ca_file
    double.make("vallum")
    yield double
    double.stop()


def azure_client(url, ca_file):
    return KeyClient(
        url, Credential(), verify_challenge_resource=False, connection_verify=str(ca_file), retry_total=0,
        connection_timeout=3, read_timeout=5,
    )  # fmt: skip


@pytest.fixture
def azure_place(key_vault):
    made = []

    def open_():
        made.append(azure_client(key_vault.url, key_vault.ca_file))
        return RemoteRoot.open(AzureKey(f"{key_vault.url}/keys/vallum", made[-1]))

    yield Place("azure", open_, lambda: key_vault.rotate("vallum"), key_vault.keys.clear, key_vault.stop)
    for client in made:
        client.close()


def test_what_is_wrapped_unwraps_after_a_restart(place, provider):
    key = os.urandom(32)
    wrapped = provider.wrap(key, b"context")
    assert key not in wrapped
    again = place.open()
    assert again.unwrap(wrapped, b"context") == key
    assert again.name == place.kind
    if place.kind == "pkcs11":
        again.close()


def test_every_wrapping_differs_and_is_bound_to_its_context(provider):
    first, second = provider.wrap(b"k" * 32, b"tenant a"), provider.wrap(b"k" * 32, b"tenant a")
    assert first != second
    for context in (b"tenant b", b"", b"tenant a\0"):
        with pytest.raises(SealBroken):
            provider.unwrap(first, context)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.data())
def test_any_changed_byte_is_refused(provider, data):
    wrapped = provider.wrap(b"k" * 32, b"context")
    changed = bytearray(wrapped)
    changed[data.draw(st.integers(0, len(wrapped) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        provider.unwrap(bytes(changed), b"context")


def test_each_of_the_first_bytes_is_looked_at(provider):
    wrapped = provider.wrap(b"k" * 32, b"context")
    for place in range(min(24, len(wrapped))):
        with pytest.raises(SealBroken):
            provider.unwrap(wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :], b"context")


def test_what_is_cut_off_longer_or_noise_is_refused(provider):
    wrapped = provider.wrap(b"k" * 32, b"context")
    lead = wrapped[:1]
    noise = [lead + os.urandom(size) for size in (1, 4, 30, 100, 700)]
    for wrong in (
        b"",
        lead,
        wrapped[:-1],
        wrapped[: len(wrapped) // 2],
        wrapped + b"\0",
        b"\xff" + wrapped[1:],
        *noise,
    ):
        with pytest.raises(SealBroken):
            provider.unwrap(wrong, b"context")


def test_sizes_up_to_the_bound(provider):
    for size in (1, 31, 4096):
        key = os.urandom(size)
        assert provider.unwrap(provider.wrap(key, b"c" * 4096), b"c" * 4096) == key
    for key, context in ((b"k" * 4097, b""), (b"k", b"c" * 4097)):
        with pytest.raises(ValueError):
            provider.wrap(key, context)


def test_what_a_former_version_wrapped_still_unwraps(place, provider):
    before = provider.wrap(b"a" * 32, b"c")
    place.rotate()
    after = provider.wrap(b"b" * 32, b"c")
    again = place.open()
    for one in (provider, again):
        assert (one.unwrap(before, b"c"), one.unwrap(after, b"c")) == (b"a" * 32, b"b" * 32)
    if place.kind == "pkcs11":
        again.close()


def test_many_threads_share_it(provider):
    def round_trip(number):
        key = bytes([number]) * 32
        return provider.unwrap(provider.wrap(key, b"c"), b"c") == key

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(24)))


def test_a_keyring_on_it(place, provider, records, clock):
    keyring = Keyring(records, provider, clock)
    sealed = keyring.seal("default", Purpose.CONTENT, b"said in confidence", b"place")
    place.rotate()
    with records.write() as conn:
        assert keyring.rewrap(conn) == 1
    assert Keyring(records, provider, clock).open("default", Purpose.CONTENT, sealed, b"place") == b"said in confidence"


def test_a_key_that_is_not_there_is_said_before_anything_is_sealed(place):
    place.remove()
    with pytest.raises(Invalid, match=r"root\.key|vallum migrate|keys\.") as caught:
        opened = place.open()
        assert place.kind == "pkcs11"  # migrate makes the first key on a token, and opens it for that
        opened.wrap(b"k" * 32, b"")
    assert not isinstance(caught.value, Unavailable)


def test_nothing_answers_while_it_runs(place, provider):
    if place.stop is None:
        pytest.skip("nothing lies between an HSM in software and the process")
    wrapped = provider.wrap(b"k" * 32, b"c")
    place.stop()
    with pytest.raises(Unavailable):
        provider.wrap(b"k" * 32, b"c")
    if place.kind != "file":  # which unwraps from memory
        with pytest.raises(Unavailable):
            provider.unwrap(wrapped, b"c")


def test_a_service_that_does_not_answer_stops_the_start(service):
    service.stop()
    with pytest.raises(Unavailable):
        service.open()


def test_a_key_that_goes_away_later_is_no_fault_of_who_asks(service):
    provider = service.open()
    service.remove()
    with pytest.raises((Unavailable, SealBroken)):
        provider.wrap(b"k" * 32, b"c")


def test_no_message_holds_a_secret(service, caplog):
    caplog.set_level("DEBUG", logger="vallum")
    provider = service.open()
    key = b"THE-DATA-KEY-ITSELF-IN-32-BYTES!"
    wrapped = provider.wrap(key, b"tenant-of-that-name")
    said = []
    for attempt in (
        lambda: provider.unwrap(wrapped, b"another"), lambda: provider.unwrap(wrapped + b"\0", b"tenant-of-that-name"),
        lambda: service.remove() or provider.wrap(key, b"tenant-of-that-name"),
        lambda: service.open(), lambda: service.stop() or service.open(),
    ):  # fmt: skip
        with pytest.raises((Invalid, SealBroken, Unavailable)) as caught:
            attempt()
        said.append(str(caught.value))
    for secret in (key.decode(), TOKEN, "a-secret-access-key", "an-azure-token", "tenant-of-that-name"):
        assert not [message for message in [*said, caplog.text] if secret in message]


@pytest.mark.long
def test_a_service_that_hangs_is_given_up_within_seconds(monkeypatch, tmp_path):
    """It takes the connection and says nothing: four starts beside each other, each with its own bound."""
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{port}")
        _, ca_file = own_tls(tmp_path)
        transit = HttpTransit(f"http://127.0.0.1:{port}", "token", "", lambda: TOKEN)
        azure, gcp = azure_client(f"https://127.0.0.1:{port}", ca_file), gcp_client(port)
        waiting = (
            TransitKey(transit, "transit", "vallum"),
            AwsKey("arn:aws:kms:eu-central-1:123456789012:key/0"),
            GcpKey(GCP_NAME, gcp),
            AzureKey(f"https://127.0.0.1:{port}/keys/vallum", azure),
        )

        def given_up(one):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                RemoteRoot.open(one)
            return time.monotonic() - started

        with ThreadPoolExecutor(4) as pool:
            assert max(pool.map(given_up, waiting)) < 20
        azure.close()
        gcp.transport.close()
