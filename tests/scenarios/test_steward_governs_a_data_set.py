"""A data steward takes a source in; an engineer reads what they may; what fails is held; a person is erased."""

import json
import sys
from pathlib import Path

import pytest
from governed_data import IBANS, contract, visits

from vallum.kernel.errors import Denied, Invalid

REASON = "the ward confirmed these costs by letter"


@pytest.fixture(scope="module")
def sigrid(server):
    """The data steward."""
    with server.client() as client:
        server.newcomer("sigrid", "data_steward").sign_in(client)
        client.request("POST", "/data-sets", {"name": "visits", "description": "who came, and what it cost"})
        yield client


@pytest.fixture(scope="module")
def torben(server):
    """The engineer who trains."""
    with server.client() as client:
        server.newcomer("torben", "ml_engineer").sign_in(client)
        yield client


@pytest.fixture(scope="module")
def ragna(server):
    """Another steward."""
    with server.client() as client:
        server.newcomer("ragna", "data_steward").sign_in(client)
        yield client


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "visits.csv"
    file.write_bytes(visits(200, spoil=(17,)))
    return file


def entries(server, action):
    lines = server.vallum("ledger", "tail", "-n", "300", "--json").stdout.splitlines()
    return [entry for entry in map(json.loads, lines) if entry["action"] == action]


def test_somebody_of_another_role_takes_nothing_in(server, torben, sigrid, source):
    with pytest.raises(Denied):
        torben.take_in("visits", source, contract())
    with pytest.raises(Denied):
        torben.request("POST", "/data-sets", {"name": "mine"})
    assert any(one["effect"] == "deny" for one in entries(server, "data:version:intake"))


def test_a_source_is_taken_in_and_read_through_the_gate_alone(server, sigrid, torben, ragna, source):
    version = sigrid.take_in("visits", source, contract())
    assert (version["state"], version["rows"], version["quarantined"]) == ("available", 199, 1)
    number = version["number"]
    mine = sigrid.rows("visits", number, purpose="care").polars()
    assert set(mine.get_column("iban")) == set(IBANS)
    theirs = torben.rows("visits", number, purpose="care").polars()
    assert set(theirs.get_column("iban")) == {"•••"}
    assert "p1@example.org" in set(theirs.get_column("email"))
    assert set(torben.rows("visits", number).polars().get_column("email")) == {"•••"}
    with pytest.raises(Invalid):
        torben.rows("visits", number, export=True).polars()
    torben.rows("visits", number, purpose="care", export=True).polars()
    left = entries(server, "data:version:export")[-1]["context"]
    assert (left["rows"], left["purpose"], left["masked"]) == (199, "care", 1)

    at = f"/data-sets/visits/versions/{number}"
    with pytest.raises(Denied):
        sigrid.request("POST", f"{at}/approval", {"reason": REASON})
    assert ragna.request("POST", f"{at}/approval", {"reason": REASON})["approved_by"]


def test_held_rows_are_looked_at_and_let_out_by_somebody_else(server, sigrid, torben, ragna):
    (case,) = sigrid.request("GET", "/data-quarantine", query={"dataset": "visits"})
    with pytest.raises(Denied):
        torben.request("GET", f"/data-quarantine/{case['id']}/rows")
    (row,) = sigrid.request("GET", f"/data-quarantine/{case['id']}/rows")
    assert (row["row"], row["values"]["cost"], row["reasons"]) == (17, "-1.0", ["gate: cost: InRange"])
    with pytest.raises(Denied):
        sigrid.request("POST", f"/data-quarantine/{case['id']}/release", {"reason": REASON})
    made = ragna.request("POST", f"/data-quarantine/{case['id']}/release", {"reason": REASON})
    assert (made["rows"], made["derived_from"]) == (200, case["number"])
    assert entries(server, "data:quarantine:release")[-1]["context"]["reason"] == REASON


def test_a_person_is_erased_and_the_ledger_still_verifies(server, sigrid):
    body = {"column": "email", "value": "p3@example.org", "reference": "DSR-2026-4"}
    done = sigrid.request("POST", "/data-sets/visits/erasures", body)
    assert len(done["erased"]) == len(done["made"]) == 2
    for number in done["made"]:
        kept = sigrid.rows("visits", number, purpose="care").polars()
        assert "p3@example.org" not in set(kept.get_column("email"))
    for number in done["erased"]:
        with pytest.raises(Denied):
            sigrid.rows("visits", number, purpose="care").polars()
    told = entries(server, "data:subject:erase")[-1]
    assert told["context"]["reference"] == "DSR-2026-4"
    assert "p3@example.org" not in json.dumps(told)
    assert server.vallum("ledger", "verify").returncode == 0


