"""What a contract's rules come to."""

import datetime as dt

import pytest

pl = pytest.importorskip("polars")

from vallum.data.contracts import parse_contract  # noqa: E402
from vallum.data.contracts.parse import OPERATORS  # noqa: E402
from vallum.data.gates import checks_of, run_checks  # noqa: E402
from vallum.data.gates.contracted import compared, types_of  # noqa: E402
from vallum.data.gates.engines import PolarsEngine  # noqa: E402
from vallum.data.readers import Staging, open_table  # noqa: E402
from vallum.data.table import Table  # noqa: E402

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
HEAD = "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\n"


def judged(yaml, table, **given):
    contract = parse_contract((HEAD + yaml).encode())
    engine = PolarsEngine()
    report = run_checks(table, checks_of(contract, contract.tables[0], engine, **given), engine, now=NOW)
    return {o.check: (o.ran, o.passed) for o in report.outcomes}


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ("mustBe: 1", True), ("mustBe: 0", False), ("mustNotBe: 1", False), ("mustBeLessThan: 2", True),
        ("mustBeBetween: [20, 30], unit: percent", True), ("mustBeBetween: [1, 2], unit: percent", False),
        ("mustBeLessThan: 25, unit: percent", False), ("mustBeLessOrEqualTo: 25, unit: percent", True),
        ("mustNotBeBetween: [20, 30], unit: percent", False), ("mustBeGreaterThan: 24.9, unit: percent", True),
    ],
)  # fmt: skip
def test_operators_compare_rows_or_percent(rule, passed):
    quality = f"[{{metric: nullValues, {rule}}}]"
    yaml = f"schema: [{{name: t, properties: [{{name: a, logicalType: integer, quality: {quality}}}]}}]"
    found = judged(yaml, Table.of(pl.DataFrame({"a": [1, 2, None, 4]})))
    (verdict,) = [v for name, v in found.items() if "NotNull" in name]
    assert verdict == (True, passed)


def test_every_operator_of_the_standard_is_compared():
    for operator in OPERATORS:
        assert isinstance(compared(1, operator, (0, 2) if "etween" in operator else 1), bool)


def test_freshness_references_and_bias_come_from_the_contract():
    yaml = """
slaProperties: [{property: freshness, value: 1, unit: d, element: t.at}]
schema:
  - name: t
    quality:
      - type: custom
        engine: vallum
        implementation: {check: groupRates, arguments: {label: ok, positive: true, group: g, groups: [a, b]}}
      - {type: custom, engine: vallum, implementation: {check: leakage}}
    properties:
      - {name: at, logicalType: timestamp}
      - {name: ok, logicalType: boolean}
      - {name: g, logicalType: string, relationships: [{to: groups.name}]}
"""
    frame = pl.DataFrame({"at": [dt.datetime(2026, 1, 1, 12)] * 4, "ok": [True, True, True, False], "g": list("aabb")})
    groups = Table.of(pl.DataFrame({"name": ["a"]}), "groups")
    found = judged(yaml, Table.of(frame), parents={"groups": groups}, evaluation=Table.of(frame.head(1), "evaluation"))
    assert {name: found[name] for name in found if not found[name][1]} == {
        "g: RefersTo groups": (True, False), "ok by g: GroupRates": (True, False),
        "leakage to evaluation": (True, False),
    }  # fmt: skip
    assert found["at: IsFresh"] == (True, True)
    alone = judged(yaml, Table.of(frame.with_columns(at=pl.lit(dt.datetime(2026, 1, 5)))))
    assert alone["g: RefersTo groups"] == alone["leakage"] == (False, False)
    assert alone["at: IsFresh"] == (True, False), "a time in the future is not fresh"


def test_lists_in_json_lines_are_lists(tmp_path):
    yaml = "schema: [{name: t, properties: [{name: tags, logicalType: array}]}]"
    with Staging(tmp_path) as staging:
        for raw, passed in (('{"tags": [1, 2]}\n', True), ('{"tags": [1]}\n{"tags": "x"}\n', False)):
            (tmp_path / "t.jsonl").write_text(raw)
            types = types_of(parse_contract((HEAD + yaml).encode()).tables[0])
            found = judged(yaml, open_table(tmp_path / "t.jsonl", staging, types))
            assert found["tags: ParsesAs"] == (True, passed)
