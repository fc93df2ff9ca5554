"""What drifted is seen, told once, and put right; what could not be looked at changes nothing."""

import pytest

from vallum.compose import SYSTEM_SUBJECT
from vallum.inventory import parse_files
from vallum.kernel.errors import Unavailable
from vallum.kernel.policy import PolicySet, shipped_policies, shipped_schema
from vallum.models.runtime.ports import Deployment

ALL = ("dev", "test", "prod")


@pytest.fixture
def two(world):
    return [world.ready(*ALL, number=number) for number in (1, 2)]


def kinds(world, environment="prod"):
    return sorted({problem.kind for problem in world.watch.look(environment, "credit")})


def alerts(world):
    return [(e.asset, e.context["problems"]) for e in world.entries("alert")]


def healed(world):
    return [e.context["problems"] for e in world.entries("change") if e.action == "releases:environment:heal"]


def test_what_is_as_signed_leaves_its_time_and_no_entry(world, two):
    world.watch.run()
    assert alerts(world) == healed(world) == []
    (prod,) = [e for e in world.releases.status(world.watch) if e.name == "prod"]
    (running,) = prod.running
    assert (running.release, running.verified.problems) == (two[1].id, ())
    assert running.approved_by == ("person:per_bob",)


def test_whoever_let_a_release_in_is_named_whatever_way_it_came_to_run_again(world, two):
    def approved():
        (prod,) = [e for e in world.releases.status(world.watch) if e.name == "prod"]
        (running,) = prod.running
        return running.release, running.kind, running.approved_by

    assert approved() == (two[1].id, "promotion", ("person:per_bob",))
    world.roll_back("prod")
    assert approved() == (two[0].id, "rollback", ("person:per_bob",))
    (dev,) = [e for e in world.releases.status(world.watch) if e.name == "dev"]
    assert [running.approved_by for running in dev.running] == [()]


def test_what_was_verified_of_the_one_before_says_nothing_of_the_next(world):
    world.ready("dev")
    world.watch.run()
    second = world.ready("dev", number=2)

    def verified():
        (dev,) = [e for e in world.releases.status(world.watch) if e.name == "dev"]
        (running,) = dev.running
        return running.release, running.verified

    assert verified() == (second.id, None)
    world.watch.run()
    assert verified()[1].problems == ()


def test_a_corrupted_model_is_seen_and_the_last_good_one_runs(world, two):
    world.registry.contents["credit", 2] = b"weights 2, and more"
    assert kinds(world) == ["model"]
    world.watch.run()
    assert [world.running(e) for e in ALL] == [two[0].id] * 3
    assert world.history("prod")[0].kind == "healing"
    assert sorted(alerts(world)) == [(f"Environment:{e}", "model") for e in sorted(ALL)]
    assert healed(world) == ["model"] * 3
    world.watch.run()
    assert len(alerts(world)) == 3


def test_without_another_one_a_corrupted_model_is_told_and_goes_on(world):
    """Serving has the bytes that were verified; what would be loaded anew is refused."""
    release = world.ready("dev")
    world.registry.contents["credit", 1] = b"other"
    world.watch.run()
    assert world.running("dev") == release.id
    assert alerts(world) == [("Environment:dev", "model")]


def test_a_model_version_revoked_while_it_runs_is_taken_out(world, two):
    world.registry.change("credit", 2, state="revoked")
    assert kinds(world) == ["revoked"]
    world.watch.run()
    assert [world.running(e) for e in ALL] == [two[0].id] * 3
    world.registry.change("credit", 1, state="revoked")
    world.watch.run()
    assert [world.running(e) for e in ALL] == [None] * 3


def test_a_forged_deployment_is_replaced_by_the_one_that_was_signed(world, two):
    world.sql("UPDATE release_deployments SET release = :r WHERE environment = 'prod' AND ended IS NULL", r=two[0].id)
    assert kinds(world) == ["deployment"]
    world.watch.run()
    assert world.running("prod") == two[1].id
    assert kinds(world) == []


def test_an_earlier_deployment_brought_back_to_life_is_seen(world, two):
    """Its statement holds: what gives it away is that a newer one is there."""
    world.sql("UPDATE release_deployments SET ended = 'replaced' WHERE environment = 'prod' AND sequence = 2")
    world.sql("UPDATE release_deployments SET ended = NULL WHERE environment = 'prod' AND sequence = 1")
    assert kinds(world) == ["deployment"]
    world.watch.run()
    assert world.running("prod") == two[1].id


