"""A data scientist uploads a model and gets back what was verified; a harmful one goes nowhere; an approver reviews."""

import hashlib
import json
import urllib.error
import urllib.request

import pytest
from registered_models import harmful, tensors, unknown

from vallum.kernel.errors import Conflict, Denied, IntegrityError, Invalid, NotFound, Unauthenticated, Unavailable
from vallum.models.runtime.sandbox import what_this_machine_permits

NOTE = "read byte by byte, it is the tokenizer's table"


@pytest.fixture(scope="module")
def renske(server):
    """The data scientist."""
    with server.client() as client:
        server.newcomer("renske", "ml_engineer").sign_in(client)
        client.register_model("churn-model", description="who will leave")
        yield client


@pytest.fixture(scope="module")
def norbert(server):
    """The approver."""
    with server.client() as client:
        person = server.newcomer("norbert", "approver")
        person.sign_in(client)
        yield client


@pytest.fixture
def folder(tmp_path):
    model = tmp_path / "model"
    (model / "nested").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(tensors(5_000_000))
    (model / "nested" / "config file.json").write_text('{"layers": 2}')
    return model


def entries(server, action):
    lines = server.vallum("ledger", "tail", "-n", "200", "--json").stdout.splitlines()
    return [entry for entry in map(json.loads, lines) if entry["action"] == action]


