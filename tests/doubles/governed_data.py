"""Sources and contracts for intake, and people who act on them."""

import csv
import io

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: visits
version: 1.0.0
status: active
description: {{purpose: {purpose}}}
slaProperties: [{{property: retention, value: 90, unit: d}}]
schema:
  - name: visits
    properties:
      - {{name: visit, logicalType: integer, required: true, unique: true}}
      - name: email
        logicalType: string
        classification: {email}
        customProperties: [{{property: joinable, value: true}}]
      - {{name: iban, logicalType: string}}
      - {{name: ward, logicalType: string, customProperties: [{{property: purposes, value: "care,planning"}}]}}
      - {{name: cost, logicalType: number, logicalTypeOptions: {{minimum: 0}}}}
      - {{name: on, logicalType: date}}
{more}"""
COLUMNS = ("visit", "email", "iban", "ward", "cost", "on")
IBANS = ("DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606")


def contract(purpose="care", email="confidential", more=""):
    return CONTRACT.format(purpose=purpose, email=email, more=more).encode()


def visits(rows=60, first=0, spoil=()):
    """CSV of visits; `spoil` are rows whose cost is negative."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for at in range(first, first + rows):
        cost = -1 if at in spoil else 10.5 + at
        writer.writerow(
            (at, f"p{at % 7}@example.org", IBANS[at % 3], f"ward {at % 4}", cost, f"2026-03-{at % 28 + 1:02}")
        )
    return out.getvalue().encode()
