"""Contracts: read as the standard says, refused as an attack, written so that others read them."""

import contextlib
import datetime as dt
import json
import os
import time
from pathlib import Path

import pytest

pytest.importorskip("yaml")

from hypothesis import given
from hypothesis import strategies as st

from vallum.data.contracts import BadContract, contract_as_json, parse_contract, render_contract
from vallum.data.contracts.model import Metric
from vallum.data.contracts.patterns import BadPattern, portable_pattern
from vallum.data.contracts.yaml import BadYaml, parse_yaml
from vallum.data.table import Kind
from vallum.kernel.errors import Invalid

ORDERS = b"""
apiVersion: v3.1.0
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553a
name: orders
version: 1.0.0
status: active
domain: sales
description:
  purpose: forecasts of demand
  limitations: no profiling of persons
team:
  name: order-desk
  members:
    - username: jo@example.com
      role: steward
customProperties:
  - property: licence
    value: CC-BY-4.0
  - property: tier
    value: gold
slaProperties:
  - {property: retention, value: 3, unit: y}
  - {property: freshness, value: 24, unit: h, element: orders.placed_at}
schema:
  - name: orders
    physicalName: orders_v1
    quality:
      - {metric: rowCount, mustBeGreaterThan: 10}
      - {metric: duplicateValues, mustBeLessThan: 1, unit: percent, arguments: {properties: [id, country]}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true, required: true, unique: true}
      - name: country
        logicalType: string
        classification: internal
        logicalTypeOptions: {pattern: '^[a-z]{2}$', minLength: 2, maxLength: 2}
        relationships: [{to: countries.code}]
        quality:
          - {metric: invalidValues, mustBe: 0, arguments: {validValues: [de, fr, it]}}
          - {type: text, description: only where we deliver}
      - name: amount
        logicalType: number
        logicalTypeOptions: {minimum: 0, exclusiveMaximum: 100000}
        quality:
          - {metric: nullValues, mustBeLessOrEqualTo: 2.5, unit: percent}
          - {type: custom, engine: vallum, implementation: {check: featureDrift, arguments: {method: psi, limit: 0.2}}}
      - {name: placed_at, logicalType: timestamp, logicalTypeOptions: {minimum: '2020-01-01T00:00:00'}}
"""


def test_a_contract_says_what_the_standard_says():
    contract = parse_contract(ORDERS)
    assert (contract.owner, contract.purpose, contract.licence) == ("order-desk", "forecasts of demand", "CC-BY-4.0")
    assert contract.retention == dt.timedelta(days=3 * 365.25)
    (table,) = contract.tables
    country = table.properties[1]
    assert (country.kind, country.classification, country.refers_to) == (Kind.STRING, "internal", "countries.code")
    assert country.options.pattern == "^[a-z]{2}$"
    assert [rule.metric for rule in country.quality] == [Metric.INVALID_VALUES, Metric.TEXT]
    assert table.properties[3].options.minimum == dt.datetime(2020, 1, 1)
    assert contract.carried["domain"] == "sales"


def test_what_is_read_is_written_and_read_again():
    contract = parse_contract(ORDERS)
    assert parse_contract(render_contract(contract)) == contract
    assert parse_contract(json.dumps(contract_as_json(contract)).encode()) == contract


@pytest.mark.skipif(
    "VALLUM_TEST_ODCS_SCHEMA" not in os.environ, reason="names odcs-3.1.0.schema.json (datacontract-cli)"
)
def test_the_standards_own_schema_accepts_what_we_write():
    from jsonschema import Draft201909Validator

    validator = Draft201909Validator(json.loads(Path(os.environ["VALLUM_TEST_ODCS_SCHEMA"]).read_text()))
    written = contract_as_json(parse_contract(ORDERS))
    assert [e.message for e in validator.iter_errors(written)] == []
    written["qualty"] = []
    assert list(validator.iter_errors(written)), "a validator that accepts everything shows nothing"


def problems(raw):
    with pytest.raises(BadContract) as caught:
        parse_contract(raw)
    return caught.value.problems


def changed(old, new):
    assert old.encode() in ORDERS
    return ORDERS.replace(old.encode(), new.encode())


