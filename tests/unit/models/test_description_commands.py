"""`vallum models card`, `bom`, `attestations` and `dependencies`: what they print, write, and end with."""

import json
import os
import threading
import zipfile
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner

from vallum.cli.tree import whole_tree
from vallum.kernel.errors import IntegrityError, Invalid, Unavailable
from vallum.models.attestations import MODEL_SCAN
from vallum.models.bom import validate_bom


def vallum(*arguments, fails_with=None):
    done = CliRunner().invoke(whole_tree(), ["models", *map(str, arguments)])
    if fails_with is not None:
        assert isinstance(done.exception, fails_with), done
        return str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A\n\n## Limitations\n\nTBD\n")
    (folder / "weights.json").write_text('{"a": [1, 2, 3]}')
    (folder / "requirements.txt").write_text("torch==1.0\n")
    return folder


@pytest.fixture
def keys(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pub").write_bytes(public)
    return tmp_path / "key.pem", tmp_path / "key.pub"


@pytest.fixture
def export(tmp_path):
    said = {
        "id": "GHSA-x",
        "modified": datetime.now(UTC).isoformat(),
        "aliases": ["CVE-1"],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "torch"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
            }
        ],
    }
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("GHSA-x.json", json.dumps(said))
    return tmp_path / "all.zip"


# Cards.


