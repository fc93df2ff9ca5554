"""What an operator installs stays small, and asking for help imports nothing heavy."""

import re
import subprocess
import sys
from pathlib import Path

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


def test_the_repository_names_no_machine():
    """The project speaks of itself alone."""
    found = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split("\n")
    for name in filter(None, found):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".lock", ".cedar", "") and path.is_file():
            text = path.read_text(errors="ignore")
            assert "/wor" + "k/" not in text, name
            assert "/opt/py" + "pi" not in text, name