def test_by_the_command_line(server, source, tmp_path):
    agreed = tmp_path / "stays.odcs.yaml"
    agreed.write_bytes(contract())
    done = server.vallum("data", "intake", source, "--contract", agreed, "--dataset", "stays", "--json")
    assert json.loads(done.stdout)["state"] == "available"
    assert "--resume int_" in done.stderr
    assert "stays" in server.vallum("data", "list").stdout
    assert "restricted" in server.vallum("data", "show", "stays/1").stdout
    assert "cost: InRange" in server.vallum("data", "report", "stays/1").stderr
    out = tmp_path / "stays.parquet"
    server.vallum("data", "export", "stays/1", "--purpose", "care", "--out", out)
    import polars as pl

    assert pl.read_parquet(out).height == 199
    server.vallum("data", "provenance", "stays/1", "--croissant", tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text())["conformsTo"].endswith("croissant/1.1")
    cases = json.loads(server.vallum("data", "quarantine", "list", "--dataset", "stays", "--json").stdout)
    refused = server.vallum("data", "quarantine", "show", cases[0]["id"], "--values", check=False)
    assert refused.returncode == 4  # the root key's holder sees no values
    server.vallum("data", "quarantine", "destroy", cases[0]["id"], "--reason", "from nobody whom we know")
    server.vallum("data", "hold", "set", "stays", "--reason", "litigation 2026/4 asks for it")
    erase = ("data", "erase", "stays", "--column", "email", "--reference", "DSR-9")
    assert server.vallum(*erase, stdin="p3@example.org\n", check=False).returncode == 4
    server.vallum("data", "hold", "end", "stays")
    assert json.loads(server.vallum(*erase, "--json", stdin="p3@example.org\n").stdout)["erased"] == [1]
    bad = tmp_path / "bad.csv"
    bad.write_bytes(visits(30, spoil=range(20)))
    failed = server.vallum("data", "intake", bad, "--contract", agreed, "--dataset", "stays", check=False)
    assert failed.returncode == 1


TREATED = contract().replace(b"iban, logicalType: string", b"iban, logicalType: string, customProperties: [TREATMENT]")
TREATED = TREATED.replace(b"TREATMENT", b"{property: treatment, value: tokenise}")


def test_a_job_gets_the_approved_version_in_a_folder_that_is_gone_when_it_ends(server, sigrid, ragna, source, tmp_path):
    agreed = tmp_path / "jobs.odcs.yaml"
    agreed.write_bytes(TREATED)
    server.vallum("data", "intake", source, "--contract", agreed, "--dataset", "jobs")
    assert "tokenise" in server.vallum("data", "show", "jobs/1").stdout
    assert "iban: tokenise, as contract asks" in server.vallum("data", "report", "jobs/1").stderr
    code = (
        "import os, glob, polars as pl; p = os.environ['VALLUM_DATA']; f = pl.read_parquet(p + '/*.parquet');"
        "print(f.height, f.get_column('iban')[0], p); raise SystemExit(3)"
    )
    mount = ("data", "mount", "jobs/1", "--purpose", "care", "--run", "run-7", "--in", tmp_path, "--data", server.data)
    job = ("--", sys.executable, "-c", code)
    refused = server.vallum(*mount, *job, check=False)
    assert (refused.returncode, "approved by nobody" in refused.stderr) == (6, True), refused.stderr
    ragna.request("POST", "/data-sets/jobs/versions/1/approval", {"reason": REASON})
    done = server.vallum(*mount, *job, check=False)
    assert done.returncode == 3
    rows, iban, folder = done.stdout.split()
    assert (rows, iban in IBANS, Path(folder).exists()) == ("199", False, False)
    assert "run-7" in server.vallum("data", "show", "jobs").stdout
    (handed,) = [one for one in json.loads(server.vallum("data", "handouts", "jobs", "--json").stdout) if one["run"]]
    assert (handed["kind"], handed["version"], handed["run"], handed["mounted"]) == ("mount", "jobs/1", "run-7", True)
    assert "run-7" in server.vallum("data", "handouts", "jobs").stdout
    reveal = server.vallum("data", "reveal", "jobs", "--column", "iban", stdin=f"{iban}\n", check=False)
    assert reveal.returncode == 4  # the root key's holder sees no values
    opened = sigrid.request("POST", "/data-sets/jobs/token-values", {"column": "iban", "token": iban})
    assert opened["value"] in IBANS


def test_statistics_are_released_until_the_budget_is_spent(server, sigrid, torben, source):
    number = str(sigrid.take_in("visits", source, contract(email="restricted"))["number"])
    sigrid.request("PUT", "/data-sets/visits/privacy-budget", {"epsilon": 1.0})
    query = {"type": "sum", "column": "cost", "low": 0, "high": 300}
    found = torben.statistic("visits", int(number), query, epsilon=0.75)
    assert found["left_micro_epsilon"] == 250_000
    with pytest.raises(Denied):
        torben.statistic("visits", int(number), query, epsilon=0.75)
    at = f"visits/{number}"
    asked = server.vallum("data", "statistic", at, "count", "--epsilon", "0.25", "--json")
    assert abs(json.loads(asked.stdout)["answer"] - 199) < 120
    spent = server.vallum("data", "statistic", at, "count", "--epsilon", "0.01", check=False)
    assert spent.returncode == 4
    assert "count" in server.vallum("data", "budget", "show", "visits").stdout
    assert "restricted" in server.vallum("data", "keys", "rotate", "visits").stdout
