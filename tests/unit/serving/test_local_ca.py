import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from cryptography import x509

from vallum.kernel.clock import SystemClock
from vallum.kernel.errors import Invalid
from vallum.serving.local_ca import ensure_server_certificate


class _Later:
    def __init__(self, days: int) -> None:
        self._instant = datetime.now(UTC) + timedelta(days=days)

    def now(self) -> datetime:
        return self._instant


def _handshake(paths, server_hostname: str) -> str:
    """A real TLS handshake over loopback; the protocol version spoken."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(paths.certificate_file, paths.key_file)
    client = ssl.create_default_context(cafile=str(paths.ca_file))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            raw, _ = listener.accept()
            try:
                with server.wrap_socket(raw, server_side=True) as tls:
                    tls.recv(1)
            except (ssl.SSLError, ConnectionError):
                raw.close()

        thread = Thread(target=accept)
        thread.start()
        try:
            raw = socket.create_connection(listener.getsockname())
            with raw, client.wrap_socket(raw, server_hostname=server_hostname) as tls:
                return tls.version() or ""
        finally:
            thread.join()


def test_a_client_that_trusts_the_ca_reaches_the_server_by_name_and_address(tmp_path):
    paths = ensure_server_certificate(tmp_path, ("vallum.internal", "10.1.2.3"), SystemClock())
    for name in ("localhost", "127.0.0.1", "vallum.internal"):
        assert _handshake(paths, name) == "TLSv1.3"


def test_another_name_is_refused(tmp_path):
    paths = ensure_server_certificate(tmp_path, (), SystemClock())
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(paths, "bank.example")


def test_a_stolen_ca_cannot_sign_for_other_sites(tmp_path):
    from vallum.serving import local_ca

    paths = ensure_server_certificate(tmp_path, (), SystemClock())
    ca, key = local_ca._ensure_ca(tmp_path, (), SystemClock().now())
    local_ca._issue(paths, ca, key, ("bank.example",), SystemClock().now())
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        _handshake(paths, "bank.example")


def test_it_is_kept_until_it_nears_its_end(tmp_path):
    first = ensure_server_certificate(tmp_path, (), SystemClock()).certificate_file.read_bytes()
    assert ensure_server_certificate(tmp_path, (), _Later(300)).certificate_file.read_bytes() == first
    ca = (tmp_path / "ca.pem").read_bytes()
    renewed = ensure_server_certificate(tmp_path, (), _Later(370)).certificate_file.read_bytes()
    assert renewed != first
    assert (tmp_path / "ca.pem").read_bytes() == ca
    ensure_server_certificate(tmp_path, (), _Later(3400))
    assert (tmp_path / "ca.pem").read_bytes() != ca


def test_a_new_name_is_added(tmp_path):
    ensure_server_certificate(tmp_path, (), SystemClock())
    paths = ensure_server_certificate(tmp_path, ("new.internal",), SystemClock())
    present = x509.load_pem_x509_certificate(paths.certificate_file.read_bytes()).extensions
    assert "new.internal" in present.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


def test_private_keys_are_for_the_owner_alone(tmp_path):
    ensure_server_certificate(tmp_path / "tls", (), SystemClock())
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="file"):
        ensure_server_certificate(tmp_path / "file" / "tls", (), SystemClock())
