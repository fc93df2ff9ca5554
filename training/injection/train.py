"""Train the injection guard and write its signed model files. `make guards` runs this.

    python training/injection/train.py --data FOLDER --key KEYFILE [--out FOLDER]

FOLDER holds train.jsonl and dev.jsonl (one {"text", "label", "source", "kind"} a line). KEYFILE is the Ed25519 key
that signs the models, made when it is not there; its public half then belongs in `vallum.guards.injection.store`.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from card import render_card
from corpus import Text, generated, read_rows, weighted
from documents import JUDGING_PACKAGES, calibrating_documents, more_documents, package_documents
from fit import SIZES, Head, calibrate, fit_heads, linear_model, model_file, stack_features
from vallum.guards.injection.model import LinearModel, read_tensors
from vallum.guards.injection.store import FOLDER, render_manifest
from vallum.guards.injection.views import views
from vallum.kernel.ledger.note import NoteSigner, sign_note

SIGNER_NAME = "vallum.guards"
VERSION = "8"
FALSE_ALARMS = {"given": 0.01, "judged": 0.0125}  # at most, of users' texts: on each kind of harmless ones
DOCUMENT_FALSE_ALARMS = 0.004  # at most, of documents: on each kind of ordinary ones; elsewhere they are some 2 %
ORDINARY = "doc_plain"  # judged documents that nobody wrote to be hard
THRESHOLD = 0.5  # in every channel: the bias is moved so that it gives these false alarms
HERE = Path(__file__).resolve().parent
_FRESH_SHARE = 0.08  # of newly generated texts, for fitting how the logits add up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--held-out", type=Path, default=HERE / "held_out.json", help="what evaluate.py wrote")
    parser.add_argument("--weights", type=Path, help="a folder of models: their weights, and new thresholds")
    given = parser.parse_args()
    started = time.monotonic()
    rows, dev = read_rows(given.data / "train.jsonl"), read_rows(given.data / "dev.jsonl")
    if given.weights:
        heads = {kind: _heads_of(given.weights / f"injection-{kind}.safetensors") for kind in SIZES}
    else:
        heads = fit_heads(training_texts(rows))
    print(f"fitted in {time.monotonic() - started:.0f} s", file=sys.stderr)
    calibration, thresholds, report = settle(heads, dev, rows)
    files = {f"injection-{kind}.safetensors": model_file(kind, heads[kind]) for kind in heads}
    settings = {"version": VERSION, "calibration": calibration, "thresholds": thresholds}
    files["injection.json"] = json.dumps(settings, indent=1, sort_keys=True).encode() + b"\n"
    for half in ("development", "test"):
        report[f"judged {half}"] = _report_on(half, heads, calibration)
    report["packages"] = _report_on_packages(heads, calibration)
    held_out = json.loads(given.held_out.read_text()) if given.held_out.exists() else {}
    files["MODEL_CARD.md"] = render_card(VERSION, report, held_out).encode()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (given.out / name).write_bytes(data)
    signer = NoteSigner(SIGNER_NAME, _signing_key(given.key))
    (given.out / "manifest").write_bytes(sign_note(render_manifest(files), [signer]))
    print(json.dumps(report, indent=1))
    print(f"signed by {signer.verifier.render()}; {sum(map(len, files.values()))} bytes", file=sys.stderr)


def _report_on(half: str, heads: dict[str, dict[str, Head]], calibration: dict[str, Any]) -> dict[str, list[float]]:
    flagged = defaultdict(list)
    for kind in heads:
        model = linear_model(kind, heads[kind])
        for text in judged(kind, half):
            flagged[text.source].append(score(kind, model, calibration[kind], text) >= THRESHOLD)
    return {name: [round(float(np.mean(hits)), 3), len(hits)] for name, hits in sorted(flagged.items())}


def settle(
    heads: dict[str, dict[str, Head]], dev: list[Text], rows: list[Text]
) -> tuple[dict[str, Any], dict[str, float], dict[str, Any]]:
    """Calibration and thresholds from development data, and what they give on it by source."""
    chance = random.Random(3)
    fresh = [text for text in generated(rows, seed=2) if chance.random() < _FRESH_SHARE]
    calibration, thresholds, report = {}, {}, {}
    for kind in heads:
        model = linear_model(kind, heads[kind])
        own = [text for text in dev if text.data == (kind == "data")]
        harmless = {"given": own, "judged": judged(kind, "development")}
        if kind == "data":
            unseen = calibrating_documents()
            told = [*own, *(text for texts in unseen.values() for text in texts)]
            features = [worst_features(model, text.text) for text in told]
            harmless["packages"] = unseen["packages"]  # those written here were written to be hard, as most judged ones
            harmless["judged"] = [text for text in harmless["judged"] if text.source == ORDINARY]
        else:
            told = [*own, *(text for text in fresh if not text.data)]
            features = [features_of_text(kind, model, text.text) for text in told]
        calibration[kind] = calibrate(kind, features, [text.label for text in told])
        scores = {
            name: [score(kind, model, calibration[kind], t) for t in texts if not t.label]
            for name, texts in harmless.items()
        }
        if kind == "data":
            strictest = max(reached(each, DOCUMENT_FALSE_ALARMS) for each in scores.values())
        else:
            strictest = max(np.quantile(scores[name], 1 - limit) for name, limit in FALSE_ALARMS.items())
        calibration[kind]["bias"] = round(calibration[kind]["bias"] - float(np.log(strictest / (1 - strictest))), 4)
        thresholds[kind] = THRESHOLD
        flagged = defaultdict(list)
        for text in own:
            flagged[f"{text.source}:{text.label}"].append(score(kind, model, calibration[kind], text) >= THRESHOLD)
        report[kind] = {name: [round(float(np.mean(hits)), 3), len(hits)] for name, hits in sorted(flagged.items())}
    return calibration, thresholds, report


def worst_features(model: LinearModel, text: str) -> list[float]:
    """Of the reading of a document that tells most."""
    readings = [text, *(view.text for view in views(text))]
    return max((features_of_text("data", model, reading) for reading in readings), key=lambda row: row[0] + row[1])


def reached(scores: Sequence[float], share: float) -> float:
    """A score that at most this share of the texts reach."""
    falling = sorted(scores, reverse=True)
    first_beyond = int(share * len(falling))
    return (falling[first_beyond - 1] + falling[first_beyond]) / 2 if first_beyond else falling[0] + _LEAST_MORE


_LEAST_MORE = 1e-9


def training_texts(rows: list[Text]) -> Iterator[Text]:
    """What is generated for documents alone comes last: the models of users do not change by it."""
    yield from weighted(rows)
    yield from generated(rows, seed=1)
    yield from more_documents(rows, seed=1)


def score(kind: str, model: LinearModel, calibration: dict[str, Any], text: Text) -> float:
    """As the guard gives it: of a document, its worst reading. (Users' texts are judged as they stand: what their
    readings say is trained, and tested with every disguise.)"""
    readings = [text.text, *(view.text for view in views(text.text))] if kind == "data" else [text.text]
    return max(_score_of(calibration, features_of_text(kind, model, reading)) for reading in readings)


def _report_on_packages(heads: dict[str, dict[str, Head]], calibration: dict[str, Any]) -> dict[str, list[float]]:
    """Clean documents of packages that no training text comes from; they have no say in the threshold."""
    model, found = linear_model("data", heads["data"]), {}
    for name in JUDGING_PACKAGES:
        texts = [Text(text, 0, name, True) for text in package_documents((name,), 4)]
        hits = [score("data", model, calibration["data"], text) >= THRESHOLD for text in texts]
        found[name] = [round(float(np.mean(hits)), 3), len(hits)]
    return found


def features_of_text(kind: str, model: LinearModel, text: str) -> list[float]:
    return stack_features(kind, model.weigh(text), text)


def judged(kind: str, half: str) -> list[Text]:
    """Texts by authors who saw neither the training texts nor the grammars: harder than the given ones."""
    rows = [json.loads(line) for line in (HERE / "judged" / f"{half}.jsonl").read_text().split("\n") if line]
    texts = [Text(row["text"], row["label"], row["group"], row["channel"] != "user") for row in rows]
    return [text for text in texts if text.data == (kind == "data")]


def _score_of(calibration: dict[str, Any], row: list[float]) -> float:
    logit = calibration["bias"] + calibration["high"] * row[0] + calibration["low"] * row[1]
    logit += sum(w * x for w, x in zip(calibration["signs"].values(), row[2:], strict=True))
    return float(1 / (1 + np.exp(-logit)))


def _heads_of(file: Path) -> dict[str, Head]:
    tensors, metadata = read_tensors(file.read_bytes())
    return {name: Head(bytes(tensors[name]), **scale) for name, scale in metadata["heads"].items()}


def _signing_key(file: Path) -> Ed25519PrivateKey:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(file.read_bytes())


if __name__ == "__main__":
    main()