def test_every_problem_is_reported_together_with_its_line():
    raw = changed("kind: DataContract", "kind: Treaty").replace(b"metric: nullValues", b"metric: nulVales")
    raw = raw.replace(b"status: active\n", b"status: active\nqualty: []\n").replace(b"unit: y}", b"unit: moons}")
    found = problems(raw)
    assert len(found) == 4
    lines = raw.decode().splitlines()
    for problem in found:
        line = int(problem.split(":")[0].removeprefix("line "))
        assert any(word in lines[line - 1] for word in ("Treaty", "nulVales", "qualty", "moons")), problem


@pytest.mark.parametrize(
    "rule",
    [
        "{type: sql, query: 'SELECT count(*) FROM orders', mustBe: 0}",
        "{type: sql, query: 'DROP TABLE orders; --', mustBe: 0}",
        "{type: custom, engine: greatExpectations, implementation: 'import os'}",
        "{type: custom, engine: vallum, implementation: {check: exec, arguments: {code: 1}}}",
    ],
)
def test_code_in_rules_is_refused_and_never_passed_over(rule):
    found = problems(changed("{type: text, description: only where we deliver}", rule))
    assert any("quality[1]" in problem for problem in found)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"a: &x [1]\nb: *x\n", "line 1: anchors"),
        (b"a: !!python/object/apply:os.system ['true']", "tags"),
        (b"a: 1\na: 2\n", "line 2: a stands twice"),
        (b"<<: {a: 1}", "merges"),
        (b"a: 1\n---\nb: 2", "second document"),
        (b"[" * 100, "nested more"),
        (b"? [a]\n: 1", "a key is a word"),
        (b"a: \xff", "line 1: is not UTF-8"),
        (b"a: {", "is not YAML"),
        (b"a: 1\n" * 300_000, "larger than"),
    ],
)
def test_hostile_yaml_is_refused(raw, said):
    with pytest.raises(BadYaml, match=said.replace("(", r"\(")):
        parse_yaml(raw)


def test_hostile_yaml_costs_no_time():
    for raw in (
        b"[" * 500_000,
        b"- " * 400_000,
        b"{a: " * 200_000,
        b"a: " + b"9" * 1_000_000,
        b'"' * 999_999,
        b"? " * 300_000,
    ):
        started = time.process_time()
        with contextlib.suppress(BadYaml):
            parse_yaml(raw)
        assert time.process_time() - started < 5, raw[:4]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_crash_the_parser(raw):
    with contextlib.suppress(Invalid):
        parse_contract(raw)


tree = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["name", "schema", "properties", "quality", "metric", "arguments", "type", "team", "members", "mustBe", "value",
         "logicalType", "logicalTypeOptions", "validValues", "relationships", "to", "description", "unit",
         "slaProperties", "property", "customProperties", "engine", "implementation", "check",
         "pattern"]), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@given(tree)
def test_no_tree_crashes_the_parser(value):
    whole = contract_as_json(parse_contract(ORDERS))
    for field in ("schema", "team", "slaProperties", "description", "customProperties"):
        with contextlib.suppress(Invalid):
            parse_contract(json.dumps(whole | {field: value}).encode())


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)b", r"(a)\1", "(?i)a", r"\p{L}", r"a\b", "[a", "a{1000}{1000}", "(" * 2000, "[]", "\\", "a(", "(?P<n>a)"],
)
def test_patterns_that_do_not_mean_the_same_everywhere_are_refused(pattern):
    with pytest.raises(BadPattern):
        portable_pattern(pattern)


def test_a_pattern_that_backtracks_elsewhere_is_linear_here():
    import re2

    pattern = portable_pattern(r"^([a-z]+)+$")
    started = time.process_time()
    assert re2.search(pattern, "a" * 50_000 + "!") is None
    assert time.process_time() - started < 1


texts = st.text(alphabet=st.sampled_from("ab1_-& ~[]\n\t.é^$"), max_size=6)


@given(
    st.sampled_from([
        r"^[a-z]+$", r"\d", r"[\w-]", r"^[^a&&b]$", r"a.b", r"^(a|b)*$", r"[!--]", r"\.$", "[~~a]", r"^\s?$", r"\W",
    ]),
    texts,
)  # fmt: skip
def test_polars_and_re2_agree_on_the_portable_form(pattern, text):
    pl = pytest.importorskip("polars")
    import re2

    portable = portable_pattern(pattern)
    found = pl.DataFrame({"t": [text]}).select(pl.col("t").str.contains(portable)).item()
    assert found == (re2.search(portable, text) is not None)
