"""Facts are valid by being there, and describing a model imports nothing heavy."""

import subprocess
import sys

import pytest

from vallum.kernel.errors import Invalid
from vallum.models.facts import Dataset, FileFact, ModelFacts

SHA = "ab" * 32
HEAVY = (
    "sqlalchemy",
    "cedarpy",
    "jinja2",
    "numpy",
    "yaml",
    "cyclonedx",
    "pyreqwest",
    "huggingface_hub",
    "rich",
    "typer",
)


@pytest.mark.parametrize("package", ["attestations", "cards", "bom", "dependencies"])
def test_importing_what_describes_models_loads_nothing_heavy(package):
    program = f"import sys, vallum.models.{package}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "facts",
    [
        {"name": ""},
        {"name": "x", "digest": "ab"},
        {"name": "x", "digest": SHA.upper()},
        {"name": "x", "files": (FileFact("a", SHA, 1), FileFact("a", SHA, 1))},
        {"name": "x", "datasets": (Dataset("a", sha256=SHA), Dataset("a"))},
    ],
)
def test_facts_that_cannot_be_are_refused(facts):
    with pytest.raises(Invalid):
        ModelFacts(**facts)


@pytest.mark.parametrize("file", [("", SHA, 1), ("a", "ab", 1), ("a", SHA, -1)])
def test_a_file_has_a_path_a_digest_and_a_size(file):
    with pytest.raises(Invalid):
        FileFact(*file)
