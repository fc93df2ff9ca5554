"""Writes the corpus into a folder, in two halves of each class by a fixed draw.

The folder gets `dev/` and `heldout/`; in each a `manifest.jsonl` (path, label, class, name) and the samples under names
that say nothing. A sample of one file is that file, any other its folder. A scanner is mended by what it misses in
`dev`, and judged by `heldout`.
"""

import hashlib
import json
from collections import defaultdict
from pathlib import Path

from . import samples
from .sample import Sample

__all__ = ["HALVES", "write_corpus"]

SEED = "2026-11 second corpus"
HALVES = ("dev", "heldout")


def _draw(sample: Sample) -> str:
    return hashlib.sha256(f"{SEED}/{sample.group}/{sample.name}".encode()).hexdigest()


def write(sample: Sample, folder: Path) -> Path:
    """Writes the sample under a name drawn for it; the path that a scanner is given."""
    place = folder / _draw(sample)[:16]
    for name, content in sample.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    for name, target in (sample.links or {}).items():
        (place / name).symlink_to(target)
    return place / next(iter(sample.files)) if len(sample.files) == 1 and not sample.links else place


def write_corpus(folder: Path) -> dict[str, int]:
    """Writes both halves; how many samples each has."""
    classes: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples():
        classes[sample.group, sample.wave].append(sample)
    lines: dict[str, list[str]] = {half: [] for half in HALVES}
    for (group, _), members in classes.items():
        for number, sample in enumerate(sorted(members, key=_draw)):
            if sample.is_doubtful:
                continue
            half = HALVES[number % 2]
            path = write(sample, folder / half).relative_to(folder / half)
            label = "benign" if sample.is_benign else "malicious"
            lines[half].append(
                json.dumps({"path": path.as_posix(), "label": label, "class": group, "name": sample.name})
            )
    for half, written in lines.items():
        (folder / half / "manifest.jsonl").write_text("\n".join(sorted(written)) + "\n")
    return {half: len(written) for half, written in lines.items()}