def test_an_ended_deployment_that_is_brought_back_beside_the_newest_is_ended_again(world, two):
    """And hides nothing: everything else is looked at as ever."""
    world.sql("UPDATE release_deployments SET ended = NULL WHERE environment = 'dev' AND sequence = 1")
    world.registry.contents["credit", 2] = b"other"
    assert kinds(world, "dev") == ["deployment"]
    assert world.running("dev") == two[1].id
    world.registry.contents["credit", 2] = b"weights 2"
    world.watch.run()
    assert alerts(world) == [("Environment:dev", "deployment")]
    assert (kinds(world, "dev"), world.running("dev")) == ([], two[1].id)
    assert [one.ended for one in world.history("dev")] == [None, "replaced", "rolled_back"]


def test_the_applications_drift_is_healed_and_its_switch_is_not_touched(world):
    world.declare()
    world.ready("dev", "test", application="chat")
    weaker = '[applications.chat]\nowner = "else"\nmodels = ["handbook"]\nenabled = false\n'
    with world.records.write() as conn:
        world.platform.inventory.apply(conn, parse_files({"y.toml": weaker}))
    (problem,) = world.watch.look("test", "credit")
    assert (problem.kind, problem.heals) == ("application", True)
    assert "guards, guard_digest differ" in problem.what
    world.watch.run()
    world.platform.inventory.refresh()
    application = world.platform.inventory.application("chat")
    assert application.guards.input.injection == "block"
    assert not application.enabled
    assert world.watch.look("test", "credit") == ()
    assert alerts(world) == [("Environment:test", "application")]


def test_other_policies_are_told_once_a_day_and_never_undone(world):
    world.ready("dev")
    files = {**shipped_policies(), "more.cedar": '@id("more") permit (principal, action, resource) when { false };'}
    changed = PolicySet.parse(files, shipped_schema())
    with world.records.write() as conn:
        world.platform.policy_store.apply(conn, changed, "somebody")
    for _ in range(3):
        world.watch.run()
    assert alerts(world) == [("Environment:dev", "policy")]
    assert healed(world) == []
    with world.records.read() as conn:
        assert world.platform.policy_store.in_force(conn) == changed.digest
    from datetime import timedelta

    world.clock.at += timedelta(days=1, seconds=1)
    world.watch.run()
    assert len(alerts(world)) == 2


def test_what_a_process_still_serves_is_seen(world, two):
    def say(release, number, environment="prod"):
        digest = world.registry.versions["credit", number].digest
        one = Deployment(environment, "credit", release.id, "credit", number, digest, None)
        with world.records.write() as conn:
            world.releases.served.say(conn, "worker-1", [(one, "")])

    say(two[1], 2)
    assert kinds(world) == []
    say(two[0], 1)
    assert kinds(world) == ["serving"]
    world.watch.run()
    assert healed(world) == ["serving"]
    say(two[1], 1)  # the right release with other bytes
    assert kinds(world) == ["serving"]
    say(two[1], 2)
    assert kinds(world) == []


def test_why_a_model_is_not_loaded_is_in_the_environments_state_and_told(world, two):
    digest = world.registry.versions["credit", 2].digest
    one = Deployment("prod", "credit", two[1].id, "credit", 2, digest, None)
    why = "the model could not be loaded: the model's process was ended by SIGSEGV, and said: bad tree"

    def say(trouble):
        with world.records.write() as conn:
            world.releases.served.say(conn, "worker-1", [(one, trouble)])

    def troubles():
        return [t for e in world.releases.status(world.watch) for r in e.running for t in r.troubles]

    say(why)
    assert [(t.process, t.release, t.model, t.why) for t in troubles()] == [("worker-1", two[1].id, "credit", why)]
    world.watch.run()
    assert alerts(world) == [("Environment:prod", "serving")]
    assert healed(world) == []  # the same bytes deployed once more would be loaded no better
    say("")
    assert troubles() == []
    assert kinds(world) == []


def test_a_look_that_could_not_be_taken_changes_nothing(world, two):
    world.watch.run()
    before = [e.running[0].verified.at for e in world.releases.status(world.watch)]

    def absent(*_):
        raise Unavailable("the blob store does not answer")

    world.registry.verify = absent
    world.watch.run()
    assert [e.running[0].verified.at for e in world.releases.status(world.watch)] == before
    assert [world.running(e) for e in ALL] == [two[1].id] * 3
    assert alerts(world) == []


def test_told_and_not_healed_where_that_is_set(world, two):
    watch = world.releases.watching(world.platform.gate, SYSTEM_SUBJECT, heals=False)
    world.registry.change("credit", 2, state="revoked")
    watch.run()
    assert world.running("prod") == two[1].id
    assert len(alerts(world)) == 3
    assert healed(world) == []