def test_a_card_with_something_missing_exits_1_and_names_it(model):
    done = vallum("card", model, "--risk-class", "limited", "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert said["missing"][0]["name"] == "description"
    assert said["score"] == 1 / 8
    shown = vallum("card", model / "README.md")
    assert (shown.exit_code, "limitations" in shown.stdout) == (1, True)


def test_a_card_is_written_with_what_the_folder_says(model, tmp_path):
    vallum("card", model, "--output", tmp_path / "CARD.md")
    written = (tmp_path / "CARD.md").read_text()
    assert written.startswith("---\nlicense: mit\n")
    assert "weights.json" in written
    assert "Recorded by the platform" in written


def test_a_card_that_cannot_be_read_is_said(model, tmp_path):
    assert "cannot be read" in vallum("card", tmp_path / "absent.md", fails_with=Invalid)
    (model / "README.md").write_text("---\na: &a [*a]\n---\n")
    assert "anchor" in vallum("card", model, fails_with=Invalid)
    assert "minimal, limited, high" in vallum("card", model / "weights.json", "--risk-class", "x", fails_with=Invalid)


# Bills of materials.


@pytest.mark.parametrize("version", ["1.6", "1.7"])
def test_a_bill_is_the_same_for_the_same_folder_and_time(model, tmp_path, version):
    arguments = ("bom", model, "--spec-version", version, "--at", "2026-01-31T12:00:00Z", "--validate")
    said = json.loads(vallum(*arguments, "--output", tmp_path / "bom.json", "--json").stdout)
    raw = (tmp_path / "bom.json").read_bytes()
    assert validate_bom(raw)["serialNumber"] == said["serial_number"]
    assert vallum(*arguments).stdout.encode() == raw


def test_a_bill_that_cannot_be_written_is_said(model, tmp_path):
    assert vallum("bom", model, "--spec-version", "1.5").exit_code == 2
    assert "no time" in vallum("bom", model, "--at", "yesterday", fails_with=Invalid)
    assert "zone" in vallum("bom", model, "--at", "2026-01-01T00:00:00", fails_with=Invalid)
    assert "cannot be written" in vallum("bom", model, "--output", tmp_path / "no" / "bom.json", fails_with=Invalid)
    vallum("bom", tmp_path / "absent", fails_with=Invalid)


# Attestations.


def test_a_scan_is_attested_and_verified_and_a_change_is_found(model, keys, tmp_path):
    envelope = tmp_path / "scan.dsse.json"
    vallum("attestations", "sign", model, "--scan", "--key", keys[0], "--key-id", "ci", "--output", envelope)
    check = ("attestations", "verify", envelope, "--public-key", f"ci={keys[1]}", "--model", model, "--json")
    said = json.loads(vallum(*check).stdout)
    assert (said["signers"], said["predicate_type"]) == (["ci"], MODEL_SCAN)
    assert said["predicate"]["result"] in ("PASSED", "WARNED")
    assert {one["name"] for one in said["subjects"]} >= {"model", "weights.json"}
    (model / "weights.json").write_text("{}")
    assert "something else" in vallum(*check, fails_with=IntegrityError)


def test_what_blocks_is_attested_as_failed(model, keys, tmp_path):
    (model / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    envelope = tmp_path / "scan.dsse.json"
    vallum("attestations", "sign", model, "--scan", "--key", keys[0], "--key-id", "ci", "--output", envelope)
    said = json.loads(vallum("attestations", "verify", envelope, "--public-key", f"ci={keys[1]}", "--json").stdout)
    assert said["predicate"]["result"] == "FAILED"
    assert any("evil.pkl" in one for one in said["predicate"]["failedTests"])


def test_a_predicate_of_ones_own_and_a_signer_that_nobody_trusts(model, keys, tmp_path):
    (tmp_path / "p.json").write_text('{"a": 1}')
    envelope = tmp_path / "own.dsse.json"
    sign = ("attestations", "sign", model, "--key", keys[0], "--key-id", "ci", "--output", envelope)
    vallum(*sign, "--predicate", tmp_path / "p.json", "--type", "https://example.test/kind/v1")
    vallum("attestations", "verify", envelope, "--public-key", f"other={keys[1]}", fails_with=IntegrityError)
    assert vallum(*sign).exit_code == 2
    assert vallum(*sign, "--scan", "--predicate", tmp_path / "p.json").exit_code == 2
    (tmp_path / "p.json").write_text('{"a": 1, "a": 2}')
    assert "twice" in vallum(*sign, "--predicate", tmp_path / "p.json", "--type", "x:y", fails_with=Invalid)
    assert "no private key" in vallum(*sign[:4], keys[1], *sign[5:], "--scan", fails_with=Invalid)


# Dependencies.


def test_a_database_is_made_and_asked(model, export, tmp_path):
    where = ("--data", tmp_path / "data")
    before = vallum("dependencies", "scan", model, *where, "--json")
    assert (before.exit_code, json.loads(before.stdout)["verdict"]) == (2, "cannot-tell")
    said = json.loads(vallum("dependencies", "import", export, *where, "--json").stdout)
    assert (said["advisories"], said["packages"]) == (1, 1)
    found = vallum("dependencies", "scan", model, *where, "--json")
    assert (found.exit_code, json.loads(found.stdout)["findings"][0]["id"]) == (1, "GHSA-x")
    assert "GHSA-x CVE-1" in vallum("dependencies", "scan", model, *where).stdout
    (model / "requirements.txt").write_text("torch==2.0\n")
    assert vallum("dependencies", "scan", model, *where).exit_code == 0
    (model / "requirements.txt").write_text("torch\n")
    assert vallum("dependencies", "scan", model / "requirements.txt", *where).exit_code == 2
    vallum("dependencies", "scan", tmp_path / "absent", *where, fails_with=Invalid)


@pytest.fixture
def server(export):
    """Answers with the export, with half of it, or elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            raw = export.read_bytes()
            self.send_response({"/moved": 302, "/gone": 404}.get(self.path, 200))
            self.send_header("content-length", str(len(raw)))
            self.send_header("location", "/all.zip")
            self.end_headers()
            self.wfile.write(raw[: len(raw) // 2] if self.path == "/half" else raw)
            self.close_connection = True

        def log_message(self, *_):
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_an_update_is_fetched_or_leaves_what_is_there(server, export, tmp_path):
    database = tmp_path / "db" / "advisories.sqlite"
    vallum("dependencies", "update", f"{server}/all.zip", "--database", database)
    before = database.read_bytes()
    for place in ("half", "gone", "moved"):
        vallum("dependencies", "update", f"{server}/{place}", "--database", database, fails_with=Unavailable)
    assert "https" in vallum(
        "dependencies", "update", "http://example.test/all.zip", "--database", database, fails_with=Invalid
    )
    assert "https" in vallum("dependencies", "update", "file:///etc/passwd", "--database", database, fails_with=Invalid)
    assert database.read_bytes() == before
    assert os.listdir(tmp_path / "db") == ["advisories.sqlite"]
    vallum("dependencies", "update", export, "--database", database)
