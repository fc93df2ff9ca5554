"""Recall and precision of structured personal data on documents that others wrote, as JSON.

    .venv/bin/python bench/pii_quality.py VENV [--documents 6000]

VENV is an environment with presidio-evaluator: its sentence templates, filled by Faker with people, addresses, cards
and numbers, come with the place of each. A value counts as found when a finding of its kind covers it; a finding that
no value of its kind touches is a false alarm. Names, places and dates by themselves are not this guard's business.
"""

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path

from vallum.guards import build_pii_guard

GENERATE = """
import json, sys
from presidio_evaluator.data_generator import PresidioSentenceFaker
faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, random_seed=7)
for record in faker.generate_new_fake_sentences(num_samples=int(sys.argv[1])):
    spans = [(s.start_position, s.end_position, s.entity_type) for s in record.spans]
    print("\\x1e" + json.dumps({"text": record.full_text, "spans": spans}))
"""
KINDS = {
    "CREDIT_CARD": {"payment_card"},
    "EMAIL_ADDRESS": {"email"},
    "IBAN_CODE": {"iban"},
    "IP_ADDRESS": {"ip_address"},
    "US_SSN": {"us_ssn"},
    "PHONE_NUMBER": {"phone"},
    "US_DRIVER_LICENSE": {"drivers_license"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path)
    parser.add_argument("--documents", type=int, default=6000)
    given = parser.parse_args()
    command = [given.venv / "bin/python", "-W", "ignore", "-c", GENERATE, str(given.documents)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line[1:]) for line in done.stdout.split("\n") if line.startswith("\x1e")]
    guard = build_pii_guard()
    found: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    for row in rows:
        text = row["text"].replace("\\n", " \n")  # the templates write line breaks as two characters
        findings = guard.find(text)
        for start, end, entity in row["spans"]:
            kinds = KINDS.get(entity, set())
            if not kinds:
                continue
            hit = any(f.kind in kinds and f.start <= start + 1 and f.end >= end - 1 for f in findings)
            (found if hit else missed)[entity] += 1
        for finding in findings:
            touched = {entity for start, end, entity in row["spans"] if start < finding.end and end > finding.start}
            for entity, kinds in KINDS.items():
                if finding.kind in kinds and entity not in touched:
                    alarms[entity] += 1
    report = {
        entity: {
            "values": found[entity] + missed[entity],
            "recall": round(found[entity] / max(1, found[entity] + missed[entity]), 4),
            "precision": round(found[entity] / max(1, found[entity] + alarms[entity]), 4),
        }
        for entity in KINDS
    }
    print(json.dumps({"documents": len(rows), "kinds": report}, indent=2))


if __name__ == "__main__":
    main()
