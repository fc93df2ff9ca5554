"""Releases: how long a rollback takes, from the call until another platform on the database follows; and a canary.

    python bench/releases.py

Goal: a rollback in at most 5 s, everything included. No model bytes are read for it; they are verified when loaded.
"""

import sys
import tempfile
import time
from pathlib import Path

import msgspec

from vallum.compose import SYSTEM_SUBJECT, Platform, prepare
from vallum.inventory import parse_files
from vallum.kernel.actions import Action
from vallum.kernel.values import AssetRef
from vallum.releases import Declaration, Wanted
from vallum.releases.trials import meets_trial
from vallum.settings import load_settings

INVENTORY = """
[providers.here]
kind = "extractive"
[models.m]
provider = "here"
[applications.chat]
owner = "somebody"
models = ["m"]
"""
ROUNDS = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(None, {}, {"data": str(Path(folder) / "data")})
        prepare(settings)
        here, there = Platform.open(settings), Platform.open(settings)
        here.start(), there.start()
        try:
            taken = rollbacks(here, there)
        finally:
            there.close()
            here.close()
    taken.sort()
    print(f"rollback, seen by another platform: median {taken[ROUNDS // 2]:.3f} s, worst {taken[-1]:.3f} s (goal 5 s)")
    begun = time.perf_counter()
    for number in range(100_000):
        meets_trial("rel_01J", 20, f"user-{number}")
    print(f"deciding a canary's side: {(time.perf_counter() - begun) * 10:.2f} microseconds")
    sys.exit(taken[-1] > 5)


def rollbacks(here: Platform, there: Platform) -> list[float]:
    with here.records.write() as conn:
        here.inventory.apply(conn, parse_files({"x.toml": INVENTORY}))
    releases, asset, taken = here.control.services.releases, AssetRef("Environment", "dev"), []
    for number in range(ROUNDS):
        built = []
        for half in range(2):
            declared = {"product": "p", "application": "chat", "tools": [f"tool-{number}-{half}"]}
            with here.records.write() as conn:
                release = releases.catalogue.build(conn, msgspec.convert(declared, Declaration), SYSTEM_SUBJECT)
                wanted = Wanted(release=release.id, environment="dev", reason="measured here")
                releases.promotions.request(conn, wanted, SYSTEM_SUBJECT)
            built.append(release.id)
        time.sleep(0.5)  # the other process has followed
        begun = time.perf_counter()
        with here.gate.change(SYSTEM_SUBJECT, Action.ENVIRONMENT_ROLLBACK, asset, {}) as change:
            back = releases.environments.roll_back(change.conn, "dev", "p", SYSTEM_SUBJECT)
        assert back.release == built[0]
        followed = there.control.services.releases.deployments
        while followed.sequence("dev", "p") != back.sequence:
            time.sleep(0.005)
        taken.append(time.perf_counter() - begun)
    return taken


if __name__ == "__main__":
    main()