def files_of(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_somebody_of_another_role_uploads_nothing(server, folder, norbert, renske):
    with pytest.raises(Denied):
        norbert.upload_model("churn-model", folder)
    with pytest.raises(Denied):
        norbert.register_model("another-model")
    assert any(one["effect"] == "deny" for one in entries(server, "models:version:upload"))
    with pytest.raises(Denied):
        norbert.send_file("PUT", "/registered-models/churn-model/uploads/upl_x/files/a", iter([b"x" * 100_000] * 300))


def test_a_stranger_sends_nothing(server):
    with server.client() as nobody, pytest.raises(Unauthenticated):
        nobody.send_file("PUT", "/registered-models/churn-model/uploads/upl_x/files/a", iter([b"x"]))


def test_what_is_uploaded_comes_back_verified_and_is_recorded(server, renske, folder, tmp_path):
    sent = []
    version = renske.upload_model("churn-model", folder, source="runs/1", progress=sent.append)
    assert (version["state"], version["verdict"], version["signer"]) == ("available", "pass", "platform:1")
    assert sum(sent) == version["size"] == sum(map(len, files_of(folder).values()))
    number = version["number"]
    renske.download_model("churn-model", number, tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(folder)

    made = [one for one in entries(server, "models:version:upload") if one["context"].get("digest")][-1]
    assert made["context"]["version"] == f"churn-model/{number}"
    assert (made["context"]["verdict"], made["outcome"]) == ("pass", "ok")
    left = [one["context"] for one in entries(server, "models:version:download") if "path" in one["context"]]
    assert sum(one["bytes"] for one in left[-2:]) == version["size"]
    counted = json.loads(server.vallum("models", "egress", "--json").stdout)
    me = f"person:{renske.request('GET', '/sessions/current')['person_id']}"
    assert sum(one["size"] for one in counted if one["subject"] == me) >= version["size"]


def test_the_signature_verifies_offline(renske, folder, tmp_path, vallum):
    number = renske.upload_model("churn-model", folder)["number"]
    keys = renske.request("GET", "/model-signing-keys")
    (tmp_path / "platform.pem").write_text(keys[0]["public_key"])
    signature = b"".join(renske.download(f"/registered-models/churn-model/versions/{number}/signature"))
    (tmp_path / "model.sig").write_bytes(signature)
    options = ("--signature", tmp_path / "model.sig", "--public-key", f"platform={tmp_path / 'platform.pem'}", "--json")
    assert json.loads(vallum("models", "verify", folder, *options).stdout)["signer"] == "platform"


def test_a_harmful_model_goes_nowhere(server, renske, norbert, folder, tmp_path):
    (folder / "extra.pkl").write_bytes(harmful())
    version = renske.upload_model("churn-model", folder)
    assert (version["state"], version["verdict"]) == ("quarantined", "block")
    assert any(one["place"].startswith("extra.pkl") for one in version["findings"])
    at = f"/registered-models/churn-model/versions/{version['number']}"
    for path in (f"{at}/files/extra.pkl", f"{at}/files/model.safetensors", f"{at}/signature"):
        with pytest.raises(Denied):
            list(renske.download(path))
    with pytest.raises(Denied):
        renske.download_model("churn-model", version["number"], tmp_path / "back")
    assert not (tmp_path / "back").exists()
    with pytest.raises(Denied):
        renske.request("POST", f"{at}/review", {"decision": "release", "note": NOTE})
    with pytest.raises(Conflict, match="found harmful"):
        norbert.request("POST", f"{at}/review", {"decision": "release", "note": NOTE})
    made = [one for one in entries(server, "models:version:upload") if one["context"].get("verdict") == "block"][-1]
    assert "pickle-dangerous-global" in made["context"]["techniques"]


def test_an_approver_lets_one_out_and_it_is_revoked_for_ever(server, renske, norbert, tmp_path):
    (tmp_path / "odd.bin").write_bytes(unknown())
    version = renske.upload_model("churn-model", tmp_path / "odd.bin")
    assert (version["state"], version["verdict"]) == ("quarantined", "review")
    at = f"/registered-models/churn-model/versions/{version['number']}"
    released = norbert.request("POST", f"{at}/review", {"decision": "release", "note": NOTE})
    assert released["state"] == "available"
    renske.download_model("churn-model", version["number"], tmp_path / "back")
    reviewed = entries(server, "models:version:review")[-1]
    assert (reviewed["context"]["note"], reviewed["outcome"]) == (NOTE, "ok")
    norbert.request("POST", f"{at}/revocation", {"reason": "it was somebody else's table"})
    with pytest.raises(Denied):
        renske.download_model("churn-model", version["number"], tmp_path / "again")
    with pytest.raises(Conflict):
        norbert.request("POST", f"{at}/review", {"decision": "release", "note": NOTE})


def test_a_damaged_file_is_said_to_be_so_and_not_kept(server, renske, folder, tmp_path):
    before = set((server.data / "blobs" / "models").rglob("*"))
    number = renske.upload_model("churn-model", folder)["number"]
    fresh = [path for path in set((server.data / "blobs" / "models").rglob("*")) - before if path.is_file()]
    small, large = sorted(fresh, key=lambda path: path.stat().st_size)
    at = f"/registered-models/churn-model/versions/{number}/files"
    raw = bytearray(small.read_bytes())
    raw[-1] ^= 1
    small.write_bytes(raw)
    with pytest.raises(IntegrityError, match="was altered in the blob store") as told:
        list(renske.download(f"{at}/nested/config%20file.json"))
    assert told.value.code == "version_damaged"
    raw = bytearray(large.read_bytes())
    raw[-1] ^= 1  # seen when most of it was sent
    large.write_bytes(raw)
    with pytest.raises(Unavailable):
        list(renske.download(f"{at}/model.safetensors"))
    with pytest.raises((IntegrityError, Unavailable)):
        renske.download_model("churn-model", number, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_an_interrupted_upload_goes_on(renske, folder, tmp_path):
    begun = renske.request("POST", "/registered-models/churn-model/uploads", {"source": "by train"})
    at = f"/registered-models/churn-model/uploads/{begun['id']}"

    def torn():
        yield b"x" * 3_000_000
        raise ConnectionError("the train entered a tunnel")

    with pytest.raises(ConnectionError):
        renske.send_file("PUT", f"{at}/files/model.safetensors", torn())
    assert renske.request("GET", at)["files"] == []
    raw = (folder / "model.safetensors").read_bytes()
    kept = renske.send_file("PUT", f"{at}/files/model.safetensors", iter([raw]))
    assert kept["sha256"] == hashlib.sha256(raw).hexdigest()
    version = renske.upload_model("churn-model", folder, resume=begun["id"])
    assert version["number"] == begun["number"]
    renske.download_model("churn-model", version["number"], tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(folder)


def test_nonsense_is_told_what_to_change(server, renske, folder):
    with pytest.raises(Denied, match="no such asset"):
        renske.request("GET", "/registered-models/churn-model/versions/999")
    with pytest.raises(NotFound):
        renske.request("GET", "/registered-models/churn-model/uploads/upl_x")
    begun = renske.request("POST", "/registered-models/churn-model/uploads", {})
    at = f"/registered-models/churn-model/uploads/{begun['id']}"
    for path in ("..%2Fevil", "a%2F%2Fb", "a%5Cb"):
        with pytest.raises(Invalid):
            renske.send_file("PUT", f"{at}/files/{path}", iter([b"x"]))
    with pytest.raises(Invalid):
        renske.send_file("PUT", f"{at}/signature", iter([b"x" * (9 << 20)]))
    request = urllib.request.Request(server.url + "/api/v1" + at + "/files/a", data=b"{}", method="PUT")
    request.add_header("authorization", f"Bearer {renske.credential}")
    request.add_header("content-type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, context=server.tls(), timeout=20)
    assert refused.value.code == 415
    refused.value.close()
    link = folder / "link"
    link.symlink_to("/etc/hostname")
    with pytest.raises(Invalid, match="no links"):
        renske.upload_model("churn-model", folder)


@pytest.fixture(scope="module")
def by_hand(server):
    server.vallum("models", "register", "by-hand")
    return "by-hand"


def test_by_the_command_line(server, by_hand, folder, tmp_path):
    done = server.vallum("models", "upload", by_hand, folder, "--json")
    version = json.loads(done.stdout)
    assert version["state"] == "available"
    assert "--resume upl_" in done.stderr
    name = f"{by_hand}/{version['number']}"
    server.vallum("models", "download", name, tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(folder)
    server.vallum("models", "revoke", name, "--reason", "it was trained on what was withdrawn")
    assert json.loads(server.vallum("models", "show", name, "--json").stdout)["state"] == "revoked"


def test_a_harmful_one_by_the_command_line(server, by_hand, folder, tmp_path):
    (folder / "extra.pkl").write_bytes(harmful())
    bad = server.vallum("models", "upload", by_hand, folder, check=False)
    assert bad.returncode == 1
    assert "pickle-dangerous-global" in bad.stdout
    listed = json.loads(server.vallum("models", "list", by_hand, "--json").stdout)
    name = f"{by_hand}/{listed[0]['number']}"
    assert server.vallum("models", "download", name, tmp_path / "no", check=False).returncode == 4
    review = ("models", "review", name, "--decision", "release", "--note", NOTE)
    assert server.vallum(*review, check=False).returncode == 4  # the root key's holder reviews nothing


@pytest.fixture
def digits(tmp_path):
    """A classifier of digits as a folder, and the options that name images that it takes."""
    np, onnx, datasets = map(pytest.importorskip, ("numpy", "onnx", "sklearn.datasets"))
    linear = pytest.importorskip("sklearn.linear_model")
    images, labels = datasets.load_digits(return_X_y=True)
    model = linear.LogisticRegression(max_iter=500).fit(images[:600], labels[:600])
    h, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = h.make_graph(
        [h.make_node("MatMul", ["x", "w"], ["wx"]), h.make_node("Add", ["wx", "b"], ["scores"])], "digits",
        [h.make_tensor_value_info("x", floats, ("n", 64))], [h.make_tensor_value_info("scores", floats, ("n", 10))],
        [onnx.numpy_helper.from_array(model.coef_.T.astype("f4"), "w"),
         onnx.numpy_helper.from_array(model.intercept_.astype("f4"), "b")],
    )  # fmt: skip
    made = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    np.save(tmp_path / "images.npy", images[1400:].reshape(-1, 8, 8))
    np.save(tmp_path / "labels.npy", labels[1400:])
    return folder, ("--images", tmp_path / "images.npy", "--labels", tmp_path / "labels.npy", "--largest", "1")


@pytest.mark.skipif(not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp")
def test_a_registered_version_is_searched_for_a_trigger_as_the_gate_gives_it_out(server, renske, digits, tmp_path):
    folder, given = digits
    renske.register_model("digits")
    version = renske.upload_model("digits", folder)
    assert (version["number"], version["state"]) == (1, "available")
    before = len(entries(server, "models:version:download"))
    search = ("models", "search-trigger", "digits@1", *given, "--json")
    done = server.vallum(*search, check=False)
    said = json.loads(done.stdout)
    assert (done.returncode in (0, 1), said["model"], said["scan"]) == (True, "digits@1", "pass"), done.stderr
    assert said["agreed"] > said["looked_at"] // 2
    assert len(entries(server, "models:version:download")) > before, "as every download, it is recorded"
    gone = server.vallum("models", "search-trigger", "digits@2", *given, check=False)
    assert gone.returncode in (4, 5), gone.stderr
    server.vallum("models", "revoke", "digits/1", "--reason", "learnt from rows that are held")
    refused = server.vallum(*search, check=False)
    assert (refused.returncode, refused.stdout) == (4, ""), refused.stderr
