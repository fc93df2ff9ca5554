"""Every error code and every action is documented, and no document names what is not there."""

import importlib
import pkgutil
import re
from pathlib import Path

import vallum
from vallum.kernel.errors import VallumError

ROOT = Path(__file__).parents[2]
LITERAL = re.compile(r'(?:Refused|UpstreamFailed)\(\s*\d+,\s*"([a-z_]+)"|Problem\(\d+, "[^"]+", "([a-z_]+)"')


def codes_in_use():
    for info in pkgutil.walk_packages(vallum.__path__, "vallum."):
        if ".migrations" not in info.name:
            importlib.import_module(info.name)
    found = {"upstream_refused"}
    waiting = [VallumError]
    while waiting:
        family = waiting.pop()
        waiting += [f for f in family.__subclasses__() if f.__module__.startswith("vallum.")]
        found.add(family.code)
    for path in (ROOT / "src").rglob("*.py"):
        found |= {a or b for a, b in LITERAL.findall(path.read_text())}
    return found


def test_every_error_code_is_documented_and_no_other():
    documented = set()
    for line in (ROOT / "docs" / "errors.md").read_text().splitlines():
        if line.startswith("| `"):
            documented |= set(re.findall(r"`([a-z_]+)`", line.split("|")[1]))
    assert documented == codes_in_use()


def test_links_between_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_commands_in_the_documents_exist():
    from vallum.cli.registry import COMMANDS
    from vallum.cli.tree import whole_tree

    whole_tree()  # registers them, whichever test comes first

    known = {command.name.split(" ", 1)[1] for command in COMMANDS}
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for words in re.findall(r"\$ vallum ([a-z-]+)(?: ([a-z-]+))?", page.read_text()):
            assert words[0] in known or words[1] in known, (page.name, words)
