"""A service with certificates: issued for hours, renewed by itself, withdrawn; and OpenSSL's word on them."""

import json
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from vallum.client import Client
from vallum.kernel.errors import Invalid, NotFound, Unauthenticated, Unavailable


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """An organisation's own authority, made with OpenSSL, and one workload of it."""
    folder = tmp_path_factory.mktemp("mesh")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-subj", "/CN=mesh", "-days", "2", folder=folder)  # fmt: skip
    for name, uri in (
        ("job", "spiffe://mesh.example/ns/prod/sa/job"),
        ("thief", "spiffe://vallum.local/service/report"),
    ):
        (folder / f"{name}.ext").write_text(f"subjectAltName=critical,URI:{uri}\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/",
                folder=folder)  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.pem", folder=folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def server(start_once, mesh):
    env = {"VALLUM_SERVER_MTLS_PORT": str(free_port()), "VALLUM_SERVER_MTLS_CA_FILE": str(mesh / "ca.pem")}
    return start_once("--demo", env=env)


@pytest.fixture(scope="module")
def report(server):
    made = server.vallum("services", "create", "report", "--role", "auditor", "--spiffe-id", "auto", "--json")
    service = json.loads(made.stdout)["service"]
    assert (service["method"], service["spiffe_id"]) == ("tls_client_auth", "spiffe://vallum.local/service/report")
    return service["id"]


@pytest.fixture
def issued(server, report, tmp_path):
    out, key = tmp_path / "report.pem", tmp_path / "report.key"
    server.vallum("services", "certificate", report, "--key", key, "--out", out, "--for", "1h")
    assert key.stat().st_mode & 0o777 == 0o600
    return out, key


def at(server, certificate):
    return Client(server.ready["mtls_url"], ca_file=server.ca_file, certificate=certificate)


def test_a_certificate_gives_a_token(server, report, issued):
    with at(server, issued) as client:
        token = client.grant_token(report)["access_token"]
    with server.client(token) as client:
        assert client.request("GET", "/status")["applications"] >= 1
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "10", "--json").stdout.splitlines()]
    *_, issue = (e for e in entries if e["action"] == "identity:certificate:issue")  # of this test's, the newest
    assert issue["context"] | {"spiffe_id": "spiffe://vallum.local/service/report", "seconds": 3600} == issue["context"]
    *_, token = (e for e in entries if e["action"] == "identity:token:create")
    assert token["subject"] == f"service:{report}"
    listed = next(s for s in json.loads(server.vallum("services", "list", "--json").stdout) if s["id"] == report)
    assert listed["method"] == "tls_client_auth"


def test_curl_and_openssl_do_it_too(server, report, tmp_path):
    openssl("req", "-new", "-newkey", "ed25519", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=x",
            folder=tmp_path)  # fmt: skip
    out = tmp_path / "cert.pem"
    server.vallum("services", "certificate", report, "--csr", tmp_path / "csr.pem", "--out", out)
    (tmp_path / "authority.pem").write_text("-----BEGIN" + out.read_text().split("-----BEGIN")[2])
    openssl("verify", "-purpose", "sslclient", "-CAfile", "authority.pem", "cert.pem", folder=tmp_path)
    form = ("-d", "grant_type=client_credentials", "-d", f"client_id={report}")
    done = subprocess.run(
        ["curl", "-sS", "--cacert", server.ca_file, "--cert", out, "--key", tmp_path / "key.pem",
         server.ready["mtls_url"] + "/api/v1/tokens", *form],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert json.loads(done.stdout)["token_type"] == "Bearer", done


def test_the_mesh_proves_its_own_services_and_no_others(server, report, mesh):
    made = server.vallum(
        "services",
        "create",
        "meshed",
        "--role",
        "auditor",
        "--spiffe-id",
        "spiffe://mesh.example/ns/prod/sa/job",
        "--json",
    )
    meshed = json.loads(made.stdout)["service"]["id"]
    with at(server, (mesh / "job.pem", mesh / "job.key")) as client:
        assert client.grant_token(meshed)["expires_in"] == 600
        with pytest.raises(Unauthenticated):
            client.grant_token(report)
    with at(server, (mesh / "thief.pem", mesh / "thief.key")) as client, pytest.raises(Unauthenticated):
        client.grant_token(report)  # the mesh's word on an id of this installation's
    refused = server.vallum(
        "services", "certificate", meshed, "--key", mesh / "x.key", "--out", mesh / "x", check=False
    )
    assert (refused.returncode, "its own authority" in refused.stderr) == (2, True)


def test_no_certificate_or_a_strangers_gets_no_connection(server, tmp_path):
    url = server.ready["mtls_url"] + "/api/v1/tokens"
    with Client(server.ready["mtls_url"], ca_file=server.ca_file) as client, pytest.raises(Unavailable):
        client.grant_token("svc_1")
    openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=x",
            "-addext", "subjectAltName=URI:spiffe://vallum.local/service/report", folder=tmp_path)  # fmt: skip
    with at(server, (tmp_path / "c.pem", tmp_path / "k.pem")) as client, pytest.raises(Unavailable):
        client.grant_token("svc_1")
    old = ssl.create_default_context(cafile=server.ca_file)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx2.ConnectError):
        httpx2.post(url, verify=old, trust_env=False)


