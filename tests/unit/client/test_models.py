"""What a client keeps of a server that sends something else than it says."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vallum.client.models import DownloadDiffers, download_model, upload_model
from vallum.kernel.errors import IntegrityError, Invalid
from vallum.models.signing import Manifest, Resource, TrustedKey, TrustPolicy
from vallum.models.signing.bundle import render_bundle

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Server:
    """Answers what a registry would, from `files`; tests change one answer."""

    def __init__(self, **files):
        self.files = files or {"a.json": b"{}", "b.json": b"[1]"}
        self.listed = [
            {"path": name, "size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
            for name, raw in self.files.items()
        ]
        resources = sorted((Resource(one["path"], one["sha256"]) for one in self.listed), key=lambda one: one.name)
        self.bundle = render_bundle(Manifest("churn", tuple(resources)), KEY)
        self.got = {}

    def perform(self, name, *, path=None, query=None, body=None):
        match name:
            case "read_model_version":
                return {"files": self.listed, "number": 1, "signer": "platform:1"}
            case "list_model_signing_keys":
                return [{"signer": "platform:1", "public_key": pem(KEY)}]
            case "read_model_signature":
                return iter([self.bundle])
            case "download_model_file":
                return iter([self.files[path["path"]]])
            case "begin_model_upload":
                return {"id": "upl_1", "number": 1, "files": []}
            case "upload_model_file":
                raw = b"".join(body)
                self.got[path["path"]] = raw
                return {"sha256": hashlib.sha256(raw).hexdigest()}
            case "complete_model_upload":
                return {"number": 1}
        raise AssertionError(name)


def test_a_version_is_there_when_it_is_as_signed(tmp_path):
    download_model(Server(), "churn", 1, tmp_path / "out")
    assert (tmp_path / "out" / "b.json").read_bytes() == b"[1]"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def change_bytes(server):
    server.files["a.json"] = b"[]"


def change_bytes_and_listing(server):
    server.files["a.json"] = b"[]"
    server.listed[0]["sha256"] = hashlib.sha256(b"[]").hexdigest()


def cut_short(server):
    server.files["b.json"] = b"["


def leave_out(server):
    del server.listed[0]


def sign_by_another(server):
    server.bundle = render_bundle(
        Manifest("churn", tuple(Resource(o["path"], o["sha256"]) for o in server.listed)), OTHER
    )


@pytest.mark.parametrize("lie", [change_bytes, change_bytes_and_listing, cut_short, leave_out, sign_by_another])
def test_nothing_is_kept_of_a_lie(tmp_path, lie):
    server = Server()
    lie(server)
    with pytest.raises(IntegrityError):
        download_model(server, "churn", 1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil"])
def test_a_server_writes_nowhere_else(tmp_path, path):
    server = Server()
    server.listed[0]["path"] = path
    server.files[path] = b"{}"
    (tmp_path / "in").mkdir()
    with pytest.raises(Invalid):
        download_model(server, "churn", 1, tmp_path / "in" / "out")
    assert [one.name for one in tmp_path.rglob("*")] == ["in"]


def test_whose_signature_counts_is_the_callers_to_say(tmp_path):
    with pytest.raises(IntegrityError):
        download_model(
            Server(), "churn", 1, tmp_path / "out", trust=TrustPolicy((TrustedKey("ci", pem(OTHER).encode()),))
        )
    assert list(tmp_path.iterdir()) == []


def test_what_arrived_otherwise_is_noticed(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    server = Server()
    real = server.perform
    server.perform = lambda name, **given: (
        {"sha256": "0" * 64} if name == "upload_model_file" and list(given["body"]) else real(name, **given)
    )
    with pytest.raises(DownloadDiffers):
        upload_model(server, "churn", tmp_path / "a.json")


def test_a_signature_beside_the_files_is_no_part_of_the_model(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.json").write_text("{}")
    (tmp_path / "m" / "model.sig").write_text("{}")
    server = Server()
    real = server.perform
    server.perform = lambda name, **given: None if name == "bring_model_signature" else real(name, **given)
    upload_model(server, "churn", tmp_path / "m", signature=tmp_path / "m" / "model.sig")
    assert list(server.got) == ["a.json"]
