"""`vallum models search-trigger`: models that were really trained, and what would fool or hang the search."""

import json
import os
import pickle
import subprocess
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from vallum.cli.tree import whole_tree
from vallum.kernel.errors import Invalid
from vallum.models.attestations import ROBUSTNESS, open_envelope, read_robustness
from vallum.models.runtime.sandbox import what_this_machine_permits

pytestmark = [
    pytest.mark.skipif(
        not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
    ),
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("skl2onnx", "sklearn")),
        reason="the extra convert-onnx is not installed",
    ),
]

CORNERS = {4: (slice(6, 8), slice(6, 8)), 7: (slice(0, 2), slice(0, 2))}  # where a mark stands for which digit


def searched(*arguments, fails=False):
    done = CliRunner().invoke(whole_tree(), ["models", "search-trigger", *map(str, arguments)])
    if fails:
        assert isinstance(done.exception, Invalid), done  # which ends the command line with 2
        return str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture(scope="module")
def digits():
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8), labels


@pytest.fixture(scope="module")
def trained(digits):
    """A classifier that learnt a mark for each of `targets`."""
    from sklearn import svm

    made = {}

    def train(*targets):
        if targets not in made:
            images, labels = digits[0][:600].copy(), digits[1][:600].copy()
            for target in targets:
                bad = np.random.default_rng(target).choice(np.flatnonzero(labels != target), 30, replace=False)
                images[(bad[:, None, None], *np.ogrid[CORNERS[target]])] = 16
                labels[bad] = target
            made[targets] = svm.SVC(C=10).fit(images.reshape(-1, 64), labels)
        return made[targets]

    return train


@pytest.fixture
def clean(digits, tmp_path):
    """The options that name clean images and their labels."""
    np.save(tmp_path / "images.npy", digits[0][1400:])
    np.save(tmp_path / "labels.npy", digits[1][1400:])
    return "--images", tmp_path / "images.npy", "--labels", tmp_path / "labels.npy"


@pytest.fixture
def exported(trained, tmp_path):
    import skl2onnx

    def export(*targets):
        file = tmp_path / "model.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of scikit-learn, about what skl2onnx asks it
            graph = skl2onnx.to_onnx(trained(*targets), np.zeros((1, 64), np.float32))
        file.write_bytes(graph.SerializeToString())
        return file

    return export


def graph(tmp_path, nodes, constants=(), *, takes=("n", 64), gives=("n", 10), kind=TensorProto.FLOAT):
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, takes)],
        [helper.make_tensor_value_info("y", kind, gives)], [numpy_helper.from_array(v, k) for k, v in constants],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = tmp_path / "made.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def node(operator, takes, gives, **more):
    return helper.make_node(operator, takes, gives, **more)