def test_the_port_does_nothing_else_and_survives_noise(server, report, issued):
    context = ssl.create_default_context(cafile=server.ca_file)
    context.load_cert_chain(*issued)
    url = server.ready["mtls_url"]
    with httpx2.Client(verify=context, trust_env=False) as http:
        for path in ("/", "/api/v1/status", "/v1/models", "/api/v1/tokens/", "/v1/tokens"):
            assert http.get(url + path).status_code == 404
        assert http.get(url + "/api/v1/tokens").status_code == 405
        assert http.post(url + "/api/v1/tokens", content=b"x" * 70_000).status_code == 413
    host, port = url.removeprefix("https://").split(":")
    for noise in (
        b"\x00\xff" * 50,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9000,
        b"POST /api/v1/tokens HTTP/1.1\r\n\r\n",
        b"",
    ):
        with (
            socket.create_connection((host, int(port)), 10) as raw,
            context.wrap_socket(raw, server_hostname=host) as tls,
        ):
            tls.sendall(noise)
            tls.settimeout(10)
            answer = tls.recv(4096) if noise else b""
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    with at(server, issued) as client:
        assert client.grant_token(report)


def test_strangers_connections_are_few_and_others_are_served(server, report, issued):
    """Bounded before the handshake: whoever only connects uses nothing up for the others, or for the ledger."""
    host, port = server.ready["mtls_url"].removeprefix("https://").split(":")
    files = Path(f"/proc/{server.process.pid}/fd")
    before = len(list(files.iterdir()))
    idle = [socket.create_connection((host, int(port)), 10) for _ in range(300)]
    try:
        for _ in range(100):  # those past the bound are closed as they are accepted
            grown = len(list(files.iterdir())) - before
            if grown < 60:
                break
            time.sleep(0.1)
        assert grown < 60
    finally:
        for raw in idle:
            raw.close()
    with at(server, issued) as client:
        for _ in range(50):
            try:
                assert client.grant_token(report)
                break
            except Unavailable:
                time.sleep(0.2)
    context = ssl.create_default_context(cafile=server.ca_file)
    context.load_cert_chain(*issued)
    with httpx2.Client(verify=context, trust_env=False) as http:
        assert http.head(server.ready["mtls_url"] + "/api/v1/tokens").status_code == 405
        assert http.head(server.ready["mtls_url"] + "/").status_code == 404


def test_a_certificate_at_the_main_port_proves_nothing(server, report, issued):
    """That port asks for none; what a header says of one is nobody's word."""
    with Client(server.url, ca_file=server.ca_file, certificate=issued) as client:
        with pytest.raises(Unauthenticated):
            client.grant_token(report)
        with pytest.raises(Unauthenticated, match="mutual TLS"):
            client.request("POST", "/certificates", {"client_id": report, "csr": "x"})


def test_a_service_renews_its_certificate_by_itself(server, report, issued, vallum, mesh):
    out, key = issued
    before = out.read_text()
    arguments = ("services", "renew", report, "--url", server.ready["mtls_url"], "--ca-file", server.ca_file)
    vallum(*arguments, "--key", key, "--out", out)
    assert out.read_text() != before
    with at(server, issued) as client:
        assert client.grant_token(report)
        with pytest.raises(Invalid, match="csr"):
            client.request("POST", "/certificates", {"client_id": report, "csr": "nothing"})
        with pytest.raises(Unauthenticated):
            client.request("POST", "/certificates", {"client_id": "svc_other", "csr": "nothing"})
    shutil.copy(mesh / "thief.pem", out)
    refused = vallum(*arguments, "--key", mesh / "thief.key", "--out", out, check=False)
    assert refused.returncode == 3
    assert out.read_text() == (mesh / "thief.pem").read_text()  # what is in use stays, when it cannot be renewed


def test_withdrawn_certificates_and_disabled_services(server, vallum, tmp_path):
    made = json.loads(
        server.vallum("services", "create", "gone", "--role", "auditor", "--spiffe-id", "auto", "--json").stdout
    )
    service, files = made["service"]["id"], (tmp_path / "c.pem", tmp_path / "k.pem")
    server.vallum("services", "certificate", service, "--key", files[1], "--out", files[0])
    with at(server, files) as client:
        client.grant_token(service)
        server.vallum("services", "withdraw-certificates", service)
        with pytest.raises(Unauthenticated, match="withdrawn"):
            client.grant_token(service)
        server.vallum("services", "disable", service)
        with pytest.raises(Unauthenticated):
            client.grant_token(service)
    refused = server.vallum("services", "certificate", service, "--key", files[1], "--out", files[0], check=False)
    assert refused.returncode == 2
    with server.client() as client, pytest.raises((NotFound, Unauthenticated)):
        client.request("DELETE", f"/services/{service}/certificates")


def test_settings_that_cannot_work(vallum, tmp_path, mesh):
    env = {"VALLUM_SERVER_MTLS_PORT": str(free_port())}
    plain = vallum("up", "--data", tmp_path / "a", "--unsafe-plain-http", env=env, check=False)
    assert (plain.returncode, "server.mtls_port" in plain.stderr) == (2, True)
    same = vallum(
        "up", "--data", tmp_path / "d", "--port", "8443", env={"VALLUM_SERVER_MTLS_PORT": "8443"}, check=False
    )
    assert (same.returncode, "another port" in same.stderr) == (2, True)
    missing = vallum("up", "--data", tmp_path / "b", "--port", free_port(),
                     env={**env, "VALLUM_SERVER_MTLS_CA_FILE": str(tmp_path / "none.pem")}, check=False)  # fmt: skip
    assert (missing.returncode, "mtls_ca_file" in missing.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        env = {"VALLUM_SERVER_MTLS_PORT": str(taken.getsockname()[1])}
        used = vallum("up", "--data", tmp_path / "c", "--port", free_port(), env=env, check=False)
    assert (used.returncode, "server.mtls_port" in used.stderr) == (2, True)
