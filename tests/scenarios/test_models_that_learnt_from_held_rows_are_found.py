"""Rows that a model learnt from turn out to be bad: the model is found, with its releases and where they serve."""

import json

import pytest
from governed_data import contract, visits
from registered_models import tensors


@pytest.fixture(scope="module")
def trains(server):
    with server.client() as client:
        server.newcomer("tove", "ml_engineer").sign_in(client)
        yield client


@pytest.fixture(scope="module")
def keeps(server):
    with server.client() as client:
        server.newcomer("kari", "data_steward").sign_in(client)
        yield client


def test_from_a_held_row_to_the_run_the_model_and_the_release(server, trains, keeps, tmp_path):
    source = tmp_path / "stays.csv"
    source.write_bytes(visits(60))
    keeps.request("POST", "/data-sets", {"name": "learnt"})
    assert keeps.take_in("learnt", source, contract())["quarantined"] == 0
    used = "/data-sets/learnt/versions/1"
    trains.request("POST", f"{used}/uses", {"kind": "run", "used_by": "run-2026-7"})
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(tensors())
    trains.register_model("learner")
    version = trains.upload_model("learner", weights, source="run-2026-7")
    assert version["state"] == "available"
    other = trains.upload_model("learner", weights_of(tmp_path), source="by hand")
    body = {"product": "churner", "models": [{"name": "learner", "version": 1}]}
    release = trains.request("POST", "/releases", body)
    server.vallum("release", "promote", release["id"], "--to", "dev", "--reason", "a first look at it")

    found = trains.request("GET", f"{used}/lineage")
    told = [(one["kind"], one["name"], one["made_from"]) for one in found]
    assert told == [
        ("run", "run-2026-7", "learnt/1"), ("model", "learner/1", "run-2026-7"),
        ("release", release["id"], "learner/1"),
    ]  # fmt: skip
    assert found[2]["runs_in"] == ["dev"]
    assert f"learner/{other['number']}" not in json.dumps(found)

    stricter = contract().replace(b"{minimum: 0}", b"{minimum: 0, maximum: 65}")
    source.write_bytes(visits(60))
    assert keeps.take_in("learnt", source, stricter)["quarantined"] == 5
    (case,) = keeps.request("GET", "/data-quarantine", query={"dataset": "learnt"})
    assert case["affected"] == ["run-2026-7"]
    assert trains.request("GET", f"/data-quarantine/{case['id']}/lineage") == found
    shown = server.vallum("data", "lineage", case["id"]).stdout
    assert "learner/1" in shown
    assert "dev" in shown
    assert "learner/1" in server.vallum("data", "lineage", "learnt/1").stdout


def weights_of(folder):
    file = folder / "others.safetensors"
    file.write_bytes(tensors())
    return file
