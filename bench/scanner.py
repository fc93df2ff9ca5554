"""Vallum's scanner beside picklescan, modelscan and modelaudit, in one run on one generated corpus.

    .venv/bin/python bench/scanner.py [--picklescan VENV] [--modelscan VENV] [--modelaudit VENV] [--missed] [--every N]
        [--corpus second [--folder FOLDER] [--half dev|heldout]]

Each rival is a virtual environment with that one package. The corpus is generated (bench/scanner_corpus): every
technique in many variants, with payloads that run `true`, and models that are really trained, now (when the libraries
are here) and before (those that the tests keep). A rival's verdict is its own: what it calls unsafe blocks; for
modelaudit a critical issue blocks and a warning is for review. What a scanner fails on, or will not scan, is `pass`
only when it says so itself and ends without an error.

The second corpus (bench/scanner_second_corpus) was written by somebody who had not read the scanner. It wants more
libraries than the scanner's own environment has, so an environment that has them writes it first:

    PYTHONPATH=bench LIBRARIES/bin/python -m scanner_second_corpus FOLDER
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scanner_corpus import samples
from scanner_second_corpus.halves import HALVES, write_corpus

VERDICTS = ("block", "review", "pass")

PICKLESCAN = """
import os, sys
from picklescan.scanner import scan_directory_path, scan_file_path
for line in sys.stdin:
    path = line.strip()
    found = scan_directory_path(path) if os.path.isdir(path) else scan_file_path(path)
    bad = found.infected_files or found.issues_count
    print('block' if bad else 'review' if found.scan_err else 'pass', flush=True)
"""
MODELSCAN = """
import sys
from modelscan.modelscan import ModelScan
for line in sys.stdin:
    found = ModelScan().scan(line.strip())
    print('block' if found['issues'] else 'review' if found['errors'] else 'pass', flush=True)
"""
MODELAUDIT = """
import sys
from modelaudit.core import scan_model_directory_or_file
for line in sys.stdin:
    found = scan_model_directory_or_file(line.strip())
    kinds = {str(getattr(issue.severity, 'value', issue.severity)) for issue in found.issues}
    unsure = 'warning' in kinds or found.has_errors
    print('block' if 'critical' in kinds else 'review' if unsure else 'pass', flush=True)
"""


def ours(paths: list[Path]) -> Iterable[str]:
    from vallum.models.scan import scan

    return [str(scan(path).verdict) for path in paths]


def _lines(venv: Path, program: str, paths: list[Path]) -> Iterable[str]:
    """One process for many paths; when it dies of one, that one is for review and another process goes on."""
    left = list(paths)
    while left:
        run = subprocess.run(
            [venv / "bin" / "python", "-W", "ignore", "-c", program], input="\n".join(map(str, left)), text=True,
            capture_output=True, check=False, timeout=1800, cwd="/",
            env={"PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1", "HOME": tempfile.gettempdir()},
        )  # fmt: skip
        said = [line for line in run.stdout.splitlines() if line in VERDICTS]
        yield from said
        left = left[len(said) :]
        if left:
            yield "review"
            left = left[1:]


@dataclass(frozen=True)
class Judged:
    """A sample that stands on disk: its class, its name, and the path that a scanner is given."""

    group: str
    name: str
    path: Path

    @property
    def is_benign(self) -> bool:
        return self.group.startswith("benign")


def generated(folder: Path) -> Iterable[Judged]:
    """The first corpus, as much of it as the libraries of this environment allow."""
    for number, sample in enumerate(samples()):
        place = folder / str(number)
        for name, content in sample.files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        path = place / next(iter(sample.files)) if len(sample.files) == 1 else place
        yield Judged(sample.group, sample.name, path)


def listed(folder: Path, halves: Iterable[str]) -> Iterable[Judged]:
    """The samples that the second corpus' own command wrote into `folder`."""
    for half in halves:
        for line in (folder / half / "manifest.jsonl").read_text().splitlines():
            entry = json.loads(line)
            yield Judged(entry["class"], entry["name"], (folder / half / entry["path"]).absolute())


def thinned(judged: Iterable[Judged], every: int) -> list[Judged]:
    found, seen = [], Counter[str]()
    for one in judged:
        seen[one.group] += 1
        if seen[one.group] % every == 1 % every:
            found.append(one)
    return found


def rates(verdicts: list[str]) -> str:
    counted = Counter(verdicts)
    return " ".join(f"{100 * counted[verdict] / max(1, len(verdicts)):5.1f}" for verdict in VERDICTS)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("picklescan", "modelscan", "modelaudit"):
        parser.add_argument(f"--{name}", type=Path, metavar="VENV")
    parser.add_argument("--missed", action="store_true", help="name what ours does not block, or blocks wrongly")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth sample of each class")
    parser.add_argument("--corpus", choices=("first", "second"), default="first")
    parser.add_argument("--folder", type=Path, help="where the second corpus was written; else it is made now")
    parser.add_argument("--half", choices=("dev", "heldout"), help="one half of the second corpus")
    given = parser.parse_args()
    scanners: dict[str, Callable[[list[Path]], Iterable[str]]] = {"vallum": ours}
    for name, program in (("picklescan", PICKLESCAN), ("modelscan", MODELSCAN), ("modelaudit", MODELAUDIT)):
        if getattr(given, name) is not None:
            scanners[name] = partial(_lines, getattr(given, name), program)
    with tempfile.TemporaryDirectory() as folder:
        if given.corpus == "first":
            made = generated(Path(folder))
        else:
            if given.folder is None:
                write_corpus(Path(folder))
            made = listed(given.folder or Path(folder), [given.half] if given.half else HALVES)
        corpus = thinned(made, given.every)
        verdicts, seconds = {}, {}
        for name, scanner in scanners.items():
            began = time.perf_counter()
            verdicts[name] = list(scanner([sample.path for sample in corpus]))
            seconds[name] = round(time.perf_counter() - began, 1)
    groups = sorted({sample.group for sample in corpus}, key=lambda group: (group.startswith("benign"), group))
    print("block, review and pass, in per cent")
    print(f"{'class':36} {'n':>5}  " + "  ".join(f"{name:17}" for name in scanners))
    summary: dict[str, object] = {"samples": len(corpus), "seconds": seconds}
    worst = 100.0
    for group in [*groups, "malicious, all", "benign, all"]:
        chosen = [
            number for number, sample in enumerate(corpus)
            if sample.group == group or group == ("benign, all" if sample.is_benign else "malicious, all")
        ]  # fmt: skip
        print(f"{group:36} {len(chosen):5}  " + "  ".join(rates([v[n] for n in chosen]) for v in verdicts.values()))
        if group.endswith(", all"):
            for name, said in verdicts.items():
                counted = Counter(said[n] for n in chosen)
                summary[f"{name}: {group}"] = {v: round(counted[v] / len(chosen), 4) for v in VERDICTS}
        elif not group.startswith("benign"):
            worst = min(worst, sum(verdicts["vallum"][n] == "block" for n in chosen) / len(chosen))
    print(json.dumps({**summary, "vallum: worst class": round(worst, 4)}, indent=1))
    if given.missed:
        for sample, verdict in zip(corpus, verdicts["vallum"], strict=True):
            if verdict != ("pass" if sample.is_benign else "block"):
                print(f"{verdict:7} {sample.group}: {sample.name}")


if __name__ == "__main__":
    main()
