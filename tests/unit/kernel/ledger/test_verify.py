import json
import subprocess
import sys

import pytest

_FORBIDDEN = ("sqlalchemy", "msgspec", "starlette", "alembic", "typer", "rich")


def test_the_verifier_needs_the_standard_library_and_cryptography_alone():
    program = f"import sys, vallum.kernel.ledger.verify; print([m for m in sys.modules if m in {_FORBIDDEN}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("damage", "code"), [(False, 0), (True, 1)])
def test_the_verifier_runs_as_a_program(records, ledger, append, make_draft, tmp_path, damage, code):
    append((make_draft(n) for n in range(5)), batch=5)
    exported, checkpoint = tmp_path / "ledger.jsonl", tmp_path / "checkpoint"
    with records.read() as conn, exported.open("wb") as out:
        ledger.export(conn, out)
        checkpoint.write_text(ledger.head(conn))
    if damage:
        exported.write_bytes(exported.read_bytes().replace(b'"number":3', b'"number":4'))
    program = [sys.executable, "-m", "vallum.kernel.ledger.verify"]
    done = subprocess.run(
        [*program, exported, "--key", ledger.verifier_key, "--checkpoint", checkpoint],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["verified"] is not damage
