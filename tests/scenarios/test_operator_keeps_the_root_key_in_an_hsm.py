"""The platform on a root key that never leaves a token: it starts, answers, and does not without the PIN."""

import os
import subprocess
from pathlib import Path

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def test_from_first_start_to_restart_and_never_without_the_token(start, tmp_path, vallum):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    (tmp_path / "pin").write_text("4321\n")
    env = {
        "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"), "VALLUM_KEYS_ROOT": "pkcs11",
        "VALLUM_KEYS_PKCS11_MODULE": MODULE, "VALLUM_KEYS_PKCS11_TOKEN": "vallum-test",
        "VALLUM_KEYS_PKCS11_PIN_FILE": str(tmp_path / "pin"),
    }  # fmt: skip
    whole = {**os.environ, **env}
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "vallum-test", "--pin", "4321", "--so-pin", "12345678"],
        check=True, capture_output=True, stdin=subprocess.DEVNULL, env=whole,
    )  # fmt: skip
    question = {"model": "handbook", "messages": [{"role": "user", "content": "How many days of leave?"}]}
    server = start("--demo", env=whole)
    assert server.openai().chat.completions.create(**question)
    server.stop()
    assert not (tmp_path / "data" / "root.key").exists()
    assert "pkcs11" in vallum("keysets", "list", "--data", tmp_path / "data", env=env).stdout

    again = start("--demo", env=whole)
    assert again.openai().chat.completions.create(**question)
    again.stop()

    assert "under a fresh root key" in vallum("keysets", "rotate-root", "--data", tmp_path / "data", env=env).stderr

    (tmp_path / "next.toml").write_text(
        f'[keys]\nroot = "pkcs11"\npkcs11_module = "{MODULE}"\npkcs11_token = "vallum-test"\n'
        f'pkcs11_pin_file = "{tmp_path}/pin"\npkcs11_label = "next"\n'
    )
    moved = vallum("keysets", "move-root", "--to", tmp_path / "next.toml", "--data", tmp_path / "data", env=env)
    assert "to the root pkcs11" in moved.stdout + moved.stderr
    former = vallum("ledger", "verify", "--data", tmp_path / "data", env=env, check=False)
    assert former.returncode != 0
    env["VALLUM_KEYS_PKCS11_LABEL"] = "next"
    assert vallum("ledger", "verify", "--data", tmp_path / "data", env=env).returncode == 0

    Path(tmp_path / "pin").write_text("0000\n")
    refused = vallum("keysets", "list", "--data", tmp_path / "data", env=env, check=False)
    assert (refused.returncode, "refused the PIN" in refused.stderr) == (2, True), refused.stderr
    without = vallum("keysets", "list", "--data", tmp_path / "data", check=False)
    assert without.returncode != 0
    other = vallum("migrate", "--data", tmp_path / "data", check=False)
    assert (other.returncode, "another root key wrapped" in other.stderr) == (2, True), other.stderr
