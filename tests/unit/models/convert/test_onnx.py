"""scikit-learn to ONNX: the same answers, tied to the source by digest, or nothing; signed where somebody has a key."""

import hashlib
import json
from importlib.util import find_spec

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from vallum.cli.tree import whole_tree
from vallum.kernel.errors import IntegrityError, Invalid
from vallum.models.attestations import TRAINING_PROVENANCE, verify_envelope
from vallum.models.convert import CONVERSION_BUILD_TYPE, convert
from vallum.models.scan import Verdict, scan

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("skl2onnx", "joblib", "sklearn")),
    reason="the extra convert-onnx is not installed",
)

DRAW = np.random.default_rng(7)
X = DRAW.normal(size=(200, 4)) * [1, 10, 1000, 0.1] + [0, 5, 3000, 0]
Y = X[:, 0] + X[:, 1] / 10 > 0.4


@pytest.fixture(scope="module")
def fitted():
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "classes": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, np.where(Y, "stays", "leaves")),
        "numbers": GradientBoostingRegressor(n_estimators=10).fit(X, X @ [1.0, 2.0, 0.1, 4.0]),
    }


@pytest.mark.parametrize("name", ["classes", "numbers"])
def test_it_answers_as_its_source_does(fitted, tmp_path, name):
    import joblib
    import onnx
    import onnxruntime

    model, source, out = fitted[name], tmp_path / "model.joblib", tmp_path / "model.onnx"
    joblib.dump(model, source)
    done = convert(source, out)
    assert done.verified.startswith("the same answers on 513 rows")
    assert "Landlock" in done.sandbox
    digests = (hashlib.sha256(source.read_bytes()).hexdigest(), hashlib.sha256(out.read_bytes()).hexdigest())
    assert (done.source_sha256, done.destination_sha256) == digests
    properties = {one.key: one.value for one in onnx.load(out).metadata_props}
    assert properties["source_sha256"] == digests[0]
    assert scan(out).verdict is Verdict.PASS
    session = onnxruntime.InferenceSession(out.read_bytes())
    answered = session.run(None, {"X": X.astype(np.float32)})
    if name == "classes":
        assert (answered[0] == model.predict(X)).mean() > 0.99
        assert np.allclose(answered[1], model.predict_proba(X), atol=1e-4)
    else:
        assert np.allclose(answered[0].ravel(), model.predict(X), rtol=1e-3)


def test_one_that_answers_otherwise_is_not_kept(fitted, tmp_path, monkeypatch):
    from vallum.models.convert import sklearn_onnx

    class Lies:
        n_features_in_ = 4

        def predict(self, rows):
            return rows @ [1.0, 2.0, 0.1, 4.5]

    monkeypatch.setattr(sklearn_onnx, "load_sklearn", lambda source: Lies())
    import skl2onnx

    true = skl2onnx.to_onnx
    from sklearn.linear_model import LinearRegression

    other = LinearRegression().fit(X, X @ [1.0, 2.0, 0.1, 4.0])
    monkeypatch.setattr(skl2onnx, "to_onnx", lambda model, **given: true(other, **given))
    with pytest.raises(IntegrityError, match="answers otherwise"):
        sklearn_onnx.convert_onnx(tmp_path / "source", tmp_path / "out.onnx", {})
    assert not (tmp_path / "out.onnx").exists()


def test_what_onnx_cannot_say_is_refused_and_leaves_nothing(tmp_path):
    import joblib
    from sklearn.feature_extraction.text import CountVectorizer

    joblib.dump(CountVectorizer().fit(["some words", "other words"]), tmp_path / "words.joblib")
    with pytest.raises(Invalid):
        convert(tmp_path / "words.joblib", tmp_path / "words.onnx", accept_review=True)
    assert [path.name for path in tmp_path.iterdir()] == ["words.joblib"]


def test_a_conversion_is_attested_and_the_command_says_so(fitted, tmp_path):
    import joblib

    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    joblib.dump(fitted["numbers"], tmp_path / "model.joblib")
    out = tmp_path / "model.onnx"
    given = [str(tmp_path / "model.joblib"), str(out), "--key", str(tmp_path / "key.pem"), "--key-id", "ci"]
    done = CliRunner().invoke(whole_tree(), ["models", "convert", *given])
    assert done.exit_code == 0, done.output
    statement = verify_envelope((tmp_path / "model.onnx.dsse.json").read_bytes(), {"ci": key.public_key()})
    record = json.loads((tmp_path / "model.onnx.conversion.json").read_text())
    statement.require(TRAINING_PROVENANCE, record["destination_sha256"])
    definition = statement.predicate["buildDefinition"]
    assert definition["buildType"] == CONVERSION_BUILD_TYPE
    assert definition["resolvedDependencies"][0]["digest"] == {"sha256": record["source_sha256"]}
