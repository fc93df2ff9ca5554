"""Finding personal data in documents that others wrote: quality, cost beside Presidio, and hostile text, as JSON.

    .venv/bin/python bench/pii.py VENV [--documents 3000] [--model NAME]

VENV is an environment with presidio-analyzer and presidio-evaluator. The documents are presidio-evaluator's sentence
templates, filled by Faker with people, addresses, cards and numbers, each value's place known: text that this project
did not write, though generated. Presidio reads the same documents in the same run, with --model NAME through that
spaCy model, without it through its own recognisers on a blank pipeline, which costs it far less. CPU of one core,
best of the rounds. Beside the documents, columns of Faker's values in several countries go through the column
classifier.
"""

import argparse
import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from pii_quality import GENERATE, KINDS

from vallum.data.classify import ColumnClassifier, SpanClassifier
from vallum.guards import Finding

ROUNDS = 5
PRESIDIO = """
import json, sys, time, spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider, SpacyNlpEngine
class Blank(SpacyNlpEngine):
    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}
if len(sys.argv) > 2:
    named = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": sys.argv[2]}]}
    nlp = NlpEngineProvider(nlp_configuration=named).create_engine()
else:
    nlp = Blank()
engine = AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])
texts = [json.loads(line)["text"] for line in open(sys.argv[1])]
kinds = ["CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "PHONE_NUMBER", "US_DRIVER_LICENSE"]
engine.analyze(texts[0], language="en", entities=kinds)
best = 1e9
for _ in range(2):
    started = time.process_time()
    found = [engine.analyze(text, language="en", entities=kinds) for text in texts]
    best = min(best, time.process_time() - started)
spans = [[(r.start, r.end, r.entity_type) for r in each] for each in found]
print(json.dumps({"seconds": best, "spans": spans}))
"""
COLUMNS = """
import json
from faker import Faker
made = {}
for locale in ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL"):
    f = Faker(locale)
    f.seed_instance(11)
    makers = (("email", f.email), ("payment_card", f.credit_card_number), ("iban", f.iban), ("phone", f.phone_number),
              ("ip_address", f.ipv4_public), ("ip_address6", f.ipv6), ("mac_address", f.mac_address))
    for kind, make in makers:
        made[f"{locale}/{kind}"] = [make() for _ in range(2000)]
    made[f"{locale}/none_word"] = [f.word() for _ in range(2000)]
    made[f"{locale}/none_price"] = [str(f.pydecimal(4, 2, positive=True)) for _ in range(2000)]
    made[f"{locale}/none_day"] = [f.date() for _ in range(2000)]
    made[f"{locale}/none_order"] = [f.numerify("4###############") for _ in range(2000)]
    made[f"{locale}/none_uuid"] = [f.uuid4() for _ in range(2000)]
made["en_US/us_ssn"] = [Faker("en_US").ssn() for _ in range(2000)]
print(json.dumps(made))
"""


def python(venv: Path, program: str, *given: str) -> str:
    command = [venv / "bin/python", "-W", "ignore", "-c", program, *given]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def quality(rows: list[dict], spans: list[list[tuple[int, int, str]]], kinds: dict[str, set[str]]) -> dict[str, object]:
    """A value is found when a finding of its kind covers it; a finding that touches no value of its kind is false."""
    found, missed, alarms = Counter[str](), Counter[str](), Counter[str]()
    for row, ours in zip(rows, spans, strict=True):
        for start, end, entity in row["spans"]:
            if entity in kinds:
                hit = any(k in kinds[entity] and low <= start + 1 and high >= end - 1 for low, high, k in ours)
                (found if hit else missed)[entity] += 1
        for low, high, kind in ours:
            touched = {entity for start, end, entity in row["spans"] if start < high and end > low}
            for entity, names in kinds.items():
                if kind in names and entity not in touched:
                    alarms[entity] += 1
    return {
        entity: {
            "values": found[entity] + missed[entity],
            "recall": round(found[entity] / max(1, found[entity] + missed[entity]), 4),
            "precision": round(found[entity] / max(1, found[entity] + alarms[entity]), 4),
        }
        for entity in kinds
    }


