"""What an operator installs stays small, and asking for help imports nothing heavy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vallum.api import Call, Domains, find_route
from vallum.compose import Platform, prepare
from vallum.kernel.errors import Invalid
from vallum.settings import load_settings

ROOT = Path(__file__).parents[2]
HEAVY = ("sqlalchemy", "cedarpy", "granian", "starlette", "dbos", "alembic", "cryptography", "re2", "jinja2", "obstore")


def test_the_base_install_is_at_most_45_packages():
    locked = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE | re.I)
    assert 30 < len(set(locked)) <= 45


def test_every_locked_package_has_hashes():
    for name in ("requirements.lock", "requirements-build.lock", "requirements-dev.lock"):
        for block in re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / name).read_text()):
            assert "--hash=sha256:" in block, (name, block[:60])


def test_help_imports_nothing_heavy():
    program = (
        "import sys; sys.argv = ['vallum', '--help']\n"
        "from vallum.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "Usage" in done.stdout
    assert done.stderr.strip().endswith("[]")


def test_the_process_that_checks_policies_imports_their_parser_and_little_else():
    program = "import sys, vallum.kernel.cedar.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "cedarpy" in loaded
    ours = {m for m in loaded if m.startswith("vallum.") and not m.startswith("vallum.kernel.cedar")}
    assert ours == {"vallum.kernel", "vallum.kernel.errors"}
    assert not loaded & {"sqlalchemy", "cryptography", "msgspec"}


# What a command that asks nothing of models, data and releases has no use for.
UNASKED = (
    "vallum.api.app", "vallum.api.table", "vallum.background", "vallum.console", "vallum.data", "vallum.gateway",
    "vallum.guards", "vallum.models", "vallum.releases", "vallum.retrieval", "vallum.serving.server",
    "alembic", "asyncpg", "dbos", "granian", "jinja2", "numpy", "obstore", "onnxruntime", "packaging", "polars",
    "psycopg", "pyarrow", "pyreqwest", "re2", "sqlalchemy.dialects.postgresql", "starlette",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = tmp_path_factory.mktemp("lean") / "data"
    prepare(load_settings(None, {}, {"data": str(data)}))
    return data


def _imported_by(folder, *words):
    """The modules that a process has which performed one command."""
    program = (
        f"import sys; sys.argv = ['vallum', *{words!r}, '--data', {str(folder)!r}]\n"
        "from vallum.cli import main\n"
        "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize(
    "words",
    [
        ("policy", "show"), ("policy", "who-can", "ledger:content:read", "Ledger:vallum"), ("keys", "list"),
        ("keysets", "status"), ("ledger", "tail"), ("people", "list"), ("alerts", "list"), ("secrets", "list"),
        ("applications", "list"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_imports_only_what_its_route_works_with(folder, words):
    loaded = _imported_by(folder, *words)
    assert not {m for m in loaded for unasked in UNASKED if m == unasked or m.startswith(unasked + ".")}
    assert len(loaded) < 800


def test_a_command_that_works_with_a_domain_imports_it_and_not_the_others(folder):
    loaded = _imported_by(folder, "models", "list")
    assert "vallum.models.registry" in loaded
    assert not loaded & {"vallum.releases", "vallum.data.catalogue", "vallum.gateway.guarding", "vallum.api.table"}


def test_a_server_has_opened_every_domain_before_it_serves(folder):
    """What is wrong with the settings of one stops it from starting, and nothing waits for an import later."""
    settings = load_settings(None, {}, {"data": str(folder)})
    promised = {name for name in vars(Domains) if not name.startswith("_")}
    assert len(promised) > 7
    for opened, expected in ((Platform.open(settings), promised), (Platform.open_for_one(settings), set())):
        assert promised & vars(opened.domains).keys() == expected
        opened.records.close()


def test_a_command_that_works_with_no_model_is_not_stopped_by_the_settings_of_models(folder, tmp_path):
    """But one that does is, and so is a server."""
    broken = load_settings(None, {}, {"data": str(folder), "models.trusted_signers_file": str(tmp_path / "absent")})
    with pytest.raises(Invalid):
        Platform.open(broken)
    platform = Platform.open_for_one(broken)
    try:
        platform.start()
        assert platform.perform(find_route("read_policy"), Call()).value
        for _ in range(2):
            with pytest.raises(Invalid):
                platform.perform(find_route("list_registered_models"), Call())
    finally:
        platform.close()


def test_the_repository_names_no_machine():
    """The project speaks of itself alone."""
    found = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split("\n")
    for name in filter(None, found):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".lock", ".cedar", "") and path.is_file():
            text = path.read_text(errors="ignore")
            assert "/wor" + "k/" not in text, name
            assert "/opt/py" + "pi" not in text, name
