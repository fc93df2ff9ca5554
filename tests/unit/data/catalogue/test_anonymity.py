"""A contract asks for k-anonymity and l-diversity of what is kept; a version that misses it fails without a value."""

import json

import pytest

from vallum.data.contracts import BadContract, parse_contract, render_contract

AGREED = """apiVersion: v3.1.0
kind: DataContract
id: visits
version: 1.0.0
status: active
description: {{purpose: care}}
schema:
  - name: visits
    quality: [{rules}]
    properties:
      - {{name: age, logicalType: integer{age}}}
      - {{name: zip, logicalType: string{zip}}}
      - {{name: diagnosis, logicalType: string, classification: restricted}}
      - {{name: cost, logicalType: number, logicalTypeOptions: {{minimum: 0}}}}
"""
RULE = "{{type: custom, engine: vallum, implementation: {{check: anonymity, arguments: {{{0}}}}}}}"
K3 = "quasiIdentifiers: [age, zip], k: 3"
COARSE = {
    "age": ", customProperties: [{property: treatment, value: {type: generalise, width: 10}}]",
    "zip": ", customProperties: [{property: treatment, value: {type: generalise, prefix: 2}}]",
}


def agreed(*arguments, **more):
    rules = ", ".join(RULE.format(one) for one in arguments)
    return AGREED.format(rules=rules, **({"age": "", "zip": ""} | more)).encode()


def people(rows=40, negative=()):
    """Ages 30 to 69 and 40 places, no two alike; by decades and regions there are four groups of ten."""
    lines = ["age,zip,diagnosis,cost"]
    for at in range(rows):
        cost = -1 if at in negative else 10
        lines.append(f"{30 + at},{10 + at // 10}{at:03},{'flu' if at % 2 else 'asthma'},{cost}")
    return "\n".join(lines).encode()


@pytest.fixture
def checked(taken_in, perform, stella):
    """State of a version, and what its report says of the rule."""

    def _checked(contract, source=None, **options):
        version = taken_in(source or people(), contract, **options)
        path = {"name": version.dataset, "number": str(version.number)}
        report = perform("read_data_report", stella, path).report
        found = [one for one in json.loads(report)["gates"]["checks"] if "Anonymity" in one["check"]]
        return version, found, report

    return _checked


def test_a_version_that_misses_it_fails_and_says_how_far_without_a_value(checked, perform, stella):
    version, (found,), report = checked(agreed(K3))
    assert (version.state, found["ran"], found["passed"], found["bad_rows"]) == ("failed", True, False, 40)
    assert found["reason"] == "k is 1, and 3 is due; 40 of 40 rows are in groups below that"
    assert found["figures"] == {"k": 1, "groups": 40, "unique_rows": 40, "highest_risk": 1.0}
    assert not any(f"1{at // 10}{at:03}" in json.dumps(found) for at in range(40))
    assert json.loads(report)["gates"]["passed"] is False
    assert perform("list_quarantine", stella) == [], "which rows to coarsen is not for the gate to say"


def test_what_is_kept_is_judged_and_not_what_arrived(checked):
    version, (found,), _ = checked(agreed(K3, **COARSE))
    assert (version.state, found["figures"]["k"], found["figures"]["groups"]) == ("available", 10, 4)
    assert "generalise" in {column.treatment for column in version.columns}


def test_treatments_that_are_not_coarse_enough_fail(checked):
    version, (found,), _ = checked(agreed("quasiIdentifiers: [age, zip], k: 11", **COARSE))
    assert (version.state, found["bad_rows"]) == ("failed", 40)
    version, (found,), _ = checked(agreed("quasiIdentifiers: [age, zip], k: 3", age=COARSE["age"]))
    assert (version.state, found["figures"]["k"]) == ("failed", 1)


def test_rows_that_are_held_are_not_counted(checked):
    version, (found,), _ = checked(agreed("quasiIdentifiers: [age, zip], k: 10", **COARSE), people(negative=(3, 4)))
    assert (version.state, version.quarantined) == ("failed", 2)
    assert found["reason"].endswith("8 of 38 rows are in groups below that")


def test_a_group_that_shares_a_diagnosis_misses_l_diversity(checked):
    rule = "quasiIdentifiers: [age, zip], k: 3, sensitive: diagnosis, l: 2"
    assert checked(agreed(rule, **COARSE))[0].state == "available"
    alike = people().replace(b"flu", b"asthma", 5)  # the first decade
    version, (found,), report = checked(agreed(rule, **COARSE), alike)
    assert (version.state, found["bad_rows"], found["figures"]["l"]) == ("failed", 10, 1)
    assert "asthma" not in report


def test_a_quasi_identifier_that_does_not_leave_intake_is_nobodys(checked):
    hidden = ", customProperties: [{property: treatment, value: drop}]"
    version, (found,), _ = checked(agreed(K3, age=COARSE["age"], zip=hidden))
    assert (version.state, found["figures"]["groups"]) == ("available", 4)
    version, (found,), _ = checked(agreed(K3, age=hidden, zip=hidden))
    assert (version.state, found["reason"]) == ("available", "none of these columns leaves intake")


def test_two_rules_of_the_same_columns_are_both_judged(checked):
    version, found, _ = checked(agreed(K3, "quasiIdentifiers: [age, zip], k: 11", **COARSE))
    assert (version.state, [one["passed"] for one in found]) == ("failed", [True, False])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("k: 3", "quasiIdentifiers is due"),
        ("quasiIdentifiers: [age], k: 1", "whole number from 2"),
        ("quasiIdentifiers: [age], k: true", "whole number from 2"),
        ("quasiIdentifiers: [age]", "k is due"),
        ("quasiIdentifiers: [name], k: 3", "list of the table's properties"),
        ("quasiIdentifiers: age, k: 3", "list of the table's properties"),
        ("quasiIdentifiers: [age, age], k: 3", "stands twice"),
        ("quasiIdentifiers: [age], k: 3, sensitive: diagnosis", "due together"),
        ("quasiIdentifiers: [age], k: 3, l: 2", "due together"),
        ("quasiIdentifiers: [age], k: 3, l: 2, sensitive: [diagnosis]", "one of the table's properties"),
        ("quasiIdentifiers: [age], k: 3, l: 2, sensitive: age", "quasi-identifier too"),
        ("quasiIdentifiers: [age], k: 3, t: 0.2", "no such field"),
    ],
)
def test_a_rule_that_asks_for_nothing_is_refused(arguments, why):
    with pytest.raises(BadContract, match=why):
        parse_contract(agreed(arguments))


def test_a_rule_is_written_as_it_is_read():
    contract = parse_contract(agreed("quasiIdentifiers: [age, zip], k: 3, sensitive: diagnosis, l: 2"))
    again = parse_contract(render_contract(contract))
    assert again.tables[0].quality == contract.tables[0].quality