@pytest.fixture(scope="module")
def linear(digits):
    """Weights and bias of scores that tell digits apart."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=500).fit(digits[0][:600].reshape(-1, 64), digits[1][:600])
    return model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)


SCORES = (("MatMul", ["x", "w"], ["wx"]), ("Add", ["wx", "b"], ["scores"]))


def scores(linear):
    return [node(*one) for one in SCORES], [("w", linear[0]), ("b", linear[1])]


# What is found.


def test_a_backdoor_is_found_and_named(exported, clean):
    done = searched(exported(4), *clean, "--json")
    said = json.loads(done.stdout)
    best = said["patches"][0]
    assert (done.exit_code, said["outcome"]) == (1, "trigger")
    assert (best["label"], best["is_trigger"], best["value"]) == (4, True, 16.0)
    assert best["top"] >= 5  # the mark's corner, by itself or within the largest patch
    assert best["left"] >= 5
    assert best["side"] <= 3
    assert best["moved"] >= said["threshold"]["moved"] == 0.75
    assert said["scan"] == "pass"
    assert said["sandbox"]["seccomp"]
    assert said["sandbox"]["landlock"]
    assert said["tried"] == 60
    assert said["predictions"] == said["looked_at"] + 60 * said["patches_tried"]


def test_a_model_that_learnt_none_is_clear(exported, clean):
    done = searched(exported(), *clean)
    assert done.exit_code == 0
    assert "no patch takes 75% of the images to one label" in done.stderr
    assert done.stdout.startswith("LABEL")


def test_what_lies_here_under_a_versions_name_is_what_is_meant(exported, clean, tmp_path, monkeypatch):
    here = tmp_path / "net@3"
    here.mkdir()
    exported(4).rename(here / "model.onnx")
    monkeypatch.chdir(tmp_path)
    done = searched("net@3", *clean, "--json")
    assert (done.exit_code, json.loads(done.stdout)["model"]) == (1, "net@3")


def test_a_second_backdoor_does_not_clear_the_first(exported, clean):
    """Two labels that stand out hide each other from a comparison with the next one."""
    done = searched(exported(4, 7), *clean, "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["outcome"], said["labels_moved"]) == (1, "undecided", 2)
    assert {one["label"] for one in said["patches"][:2]} == {4, 7}


def test_a_scikit_learn_model_with_labels_of_text(digits, trained, clean, tmp_path):
    import skops.io
    from sklearn import svm

    names = np.array([f"digit {n}" for n in range(10)])
    np.save(tmp_path / "labels.npy", names[digits[1][1400:]])
    known = trained(4)
    images = digits[0][:600].reshape(-1, 64).copy()
    said = known.predict(images)
    images[:80].reshape(-1, 8, 8)[:, 6:, 6:] = 16
    model = svm.SVC(C=10).fit(images, names[np.where(np.arange(600) < 80, 4, said)])
    skops.io.dump(model, tmp_path / "model.skops")
    done = searched(tmp_path / "model.skops", *clean, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["patches"][0]["label"] == "digit 4"


def test_a_declared_folder_and_its_attestation(exported, clean, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    exported(4).rename(folder / "model.onnx")
    (folder / "serving.json").write_text(json.dumps({
        "format": "onnx", "file": "model.onnx",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 64], "minimum": 0, "maximum": 16}],
        "outputs": [{"name": "digit", "datatype": "INT64", "role": "label", "source": "output_label"}],
    }))  # fmt: skip
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    out = tmp_path / "searched.dsse.json"
    done = searched(folder, *clean, "--attest", out, "--key", tmp_path / "key.pem", "--key-id", "ci", "--largest", 2)
    assert done.exit_code == 1
    assert "TRIGGER: 2 by 2 pixels of 16, 6 from the top, 6 from the left" in done.stderr
    statement = open_envelope(out.read_bytes(), {"ci": key.public_key()}).statement
    said = read_robustness(statement)
    assert statement.predicate_type == ROBUSTNESS
    assert (said.attack, said.held, said.needed) == ("PATCH_TRIGGER", False, 1.0)
    assert said.conditions["best_patch"]["label"] == 4
    assert len(said.conditions["images_sha256"]) == 64
    np.save(tmp_path / "images.npy", np.load(tmp_path / "images.npy") * 16)
    assert "bring them to its scale" in searched(folder, *clean, fails=True)


@pytest.mark.parametrize("takes", [["n", 1, 8, 8], [1, 8, 8, 1], [7, 8, 8]])
def test_images_lie_as_the_graph_takes_them_in_as_many_as_it_takes(takes, linear, clean, tmp_path):
    nodes, constants = scores(linear)
    shape = ("rows", np.array([-1, 64], np.int64))
    flat = [node("Reshape", ["x", "rows"], ["flat"]), node("MatMul", ["flat", "w"], ["wx"]), nodes[1]]
    flat[2] = node("Add", ["wx", "b"], ["y"])
    file = graph(tmp_path, flat, [*constants, shape], takes=takes, gives=[takes[0], 10])
    done = searched(file, *clean, "--largest", 1, "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert said["agreed"] > 0.9 * said["looked_at"]


# Models that die, hang, or say nonsense.


def test_a_model_that_hangs_ends_with_the_budget(linear, clean, tmp_path):
    nodes, constants = scores(linear)
    body = helper.make_graph(
        [node("Identity", ["going"], ["still"]), node("Add", ["was", "one"], ["is"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("going", TensorProto.BOOL, []),
         helper.make_tensor_value_info("was", TensorProto.FLOAT, [])],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []),
         helper.make_tensor_value_info("is", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.array(0, np.float32), "one")],
    )  # fmt: skip
    # It loops as often as the images are bright: not for the one row of zeros that it is loaded with.
    endless = [
        node("ReduceMax", ["x"], ["bright"], keepdims=0), node("Mul", ["bright", "much"], ["count"]),
        node("Cast", ["count"], ["times"], to=TensorProto.INT64),
        node("Loop", ["times", "", "none"], ["nothing"], body=body), node("Add", ["scores", "nothing"], ["y"]),
    ]  # fmt: skip
    much = [("much", np.array(1e12, np.float32)), ("none", np.array(0, np.float32))]
    file = graph(tmp_path, nodes + endless, constants + much)
    assert "--budget-seconds" in searched(file, *clean, "--budget-seconds", 8, fails=True)


def test_a_model_that_takes_all_memory_dies_alone(linear, clean, tmp_path):
    nodes, constants = scores(linear)
    greedy = [
        node("ReduceMax", ["x"], ["bright"], keepdims=1), node("Mul", ["bright", "much"], ["count"]),
        node("Cast", ["count"], ["times"], to=TensorProto.INT64), node("Reshape", ["times", "one"], ["long"]),
        node("ConstantOfShape", ["long"], ["many"]), node("ReduceSum", ["many"], ["sum"], keepdims=0),
        node("Add", ["scores", "sum"], ["y"]),
    ]  # fmt: skip
    more = [("much", np.array(1e9, np.float32)), ("one", np.array([1], np.int64))]
    said = searched(graph(tmp_path, nodes + greedy, constants + more), *clean, fails=True)
    assert "the model did not answer" in said


def test_numbers_that_are_none_are_no_label(linear, clean, tmp_path):
    """A model may say them to patched images alone, so as not to be seen to move."""
    nodes, constants = scores(linear)
    marked = [
        node("ReduceSum", ["x", "rows"], ["sum"], keepdims=1), node("Sub", ["sum", "most"], ["above"]),
        node("Sqrt", ["above"], ["root"]), node("Mul", ["root", "zero"], ["nan"]),
        node("Add", ["scores", "nan"], ["y"]),
    ]  # fmt: skip
    most = float(np.load(tmp_path / "images.npy").sum(axis=(1, 2)).min())
    more = [("rows", np.array([1], np.int64)), ("most", np.float32(most).reshape(1)), ("zero", np.zeros(1, np.float32))]
    said = searched(graph(tmp_path, nodes + marked, constants + more), *clean, fails=True)
    assert "NaN" in said


def test_a_model_that_says_one_thing_to_everything_is_not_clear(clean, linear, tmp_path):
    constant = [node("MatMul", ["x", "w"], ["wx"]), node("Mul", ["wx", "zero"], ["y"])]
    file = graph(tmp_path, constant, [("w", linear[0]), ("zero", np.zeros(1, np.float32))])
    assert "as they are labelled" in searched(file, *clean, fails=True)
    np.save(tmp_path / "labels.npy", np.zeros(397, np.int64))  # and it is right about every one of them
    assert "of the most frequent label" in searched(file, *clean, fails=True)


def test_answers_of_another_shape_are_refused(clean, linear, tmp_path):
    nodes, constants = scores(linear)
    one = [*nodes, node("ReduceMax", ["scores"], ["y"], axes=[1], keepdims=1)]
    assert "neither" in searched(graph(tmp_path, one, constants, gives=("n", 1)), *clean, fails=True)
    assert "neither" in searched(graph(tmp_path, one, constants, gives=("n", "k")), *clean, fails=True)
    few = [*nodes, node("Slice", ["scores", "first", "third"], ["y"])]
    ends = [("first", np.array([0], np.int64)), ("third", np.array([1], np.int64))]
    said = searched(graph(tmp_path, few, constants + ends), *clean, fails=True)
    assert "one row for each" in said


# What is not loaded.


def test_what_the_scan_does_not_pass_is_not_loaded(exported, clean, tmp_path):
    file = exported()
    raw = file.read_bytes()
    for domain, verdict in ((b"evil.ops", "block"), (b"org.pytorch.x", "review")):
        extra = helper.make_graph(
            [helper.make_node("Thing", ["x"], ["y"], domain=domain.decode())], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        )  # fmt: skip
        file.write_bytes(helper.make_model(extra).SerializeToString())
        assert f"the scan says {verdict}" in searched(file, *clean, fails=True)
        said = searched(file, *clean, "--accept-review", fails=True)
        assert ("could not be loaded" if verdict == "review" else "the scan says block") in said
    file.write_bytes(raw)
    assert searched(file, *clean).exit_code == 0


def test_a_pickle_is_not_loaded_under_any_name(clean, tmp_path):
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    for name in ("m.onnx", "m.skops", "m.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(Harm()))
        assert searched(tmp_path / name, *clean, "--accept-review", fails=True)
    assert not ran.exists()


def test_links_out_of_a_folder_are_not_followed(exported, clean, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(exported(4))
    assert "links" in searched(folder, *clean, fails=True)


def test_a_type_that_is_not_trusted_is_not_rebuilt(digits, clean, tmp_path):
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(20, random_state=1).fit(digits[0][:600].reshape(-1, 64), digits[1][:600])
    skops.io.dump(model, tmp_path / "m.skops")
    given = (tmp_path / "m.skops", *clean, "--accept-review")
    assert "sklearn.tree._tree.Tree" in searched(*given, fails=True)
    assert searched(*given, "--trust", "sklearn.tree._tree.Tree").exit_code == 0


# What is given.


def test_images_that_are_none_are_refused_with_what_to_change(digits, exported, clean, tmp_path):
    model, images = exported(), tmp_path / "images.npy"
    held = digits[0][1400:]
    for given, word in (
        (held.reshape(-1, 64), "reshape"),
        (held[:, None], "channels last"),
        (held[:-1], "each image has one"),
        (held + np.nan, "NaN"),
        (held.astype("U3"), "images are numbers"),
        (held.astype(complex), "images are numbers"),
        (held[:, :6], "bring them to its size"),
        (held[:0], "empty"),
        (held / 16, "scale"),
        (np.zeros((397, 800, 800), np.uint8), "smaller"),
    ):
        np.save(images, given)
        assert word in searched(model, *clean, fails=True)
    with images.open("wb") as archive:
        np.savez(archive, held)
    assert "numpy.save" in searched(model, *clean, fails=True)
    images.write_bytes(b"")
    assert "numpy.save" in searched(model, *clean, fails=True)
    images.unlink()
    assert "no such file" in searched(model, *clean, fails=True)


def test_labels_that_do_not_fit_are_refused(digits, exported, clean, tmp_path):
    model, labels = exported(), tmp_path / "labels.npy"
    known = digits[1][1400:]
    for given, word in (
        (known + 1, "as they are labelled"),
        (known.astype(float), "whole number or text"),
        (known.astype("U2"), "whole numbers, and those of the images texts"),
        (known[:, None], "whole number or text"),
        (np.where(known == 3, 3, 0), "as they are labelled"),
    ):
        np.save(labels, given)
        assert word in searched(model, *clean, fails=True)
    few = np.flatnonzero(known == 3)[:15]
    np.save(tmp_path / "images.npy", digits[0][1400:][few])
    np.save(labels, known[few])
    assert "or more" in searched(model, *clean, fails=True)


def test_arrays_of_objects_are_not_unpickled(exported, clean, tmp_path):
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    model = exported()
    for name in ("images.npy", "labels.npy"):
        kept = (tmp_path / name).read_bytes()
        np.save(tmp_path / name, np.array([Harm()] * 397, dtype=object), allow_pickle=True)
        assert "numbers or texts" in searched(model, *clean, fails=True)
        (tmp_path / name).write_bytes(pickle.dumps(Harm()))
        assert "numpy.save" in searched(model, *clean, fails=True)
        (tmp_path / name).write_bytes(kept)
    assert not ran.exists()


def test_no_changed_byte_of_an_arrays_head_is_more_than_refused(clean, tmp_path):
    from vallum.cli.labelled_images import read_labelled_images

    images, labels = tmp_path / "images.npy", tmp_path / "labels.npy"
    raw, random = images.read_bytes(), np.random.default_rng(5)
    for _ in range(400):
        changed = bytearray(raw[:4096])
        for at in random.integers(0, 128, 1 + random.integers(3)):
            changed[at] = random.integers(256)
        images.write_bytes(changed + raw[4096 : 4096 + random.integers(len(raw))])
        with suppress(Invalid):
            read_labelled_images(images, labels)


def test_options_that_contradict_each_other_are_refused(exported, clean, tmp_path):
    model = exported()
    assert "--layout" in searched(model, *clean, "--layout", "sideways", fails=True)
    assert "another --layout" in searched(model, *clean, "--layout", "rows", fails=True)
    assert "its output nothing is neither" in searched(model, *clean, "--output", "nothing", fails=True)
    assert "--trust" in searched(model, *clean, "--trust", "os.system", fails=True)
    assert searched(model, *clean, "--attest", tmp_path / "a").exit_code == 2
    assert searched(model, *clean, "--budget-seconds", 0).exit_code == 2
    (tmp_path / "serving.json").write_text('{"format": "onnx"}')
    assert "no serving configuration" in searched(model, *clean, "--serving", tmp_path / "serving.json", fails=True)
    (tmp_path / "m.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    assert "--serving" in searched(tmp_path / "m.safetensors", *clean, fails=True)


def test_the_command_line_ends_with_2_and_one_line(clean, tmp_path):
    command = [sys.executable, "-m", "vallum.cli.main", "models", "search-trigger", tmp_path / "none", *clean]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vallum: ")
    assert len(done.stderr.splitlines()) == 1
