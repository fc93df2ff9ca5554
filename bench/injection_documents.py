"""False alarms of the injection guard on clean documents that lie on this machine, by kind, as JSON with intervals.

    .venv/bin/python bench/injection_documents.py [--each 100]

None of them is in the training texts: manuals, READMEs, news, change logs, licences, configuration, HTML and Perl of a
Debian system, Python's own library, and what the few packages say of themselves that nothing is trained on. (Packages
that the training reads come under some of the same licences.) Of each file one excerpt is judged, as a tool would
return it. They are technical; letters and minutes stand in `training/injection/judged`.
"""

import argparse
import gzip
import json
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

from vallum.guards import Channel, Injection

DOCS, MANUALS = Path("/usr/share/doc"), Path("/usr/share/man")
LIBRARY, PACKAGES = Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))
KINDS = {
    "readme": (DOCS, "*/README*"),
    "news": (DOCS, "*/NEWS*"),
    "change log": (DOCS, "*/changelog.gz"),
    "licence": (DOCS, "*/copyright"),
    "example": (DOCS, "*/examples/*"),
    "html": (DOCS, "**/*.html"),
    "manual": (MANUALS, "man[1578]/*.gz"),
    "configuration": (Path("/etc"), "**/*.conf"),
    "python": (LIBRARY, "*.py"),
    "perl": (Path("/usr/share/perl"), "*/**/*.p[om][dm]"),
    "package": (PACKAGES, "*.dist-info/METADATA"),
}
_LEAST, _SHORTEST, _LONGEST = 300, 500, 2500  # characters of a file, and of an excerpt
_READ = 400_000
_UNTRAINED = re.compile(r"(alembic|anyio|dbos|prometheus_client|psycopg)[-_]", re.IGNORECASE)
_ROFF = re.compile(r"^\.\\\".*$|^\.\w+ ?|\\f.|\\&|\\\(..", re.MULTILINE)
_Z = 1.96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=100, help="documents of a kind, at most")
    given = parser.parse_args()
    guard, result = Injection(), {}
    flagged = judged = 0
    for kind, (folder, pattern) in KINDS.items():
        hits = [guard.judge(text, Channel.TOOL).is_attack for text in excerpts(folder, pattern, given.each)]
        if hits:
            result[kind] = figure(sum(hits), len(hits))
            flagged, judged = flagged + sum(hits), judged + len(hits)
    if judged:
        result["all"] = figure(flagged, judged)
    json.dump({"version": guard.version, "false alarms": result}, sys.stdout, indent=2)
    print()


def excerpts(folder: Path, pattern: str, most: int) -> Iterator[str]:
    """One of each of so many files, chosen the same way every time."""
    chance = random.Random(7)
    files = sorted(f for f in folder.glob(pattern) if f.is_file())
    if folder == PACKAGES:
        files = [file for file in files if _UNTRAINED.match(file.parent.name)]
    chance.shuffle(files)
    found = 0
    for file in files:
        text = read(file)
        if len(text) < _LEAST or sum(map(str.isalpha, text)) < 0.4 * len(text):
            continue
        length = chance.randint(_SHORTEST, _LONGEST)
        at = text.find("\n", chance.randrange(max(1, len(text) - length)))
        yield text[at + 1 : at + 1 + length].strip()
        found += 1
        if found >= most:
            return


def read(file: Path) -> str:
    """As a reader sees it; empty where nobody may or can read it."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as raw:
            text = raw.read(_READ).decode("utf-8", "replace")
    except (OSError, EOFError):
        return ""
    if "\0" in text:
        return ""
    if file.is_relative_to(MANUALS):
        text = _ROFF.sub("", text).replace("\\-", "-")
    if file.name == "METADATA":
        text = text.partition("\n\n")[2]
    return text.strip()


def figure(hits: int, count: int) -> dict[str, float]:
    """A share with Wilson's interval for 95 %."""
    share, shrink = hits / count, 1 + _Z**2 / count
    middle = (share + _Z**2 / (2 * count)) / shrink
    reach = _Z * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / shrink
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    return {"share": round(share, 4), "low": round(low, 4), "high": round(high, 4), "number": count}


if __name__ == "__main__":
    main()
