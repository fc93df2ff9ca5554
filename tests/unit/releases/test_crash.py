"""Killed in the middle of a promotion, at each of its steps: afterwards all of it is there, or nothing."""

import signal
import subprocess
import sys

import pytest

from vallum.inventory import parse_files
from vallum.releases import load_rules

# Imports once, and dies in a child for each step: what is forked has no thread and no platform yet.
PROGRAM = """
import os, sys
from vallum.compose import Platform
from vallum.kernel.actions import Action
from vallum.kernel.values import AssetRef, Subject, SubjectKind, TenantId
from vallum.releases import Wanted
from vallum.settings import load_settings

def die(*args, **kwargs):
    os.kill(os.getpid(), 9)

def promote(data, url, release, at):
    platform = Platform.open(load_settings(None, {}, {"data": data, "records.url": url,
                                                     "releases.rules_file": data + ".toml"}))
    platform.writer.start()
    releases = platform.control.services.releases
    if at == "apply":  # when the application's policy is put in force
        type(releases.applications).put = die
    elif at == "deploy":  # before the deployment's row is written
        type(releases.environments)._signed_row = die
    elif at == "end":  # when what ran has been ended
        original = type(releases.environments)._end
        type(releases.environments)._end = lambda *a: (original(*a), die())
    by = Subject(SubjectKind.SYSTEM, "vallum", TenantId("default"), credential="root-key")
    wanted = Wanted(release=release, environment="dev", reason="a good enough reason")
    asset = AssetRef("Environment", "dev")
    with platform.gate.change(by, Action.PROMOTION_REQUEST, asset, {"release": release}) as change:
        releases.promotions.request(change.conn, wanted, by)
        if at == "commit":  # everything is done, and not committed
            die()
    if at == "after":
        die()

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            promote(*sys.argv[1:3], *line.split())
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


ALONE = """
[[environment]]
name = "dev"
approvals = 0
[[rule]]
checks = ["scan"]
"""


@pytest.fixture
def crash(tmp_path, world, migrated_url):
    (tmp_path / "data.toml").write_text(ALONE)  # the last environment, whose releases say what applications may do
    world.open(load_rules(tmp_path / "data.toml"))
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "data"), migrated_url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as program:

        def _crash(release, at):
            print(release.id, at, file=program.stdin, flush=True)
            assert int(program.stdout.readline()) == -signal.SIGKILL, at

        yield _crash
        program.stdin.close()


def state(world, product="assistant"):
    with world.records.read() as conn:
        promotions = [p.state for p in world.releases.promotions.list() if p.product == product]
        running = world.releases.environments.running(conn, "dev", product)
    entries = [e for e in world.entries("change") if e.action == "releases:promotion:request"]
    world.platform.inventory.refresh()
    injection = world.platform.inventory.application("chat").guards.input.injection
    return running.release if running is not None else None, promotions, len(entries), injection


@pytest.mark.long
def test_a_promotion_is_done_whole_or_not_at_all(world, crash):
    world.declare()
    first = world.build(product="assistant", model=None, application="chat")
    world.promote(first, "dev")
    second = world.build(product="assistant", model=None, application="chat", tools=["search"])
    weaker = '[applications.chat]\nowner = "else"\nmodels = ["handbook"]\n'
    with world.records.write() as conn:
        world.platform.inventory.apply(conn, parse_files({"y.toml": weaker}))
    before = state(world)
    assert before == (first.id, ["approved"], 0, "detect")
    for at in ("deploy", "end", "apply", "commit"):
        crash(second, at)
        assert state(world) == before, at
    crash(second, "after")
    assert state(world) == (second.id, ["approved"] * 2, 1, "block")
    assert world.watch.look("dev", "assistant") == ()
