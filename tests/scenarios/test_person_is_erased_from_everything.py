"""A person asks to be erased: one steward looks and asks, another approves, and an auditor checks the proof offline."""

import json
import time

import pytest
from governed_data import contract, visits

from vallum.kernel.errors import Denied

# Of an address that no other test takes in: whoever is erased here does not come back to this server.
WHOM, NAME = "p5@trips.example.org", "Ragnhild Åsgård"


@pytest.fixture(scope="module")
def asks(server):
    with server.client() as client:
        server.newcomer("hedda", "data_steward").sign_in(client)
        yield client


@pytest.fixture(scope="module")
def approves(server):
    with server.client() as client:
        server.newcomer("birk", "data_steward").sign_in(client)
        yield client


@pytest.fixture(scope="module")
def trains(server):
    with server.client() as client:
        server.newcomer("odd", "ml_engineer").sign_in(client)
        yield client


def done(client, erasure):
    for _ in range(100):
        found = client.erasure(erasure)
        if found["state"] != "approved":
            return found
        time.sleep(0.2)
    raise AssertionError(found)


def test_a_person_is_erased_from_rows_and_exchanges_with_a_proof(server, vallum, asks, approves, trains, tmp_path):
    source = tmp_path / "trips.csv"
    source.write_bytes(visits(60, spoil=(5,)).replace(b"@example.org", b"@trips.example.org"))
    asks.request("POST", "/data-sets", {"name": "trips"})
    asks.take_in("trips", source, contract())
    answered = server.openai().chat.completions.with_raw_response.create(
        model="handbook", messages=[{"role": "user", "content": f"how much leave has {NAME}?"}]
    )
    entry = answered.headers["x-vallum-entry"]
    with pytest.raises(Denied):
        trains.request_erasure([WHOM], "DSR-1")
    asked = asks.request_erasure([WHOM, NAME], "DSR-1")
    assert {one["place"].partition(",")[0] for one in asked["found"]} >= {"trips/1", "trips", "exchanges"}
    with pytest.raises(Denied):
        asks.request("POST", f"/erasures/{asked['id']}/approval", {"reason": "identity checked by letter"})
    with pytest.raises(Denied):
        trains.erasure(asked["id"])
    approves.request("POST", f"/erasures/{asked['id']}/approval", {"reason": "identity checked by letter"})
    now = done(approves, asked["id"])
    assert now["state"] == "done", now
    kept = asks.rows("trips", 2, purpose="care").polars()
    assert WHOM not in set(kept.get_column("email"))
    told = json.loads(server.vallum("ledger", "show", entry, "--json").stdout)
    assert set(told["contents"]) >= {"request"}, "what it was is gone, that it was stays"
    assert server.vallum("ledger", "verify").returncode == 0

    report, envelope, key, log = (tmp_path / name for name in ("r.json", "r.dsse.json", "key.pem", "log.jsonl"))
    server.vallum("erasures", "report", asked["id"], "--out", report, "--envelope", envelope)
    assert WHOM not in report.read_text()
    assert NAME not in report.read_text()
    signing = json.loads(server.vallum("models", "signing-keys", "--json").stdout)[0]
    key.write_text(signing["public_key"])
    server.vallum("ledger", "export", "--output", log)

    check = ("erasures", "verify", report, "--envelope", envelope, "--public-key", f"{signing['signer']}={key}")
    assert json.loads(vallum(*check, "--ledger", log, "--json").stdout)["in_the_log"] == len(now["steps"])
    report.write_bytes(report.read_bytes().replace(b'"left":0', b'"left":9'))
    assert vallum(*check, check=False).returncode == 8


def test_by_the_command_line(server, asks):
    """The root key's holder asks; approving is a person's, with a second factor."""
    request = ("erasures", "request", "--reference", "DSR-2", "--json")
    asked = json.loads(server.vallum(*request, stdin="nobody@example.com\n\nignored\n").stdout)
    assert (asked["state"], asked["found"]) == ("requested", [])
    refused = server.vallum("erasures", "approve", asked["id"], "--reason", "identity was checked", check=False)
    assert refused.returncode == 4
    assert asked["id"] in server.vallum("erasures", "list").stdout
    server.vallum("erasures", "cancel", asked["id"], "--reason", "asked for by mistake")
    assert "cancelled" in server.vallum("erasures", "show", asked["id"]).stdout
    nobody = server.vallum("erasures", "request", "--reference", "DSR-3", stdin="", check=False)
    assert nobody.returncode == 5 or "names nobody" in nobody.stderr


def test_exchanges_are_held_by_the_command_line(server, asks):
    """Setting is the root key's holder's too; what was asked and answered stays until a steward ends it."""
    hold = ("ledger", "hold")
    why = ("--reason", "litigation 2026/4 asks for it")
    made = json.loads(server.vallum(*hold, "set", *why, "--since", "2026-03-01", "--json").stdout)
    assert made["id"] in server.vallum(*hold, "list").stdout
    assert server.vallum(*hold, "set", *why, "--subject", "everybody", check=False).returncode == 2
    asks.request("POST", f"/exchange-holds/{made['id']}/end", {"reason": "it was settled out of court"})
    (shown,) = json.loads(server.vallum(*hold, "list", "--json").stdout)
    assert shown["end_reason"] == "it was settled out of court"
    again = server.vallum(*hold, "end", made["id"], "--reason", "it was settled out of court", check=False)
    assert again.returncode == 6