def best_seconds(work) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def hostile_texts(chars: int) -> dict[str, str]:
    pieces = {
        "at signs": "a@",
        "nearly cards": "4111 1111 1111 1112 ",
        "digits": "1234567890",
        "digits and spaces": "1 2 3 4 ",
        "nearly ibans": "DE89 3704 0044 0532 0130 01 ",
        "dots": "1.1.1.1.1.1.",
        "colons": "a:b:c::",
        "labels": "phone: tel: ssn: iban: ",
        "plus signs": "+1+1+1",
        "keys that never end": "-----BEGIN PRIVATE KEY-----\n",
        "tokens": "eyJ.eyJ.eyJ",
        "assignments": "password=password=",
    }
    return {name: (piece * (chars // len(piece) + 1))[:chars] for name, piece in pieces.items()}


def columns(venv: Path, spans: SpanClassifier) -> dict[str, object]:
    made = json.loads(python(venv, COLUMNS))
    classifier = ColumnClassifier(spans, random.Random(5))
    right, wrong = 0, []
    for name, values in made.items():
        kind = name.partition("/")[2]
        seen = {e.kind: e.share for e in classifier.classify("x", values, mode="full").evidence if e.share >= 0.5}
        wanted = kind.removesuffix("6")
        good = not seen if kind.startswith("none_") else wanted in seen
        right += good
        if not good:
            wrong.append({"column": name, "found": {k: round(v, 3) for k, v in seen.items()}})
    return {"columns": len(made), "right": right, "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path)
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--model", help="a spaCy model of VENV for Presidio; without it, a blank pipeline")
    given = parser.parse_args()
    lines = python(given.venv, GENERATE, str(given.documents)).split("\n")
    rows = [json.loads(line[1:]) for line in lines if line.startswith("\x1e")]
    for row in rows:
        row["text"] = row["text"].replace("\\n", " \n")  # the templates write line breaks as two characters
    texts = [row["text"] for row in rows]
    spans = SpanClassifier()

    def read() -> list[list[Finding]]:
        found: list[list[Finding]] = [[] for _ in texts]
        for at, findings in spans.find_all(texts):
            found[at] = findings
        return found

    ours = [[(f.start, f.end, f.kind) for f in each] for each in read()]
    seconds = best_seconds(read)
    seven = SpanClassifier(kinds=set().union(*KINDS.values()))
    seven_seconds = best_seconds(lambda: list(seven.find_all(texts)))
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        file.flush()
        theirs = json.loads(python(given.venv, PRESIDIO, file.name, *([given.model] if given.model else [])))
    megabyte = ("\n".join(texts) * (1 + 1_000_000 // max(1, sum(map(len, texts)))))[:1_000_000]
    ordinary = best_seconds(lambda: spans.find(megabyte))
    ratios = {}
    for name, text in hostile_texts(1_000_000).items():
        began = time.process_time()
        spans.find(text)
        ratios[name] = round((time.process_time() - began) / ordinary, 2)
    chars = sum(map(len, texts))
    report = {
        "documents": len(rows),
        "chars": chars,
        "mb_per_second": round(chars / seconds / 1e6, 2),
        "presidio_mb_per_second": round(chars / theirs["seconds"] / 1e6, 3),
        "times_presidio": round(theirs["seconds"] / seven_seconds, 1),  # both look for the same kinds
        "times_presidio_with_all_kinds": round(theirs["seconds"] / seconds, 1),
        "presidio_pipeline": given.model or "blank",
        "kinds": quality(rows, ours, KINDS),
        "presidio_kinds": quality(rows, theirs["spans"], {entity: {entity} for entity in KINDS}),
        "columns": columns(given.venv, spans),
        "hostile_megabyte_beside_ordinary": ratios,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
