"""Key services in small, where the real one cannot run in a test: the documented HTTP API, real cryptography, versions.

Each answers errors with the status and words of the real one's documentation or source. They are no proof of how the
real ones behave; they hold the adapters to the contract over HTTP, through the services' client libraries.
"""

import base64
import json
import os
import re
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vallum.kernel.clock import SystemClock
from vallum.serving.local_ca import ensure_server_certificate


class Answer(Exception):
    def __init__(self, status, body, headers=()):
        self.status, self.body, self.headers = status, body, dict(headers)


class Double:
    """A server on a port of its own. `answer(method, path, headers, body)` returns a body or raises Answer."""

    def __init__(self, tls=None):
        double = self
        self._connections = set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    body = double.answer(self.command, self.path, self.headers, json.loads(raw) if raw else {})
                    found = Answer(200, body)
                except Answer as e:
                    found = e
                content = json.dumps(found.body).encode()
                self.send_response(found.status)
                for name, value in {"content-type": "application/json", **found.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do

            def setup(self):
                super().setup()
                double._connections.add(self.connection)

            def finish(self):
                double._connections.discard(self.connection)
                super().finish()

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that went away

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self):
        """Nothing answers from now on, on connections that are open neither."""
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class TransitDouble(Double):
    """Vault's transit engine: keys, encrypt, decrypt; token, AppRole and Kubernetes sign-in."""

    def __init__(self, tls=None):
        self.keys = {}
        self.tokens = {"hvs.first"}
        self.app_roles = {"role-1": "secret-1"}
        self.kubernetes = {"vallum": "jwt-1"}
        self.lease_seconds = 3600
        self.logins = 0
        self.sealed = False
        self.ignores_associated_data = False  # as engines of before it did
        super().__init__(tls)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def make(self, name, **facts):
        self.keys[name] = {
            "type": "aes256-gcm96", "derived": False, "exportable": False, "allow_plaintext_backup": False,
            "min_decryption_version": 1, "versions": [os.urandom(32)], **facts,
        }  # fmt: skip

    def rotate(self, name):
        self.keys[name]["versions"].append(os.urandom(32))

    def answer(self, method, path, headers, body):
        if self.sealed:
            raise Answer(503, {"errors": ["Vault is sealed"]})
        path = path.removeprefix("/v1/")
        if path.startswith("auth/"):
            return self._login(path, body)
        if headers.get("x-vault-token") not in self.tokens:
            raise Answer(403, {"errors": ["permission denied"]})
        found = re.fullmatch(r"transit/(keys|encrypt|decrypt)/([\w.-]+)", path)
        if not found:
            raise Answer(404, {"errors": [f"no handler for route {path!r}. route entry not found."]})
        operation, key = found.group(1), self.keys.get(found.group(2))
        if key is None:
            raise Answer(404, {"errors": []}) if operation == "keys" else self._bad("encryption key not found")
        if operation == "keys":
            facts = {name: value for name, value in key.items() if name != "versions"}
            return {"data": {**facts, "latest_version": len(key["versions"])}}
        aad = b"" if self.ignores_associated_data else base64.b64decode(body.get("associated_data", ""))
        if operation == "encrypt":
            nonce = os.urandom(12)
            made = nonce + AESGCM(key["versions"][-1]).encrypt(nonce, base64.b64decode(body["plaintext"]), aad)
            version = len(key["versions"])
            return {
                "data": {"ciphertext": f"vault:v{version}:{base64.b64encode(made).decode()}", "key_version": version}
            }
        prefix, version, encoded = body["ciphertext"].split(":", 2)
        if prefix != "vault" or not version.startswith("v"):
            raise self._bad("invalid ciphertext: no prefix")
        number, sealed = int(version[1:]), base64.b64decode(encoded)
        if number > len(key["versions"]):
            raise self._bad("invalid ciphertext: version is too new")
        if number < key["min_decryption_version"]:
            raise self._bad("ciphertext or signature version is disallowed by policy (too old)")
        try:
            plain = AESGCM(key["versions"][number - 1]).decrypt(sealed[:12], sealed[12:], aad)
        except InvalidTag:
            raise self._bad("cipher: message authentication failed") from None
        return {"data": {"plaintext": base64.b64encode(plain).decode()}}

    def _login(self, path, body):
        if path == "auth/approle/login" and self.app_roles.get(body.get("role_id")) != body.get("secret_id"):
            raise self._bad("invalid role or secret ID")
        if path == "auth/kubernetes/login" and self.kubernetes.get(body.get("role")) != body.get("jwt"):
            raise Answer(403, {"errors": ["permission denied"]})
        self.logins += 1
        token = f"hvs.login-{self.logins}"
        self.tokens.add(token)
        return {"auth": {"client_token": token, "lease_duration": self.lease_seconds, "renewable": True}}

    def _bad(self, words):
        return Answer(400, {"errors": [words]})


