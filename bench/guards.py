"""What the guards cost, by themselves and beside Presidio and llm-guard's scanners that use no model, as JSON.

    .venv/bin/python bench/guards.py [--presidio VENV] [--llm-guard VENV] [--texts FILE.jsonl]

Each guard reads the same texts (one {"text"} a line; else texts made here) and reports spans. Figures are CPU of one
core, the best of several rounds; the others run in environments of their own, in the same run, over the same texts.
Presidio runs its own recognisers on a blank pipeline, without the language model that its defaults load: with that it
is slower by far and finds names too.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vallum.guards import (
    Channel,
    Injection,
    InvisibleText,
    Mode,
    Segment,
    build_pii_guard,
    build_runner,
    build_secrets_guard,
)
from vallum.guards.output import build_code_guard, build_links_guard, build_markup_guard

ROUNDS = 5
_SENTENCE = "please send the report about our new office in the city to every member of the team before friday"

PRESIDIO = """
import json, sys, time, spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine
class Blank(SpacyNlpEngine):
    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}
engine = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
texts = [json.loads(line)["text"] for line in open(sys.argv[1])]
engine.analyze(texts[0], language="en")
best = 1e9
for _ in range(2):
    started = time.process_time()
    found = sum(len(engine.analyze(text, language="en")) for text in texts)
    best = min(best, time.process_time() - started)
print(json.dumps({"seconds": best, "found": found}))
"""

LLM_GUARD = """
import json, sys, time
from llm_guard.input_scanners import BanSubstrings, InvisibleText, Regex, Secrets, TokenLimit
texts = [json.loads(line)["text"] for line in open(sys.argv[1])]
out = {}
for name, scanner in (("Secrets", Secrets()), ("InvisibleText", InvisibleText())):
    scanner.scan(texts[0])
    best = 1e9
    for _ in range(2):
        started = time.process_time()
        found = sum(not scanner.scan(text)[1] for text in texts)
        best = min(best, time.process_time() - started)
    out[name] = {"seconds": best, "found": found}
print(json.dumps(out))
"""


def made_texts() -> list[str]:
    chance = random.Random(1)
    words = _SENTENCE.split()
    texts = []
    for number in range(400):
        said = [chance.choice(words) for _ in range(chance.choice((20, 60, 150)))]
        if number % 4 == 0:
            said[5] = f"anna.{number}@mail.example.com"
            said[9] = f"+49 30 {chance.randrange(10**6, 10**7)}"
        texts.append(" ".join(said))
    return texts


def best_seconds(work: Callable[[], object]) -> float:
    work()
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def figures(texts: list[str], work: Callable[[str], object]) -> dict[str, float]:
    seconds = best_seconds(lambda: [work(text) for text in texts])
    chars = sum(map(len, texts))
    return {"us_per_text": round(seconds / len(texts) * 1e6, 1), "mb_per_second": round(chars / seconds / 1e6, 2)}


def latency_of_200_tokens(guard: Injection, texts: list[str]) -> dict[str, float]:
    """Wall time of single calls on texts of about 200 tokens, in milliseconds."""
    words = " ".join(texts).split()
    samples = [" ".join(words[at : at + 150]) for at in range(0, min(len(words) - 150, 150_000), 150)]
    for sample in samples[:50]:
        guard.score(sample)
    times = []
    for sample in samples:
        started = time.perf_counter()
        guard.score(sample)
        times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    return {
        "texts": len(times),
        "median_ms": round(statistics.median(times), 3),
        "p99_ms": round(times[int(len(times) * 0.99)], 3),
    }


def hostile(guard: Injection) -> dict[str, float]:
    chance = random.Random(2)
    texts = {
        "noise": "".join(chance.choices("abcdefgh .,;:!?0123", k=100_000)),
        "percent": "%41" * 33_333,
        "spaced": "a " * 50_000,
        "marks": "a" + "\u0301" * 99_999,
        "tags": "<a hidden " * 10_000,
        "prose": "The delivery will arrive on Monday, and the invoice follows by mail. " * 1450,
    }
    return {name: round(best_seconds(lambda t=text: guard.score(t, "tool")) * 1e3, 1) for name, text in texts.items()}


def other(venv: Path, program: str, texts: list[str]) -> dict[str, object]:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        file.flush()
        done = subprocess.run(
            [venv / "bin/python", "-c", program, file.name], capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presidio", type=Path, help="a virtual environment with presidio-analyzer")
    parser.add_argument("--llm-guard", type=Path, help="a virtual environment with llm-guard")
    parser.add_argument("--texts", type=Path, help="texts to read instead of made ones, one object with `text` a line")
    given = parser.parse_args()
    lines = given.texts.read_text().split("\n") if given.texts else []
    texts = [json.loads(line)["text"] for line in lines if line] or made_texts()
    injection, pii, secrets = Injection(), build_pii_guard(), build_secrets_guard()
    runner = build_runner({"secrets": Mode.BLOCK, "pii": Mode.REDACT, "injection": Mode.DETECT}, max_chars=10**7)
    pii_figures = figures(texts, pii.find)
    result: dict[str, object] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "texts": len(texts),
        "chars": sum(map(len, texts)),
        "pii": pii_figures,
        "secrets": figures(texts, secrets.find),
        "injection": figures(texts, injection.score),
        "invisible": figures(texts, InvisibleText().find),
        "links": figures(texts, build_links_guard().find),
        "markup": figures(texts, build_markup_guard().find),
        "code": figures(texts, build_code_guard().find),
        "runner": figures(texts, lambda text: runner.inspect([Segment(text, Channel.USER, "bench")])),
        "injection_200_tokens": latency_of_200_tokens(injection, texts),
        "injection_100_kb_ms": hostile(injection),
    }  # fmt: skip
    chars = sum(map(len, texts))
    if given.presidio:
        theirs = other(given.presidio, PRESIDIO, texts)
        theirs["mb_per_second"] = round(chars / float(str(theirs["seconds"])) / 1e6, 3)
        result["presidio"] = theirs
        ours = pii_figures["mb_per_second"]
        result["pii_beside_presidio"] = round(ours / float(str(theirs["mb_per_second"])), 1)
    if given.llm_guard:
        result["llm_guard"] = other(given.llm_guard, LLM_GUARD, texts)
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
