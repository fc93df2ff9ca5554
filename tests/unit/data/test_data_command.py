"""`vallum data` as a steward uses it."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("polars")

COMMAND = [sys.executable, "-c", "import sys; from vallum.cli import main; sys.exit(main())", "data"]
SECRET = "jo.secret@example.com"


def run(*arguments, cwd):
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=100, cwd=cwd, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def people(path, ages, first=0):
    lines = [f"{first + i},{SECRET},{age},{'yes' if i % 4 else 'no'}" for i, age in enumerate(ages)]
    path.write_text("id,email,age,label\n" + "\n".join(lines) + "\n")


def test_a_steward_proposes_a_contract_and_the_next_delivery_is_judged_by_it(tmp_path):
    people(tmp_path / "january.csv", [20 + i % 50 for i in range(200)])
    code, out, _ = run("contract", "propose", "january.csv", "--mask", "email", "--label", "label", cwd=tmp_path)
    assert code == 0
    assert SECRET not in out
    (tmp_path / "people.yaml").write_text(out)
    code, out, err = run(
        "check", "january.csv", "--contract", "people.yaml", "--reference", "january.csv", cwd=tmp_path
    )
    assert code == 0, out + err
    people(tmp_path / "february.csv", [*[30] * 150, "unknown", -4, *[30] * 48], first=1000)
    code, out, err = run("check", "february.csv", "--contract", "people.yaml", "--reference", "january.csv",
                         "--rows", "bad.jsonl", "--json", cwd=tmp_path)  # fmt: skip
    assert code == 1
    report = json.loads(out)
    failed = {o["check"]: o["bad_rows"] for o in report["checks"] if not o["passed"]}
    assert failed == {"age: ParsesAs": 1, "age: NotNull": 1, "age: InRange": 1}
    bad = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(b["row"], b["checks"]) for b in bad] == [(150, ["age: ParsesAs", "age: NotNull"]), (151, ["age: InRange"])]
    assert SECRET not in out + err
    for engine in ("duckdb",):
        code, again, _ = run("check", "february.csv", "--contract", "people.yaml", "--reference", "january.csv",
                             "--engine", engine, "--json", cwd=tmp_path)  # fmt: skip
        assert json.loads(again)["checks"] == report["checks"]


def test_without_its_reference_a_learned_check_fails(tmp_path):
    people(tmp_path / "a.csv", [20 + i % 50 for i in range(200)])
    _, out, _ = run("contract", "propose", "a.csv", "--label", "label", cwd=tmp_path)
    (tmp_path / "a.yaml").write_text(out)
    code, out, _ = run("check", "a.csv", "--contract", "a.yaml", cwd=tmp_path)
    assert code == 1
    assert "did not run" in out


def test_formulas_in_a_csv_fail_and_profiles_mask(tmp_path):
    people(tmp_path / "a.csv", [20 + i % 50 for i in range(200)])
    _, out, _ = run("contract", "propose", "a.csv", "--mask", "email", cwd=tmp_path)
    (tmp_path / "a.yaml").write_text(out)
    text = (tmp_path / "a.csv").read_text().replace(SECRET, "=cmd|' /C calc'!A0", 1)
    (tmp_path / "a.csv").write_text(text)
    code, out, _ = run("check", "a.csv", "--contract", "a.yaml", cwd=tmp_path)
    assert code == 1
    assert "begin as a spreadsheet's formula" in out
    assert "calc" not in out
    code, out, _ = run("profile", "a.csv", "--mask", "email", "--json", cwd=tmp_path)
    assert code == 0
    assert SECRET not in out
    assert json.loads(out)["columns"][1]["distinct"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("profile", "absent.csv"), "no such file"),
        (("profile", "a.csv", "--mask", "nobody"), "no column nobody"),
        (("profile", "sql:people"), "--database"),
        (("check", "a.csv", "--contract", "absent.yaml"), "cannot be read"),
        (("check", "a.csv", "--contract", "poisoned.yaml"), "code, which is not run here"),
    ],
)
def test_bad_input_ends_with_two_and_a_word(tmp_path, arguments, said):
    people(tmp_path / "a.csv", [1, 2, 3])
    (tmp_path / "poisoned.yaml").write_text(
        "{apiVersion: v3.1.0, kind: DataContract, id: x, version: '1', status: active, schema: [{name: a, properties: "
        "[{name: id, quality: [{type: sql, query: 'COPY (SELECT 1) TO PROGRAM ''id''', mustBe: 0}]}]}]}"
    )
    code, _, err = run(*arguments, cwd=tmp_path)
    assert code == 2
    assert said in err
