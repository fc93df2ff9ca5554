"""The keys that sign models lie on a token, beside the root key: versions verify offline; without it none is made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from registered_models import tensors

from vallum.kernel.errors import Unavailable

VALLUM = str(Path(sys.executable).with_name("vallum"))
MODULE = "/usr/lib/softhsm/libsofthsm2.so"


@pytest.fixture
def env(tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    (tmp_path / "pin").write_text("4321\n")
    given = {
        **os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"), "VALLUM_KEYS_ROOT": "pkcs11",
        "VALLUM_KEYS_PKCS11_MODULE": MODULE, "VALLUM_KEYS_PKCS11_TOKEN": "vallum-test",
        "VALLUM_KEYS_PKCS11_PIN_FILE": str(tmp_path / "pin"), "VALLUM_MODELS_SIGNING": "token",
        "VALLUM_MODELS_SIGNING_CURVE": "P-384",
    }  # fmt: skip
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "vallum-test", "--pin", "4321", "--so-pin", "12345678"],
        check=True, capture_output=True, stdin=subprocess.DEVNULL, env=given,
    )  # fmt: skip
    return given


def test_a_model_is_signed_on_the_token_and_by_nothing_else(start, env, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(tensors(100_000))
    server = start(env=env)
    with server.client() as client:
        server.newcomer("renske", "ml_engineer").sign_in(client)
        client.register_model("churn")
        first = client.upload_model("churn", tmp_path / "model")
        assert (first["state"], first["signer"]) == ("available", "platform:1")
        server.vallum("models", "keys", "rotate")  # another process, on the same token
        second = client.upload_model("churn", tmp_path / "model")
        assert second["signer"] == "platform:2"
        keys = client.request("GET", "/model-signing-keys")
        assert [(key["custody"], key["algorithm"], key["state"]) for key in keys] == [
            ("token", "ecdsa-p384-sha384", "signing"), ("token", "ecdsa-p384-sha384", "retired"),
        ]  # fmt: skip
        for version, key in ((first, keys[1]), (second, keys[0])):
            out = tmp_path / f"back-{version['number']}"
            client.download_model("churn", version["number"], out)
            (tmp_path / "key.pem").write_text(key["public_key"])
            at = f"/registered-models/churn/versions/{version['number']}/signature"
            (tmp_path / "churn.sig").write_bytes(b"".join(client.download(at)))
            verify = ("models", "verify", out, "--signature", tmp_path / "churn.sig")
            from_ = ("--public-key", f"platform={tmp_path / 'key.pem'}", "--json")
            done = subprocess.run(
                [VALLUM, *map(str, verify), *from_], capture_output=True, text=True, env=env, timeout=60
            )
            assert json.loads(done.stdout)["signer"] == "platform", done.stderr
        credential = client.credential

    server.stop()
    destroy = (  # what signs is gone from the token
        "import pkcs11, sys\n"
        "with pkcs11.lib(sys.argv[1]).get_token(token_label='vallum-test').open(user_pin='4321', rw=True) as session:\n"
        "    for key in list(session.get_objects({pkcs11.Attribute.LABEL: 'vallum-models'})): key.destroy()\n"
    )
    subprocess.run([sys.executable, "-c", destroy, MODULE], check=True, capture_output=True, env=env)
    again = start("--port", str(server.port), env=env)
    with again.client(credential) as client:
        with pytest.raises(Unavailable, match="does not hold the key"):
            client.upload_model("churn", tmp_path / "model")
        assert [one["number"] for one in client.request("GET", "/registered-models/churn/versions")] == [2, 1]
        client.download_model("churn", 1, tmp_path / "still")  # what was signed goes on verifying