class CloudKmsDouble(Double):
    """Google Cloud KMS over REST: encrypt and decrypt of one key's versions, with checksums."""

    def __init__(self):
        self.keys = {}
        self.allowed = True
        super().__init__()

    def make(self, name):
        self.keys[name] = [os.urandom(32)]

    def rotate(self, name):
        self.keys[name].append(os.urandom(32))

    def answer(self, method, path, headers, body):
        name, _, operation = path.partition("?")[0].removeprefix("/v1/").partition(":")
        if not self.allowed:
            raise self._error(403, "PERMISSION_DENIED", f"Permission denied on resource {name}.")
        if name not in self.keys:
            raise self._error(404, "NOT_FOUND", f"CryptoKey {name} not found.")
        versions = self.keys[name]
        aad = base64.b64decode(body.get("additionalAuthenticatedData", ""))
        if operation == "encrypt":
            nonce = os.urandom(12)
            plain = base64.b64decode(body["plaintext"])
            if int(body["plaintextCrc32c"]) != crc32c(plain):
                raise self._error(400, "INVALID_ARGUMENT", "plaintext_crc32c did not match")
            sealed = len(versions).to_bytes(2, "big") + nonce + AESGCM(versions[-1]).encrypt(nonce, plain, aad)
            whole = body["additionalAuthenticatedDataCrc32c"] == str(crc32c(aad))
            return {
                "name": f"{name}/cryptoKeyVersions/{len(versions)}", "ciphertext": base64.b64encode(sealed).decode(),
                "ciphertextCrc32c": str(crc32c(sealed)), "verifiedPlaintextCrc32c": True,
                "verifiedAdditionalAuthenticatedDataCrc32c": whole,
            }  # fmt: skip
        sealed = base64.b64decode(body["ciphertext"])
        number = int.from_bytes(sealed[:2], "big")
        if not 1 <= number <= len(versions) or len(sealed) < 30:
            raise self._error(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.")
        if versions[number - 1] is None:
            raise self._error(400, "FAILED_PRECONDITION", f"{name}/cryptoKeyVersions/{number} is not enabled.")
        try:
            plain = AESGCM(versions[number - 1]).decrypt(sealed[2:14], sealed[14:], aad)
        except InvalidTag:
            raise self._error(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.") from None
        return {"plaintext": base64.b64encode(plain).decode(), "plaintextCrc32c": str(crc32c(plain))}

    def _error(self, code, status, message):
        return Answer(code, {"error": {"code": code, "status": status, "message": message}})


class KeyVaultDouble(Double):
    """Azure Key Vault: an RSA key's versions, and unwrapKey and sign with them. TLS, as its library demands."""

    def __init__(self, tls):
        self.keys = {}
        self.allowed = True
        self.operations = ["wrapKey", "unwrapKey", "sign", "verify"]
        super().__init__(tls)
        self.url = f"https://127.0.0.1:{self.port}"

    def make(self, name):
        self.keys[name] = {}
        self.rotate(name)

    def rotate(self, name):
        self.keys[name][os.urandom(16).hex()] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def answer(self, method, path, headers, body):
        if not headers.get("authorization"):
            challenge = 'Bearer authorization="https://login.example/tenant", resource="https://vault.azure.net"'
            raise Answer(401, {"error": {"code": "Unauthorized"}}, {"www-authenticate": challenge})
        if not self.allowed:
            raise Answer(403, {"error": {"code": "Forbidden", "message": "The user does not have permission."}})
        _, _, name, *rest = path.partition("?")[0].rstrip("/").split("/")
        versions = self.keys.get(name) or {}
        version = rest[0] if rest else next(reversed(versions), "")
        key = versions.get(version)
        if key is None:
            raise Answer(404, {"error": {"code": "KeyNotFound", "message": f"A key with {name} was not found."}})
        kid = f"{self.url}/keys/{name}/{version}"
        if method == "GET":
            numbers = key.public_key().public_numbers()
            jwk = {
                "kid": kid, "kty": "RSA", "key_ops": self.operations, "n": _b64(numbers.n.to_bytes(256, "big")),
                "e": "AQAB",
            }  # fmt: skip
            return {"key": jwk, "attributes": {"enabled": True, "created": 1, "updated": 1}}
        value = base64.urlsafe_b64decode(body["value"] + "==")
        if rest[1] == "unwrapkey" and body["alg"] == "RSA-OAEP-256":
            try:
                made = key.decrypt(value, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
            except ValueError:
                raise Answer(400, {"error": {"code": "BadParameter", "message": "Error occurred."}}) from None
        elif rest[1] == "sign" and body["alg"] == "PS256":
            made = key.sign(value, padding.PSS(padding.MGF1(hashes.SHA256()), 32), Prehashed(hashes.SHA256()))
        else:
            raise Answer(400, {"error": {"code": "BadParameter", "message": "Not supported."}})
        return {"kid": kid, "value": _b64(made)}


def crc32c(data):
    """By the table, where the adapter goes bit by bit."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def own_tls(folder):
    """A server's TLS context for 127.0.0.1, and the file of the CA that clients have to trust for it."""
    certificate = ensure_server_certificate(folder / "tls", ("127.0.0.1",), SystemClock())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    return context, certificate.ca_file


def _b64(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
