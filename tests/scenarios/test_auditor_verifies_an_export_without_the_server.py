"""An export is verified with nothing but the verifier; any change to it, and any cut, is found."""

import json
import random
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def exported(server, tmp_path_factory):
    for number in range(20):
        server.openai().chat.completions.create(
            model="handbook", messages=[{"role": "user", "content": f"question {number} about leave"}]
        )
    file = tmp_path_factory.mktemp("export") / "ledger.jsonl"
    server.vallum("ledger", "export", "--output", file)
    return file


def test_it_verifies_with_the_command(exported, vallum):
    report = json.loads(vallum("ledger", "verify", "--export", exported, "--json").stdout)
    assert report["verified"]
    assert report["size"] >= 20


def test_it_verifies_on_a_machine_that_has_only_cryptography(exported):
    """The module imports nothing of the server: no database, no web framework, no policy engine."""
    program = (
        "import sys; from vallum.kernel.ledger import verify; code = verify.main(sys.argv[1:]);"
        "heavy = {'sqlalchemy', 'cedarpy', 'msgspec', 'granian', 'starlette', 'dbos'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(exported)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified"]


def test_it_holds_no_content_and_no_secret(exported, server):
    text = exported.read_text()
    assert "question 7" not in text
    assert server.ready["api_key"] not in text


def test_every_change_is_found(exported, vallum, tmp_path):
    from vallum.kernel.errors import IntegrityError
    from vallum.kernel.ledger.verify import verify_export

    lines = exported.read_bytes().splitlines(keepends=True)
    rng = random.Random(5)
    for _ in range(1000):
        changed = list(lines)
        at = rng.randrange(1, len(lines))
        match rng.randrange(5):
            case 0:
                line = bytearray(changed[at])
                place = rng.randrange(len(line) - 1)
                line[place] ^= 1 << rng.randrange(8)
                changed[at] = bytes(line)
            case 1:
                del changed[at]
            case 2:
                other = rng.randrange(1, len(lines))
                changed[at], changed[other] = changed[other], changed[at]
            case 3:
                changed = changed[:at]
            case 4:
                changed.insert(at, changed[rng.randrange(1, len(lines))])
        if changed == lines:
            continue
        with pytest.raises(IntegrityError):
            verify_export(iter(changed))


def test_a_log_cut_short_and_signed_again_is_found_with_an_older_checkpoint(server, exported, vallum, tmp_path):
    header = json.loads(exported.read_text().splitlines()[0])
    older = tmp_path / "older"
    older.write_text(header["checkpoint"])
    server.openai().models.list()
    newer = tmp_path / "newer.jsonl"
    server.vallum("ledger", "export", "--output", newer)
    vallum("ledger", "verify", "--export", newer, "--checkpoint", older)
    newest = tmp_path / "newest"
    newest.write_text(json.loads(newer.read_text().splitlines()[0])["checkpoint"])
    done = vallum("ledger", "verify", "--export", exported, "--checkpoint", newest, "--json", check=False)
    assert done.returncode == 8
    assert not json.loads(done.stdout)["verified"]


def test_the_running_store_verifies_and_an_entry_is_proven(server, vallum):
    report = json.loads(server.vallum("ledger", "verify", "--json").stdout)
    assert report["verified"]
    assert report["contents"] > 0
    newest = server.vallum("ledger", "tail", "--limit", "1", "--json").stdout
    proven = server.vallum("ledger", "prove", json.loads(newest)["entry_id"])
    assert proven.stdout.startswith("verified: entry")


@pytest.mark.parametrize(
    "arguments", [[], ["--export", "/nowhere/x"], ["--data", "/nowhere/x"], ["--export", __file__]]
)
def test_what_cannot_be_verified_never_exits_0(vallum, arguments):
    done = vallum("ledger", "verify", *arguments, check=False)
    assert done.returncode in (2, 8, 9)
