"""Canaries and shadows: who meets them, when they are stopped, and that nobody gets past approval with one."""

import pytest

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.releases import PromotionRefused
from vallum.releases.trials import Counts, meets_trial

ALL = ("dev", "test", "prod")
KEYS = [f"user-{number}" for number in range(2000)]


@pytest.fixture
def stable(world):
    return world.ready(*ALL, number=1)


@pytest.fixture
def canary(world, stable):
    release = world.ready("dev", "test", number=2)
    promotion = world.request(release, "prod", mode="canary", percent=20, slow_milliseconds=500)
    assert world.sides(["someone"]) == {stable.id}
    world.approve(promotion)
    world.releases.deployments.refresh()
    return release


@pytest.fixture(autouse=True)
def side(world):
    def _sides(keys, environment="prod"):
        """Which releases answer these now."""
        world.releases.deployments.refresh()
        return {world.releases.deployments.current(environment, "credit", key).release for key in keys}

    world.sides = _sides


def answer(world, release, count, failed=0, seconds=0.01, findings=0):
    deployments = world.releases.deployments
    for number in range(count):
        one = next(d for key in KEYS if (d := deployments.current("prod", "credit", key)).release == release.id)
        deployments.observe(one, failed=number < failed, seconds=seconds, findings=findings)
    deployments.flush()


def test_shares_are_kept_and_each_key_stays_on_its_side():
    for percent in (1, 20, 50, 99):
        share = sum(meets_trial("rel_1", percent, key) for key in KEYS) / len(KEYS)
        assert abs(share - percent / 100) < 0.04
        assert [meets_trial("rel_1", percent, key) for key in KEYS] == [
            meets_trial("rel_1", percent, key) for key in KEYS
        ]
    # Whoever meets a canary meets it with a larger share, too; and the next canary meets others.
    assert all(meets_trial("rel_1", 50, key) for key in KEYS if meets_trial("rel_1", 20, key))
    assert {k for k in KEYS if meets_trial("rel_1", 20, k)} != {k for k in KEYS if meets_trial("rel_2", 20, k)}
    assert not meets_trial("rel_1", 99, "")
    assert isinstance(meets_trial("rel_1", 50, "\ud800"), bool)


def test_a_canary_waits_for_approval_and_answers_its_share(world, stable, canary):
    current = world.releases.deployments.current
    sides = [current("prod", "credit", key).release for key in KEYS]
    assert 0.15 < sides.count(canary.id) / len(sides) < 0.25
    assert current("prod", "credit", "").release == stable.id
    assert world.running("prod") == stable.id
    assert world.releases.deployments.shadow("prod", "credit", "x") is None


def test_a_shadow_hears_and_never_answers(world, stable):
    release = world.ready("dev", "test", number=2)
    world.approve(world.request(release, "prod", mode="shadow", percent=100))
    world.releases.deployments.refresh()
    current, shadow = world.releases.deployments.current, world.releases.deployments.shadow
    assert {current("prod", "credit", key).release for key in KEYS[:100]} == {stable.id}
    assert {shadow("prod", "credit", key).release for key in KEYS[:100]} == {release.id}
    assert shadow("dev", "credit", "x") is None


@pytest.mark.parametrize(
    ("bad", "signal"), [({"failed": 60}, "failures"), ({"seconds": 0.9}, "slow"), ({"findings": 2}, "findings")]
)
def test_a_canary_that_fails_is_stopped_and_told(world, stable, canary, bad, signal):
    answer(world, stable, 200)
    answer(world, canary, 100, **bad)
    world.watch.run_trials()
    assert world.sides(KEYS[:200]) == {stable.id}
    (alert,) = world.entries("alert")
    assert (alert.action, alert.context["signal"]) == ("releases:canary:fail", signal)
    assert alert.context["release"] == canary.id
    assert alert.context["canary"] == ("60 of 100" if signal == "failures" else "100 of 100")
    world.watch.run_trials()
    assert len(world.entries("alert")) == 1


def test_a_canary_that_is_as_good_goes_on(world, stable, canary):
    for _ in range(10):
        answer(world, stable, 100, failed=2)
        answer(world, canary, 25, failed=0)
        world.watch.run_trials()
    assert world.entries("alert") == []
    with world.records.read() as conn:
        trial = world.releases.trials.find(conn, "prod", "credit")
    failures = next(signal for signal in trial.signals if signal.signal == "failures")
    assert (failures.canary, failures.stable) == ((0, 250), (20, 1000))
    assert failures.evidence < failures.limit


def test_outcomes_count_from_the_trials_beginning_and_survive_a_database_that_was_away(world, stable, canary):
    with world.records.write() as conn:
        world.releases.trials.count(conn, "prod", "credit", canary.id, Counts(5, 5, 5, 5))
        world.releases.trials.count(conn, "prod", "credit", canary.id, Counts(5, 0, 0, 0))
    with world.records.read() as conn:
        assert world.releases.trials._counts(conn, "prod", "credit", canary.id) == Counts(10, 5, 5, 5)
    with world.records.write() as conn:
        world.releases.trials.stop(conn, "prod", "credit")
    world.approve(world.request(canary, "prod", mode="canary", percent=20))
    with world.records.read() as conn:
        assert world.releases.trials._counts(conn, "prod", "credit", canary.id) == Counts()


def test_adopted_it_runs_for_everybody_when_its_checks_still_pass(world, stable, canary, somebody):
    def adopt():
        with world.records.write() as conn:
            return world.releases.promotions.adopt(conn, "prod", "credit", somebody("ada"))

    world.attest(canary, "tests", passed=False)
    with pytest.raises(PromotionRefused, match="tests"):
        adopt()
    world.attest(canary, "tests")
    assert adopt().release == canary.id
    assert world.sides(KEYS[:200]) == {canary.id}
    with pytest.raises(NotFound):
        adopt()
    assert world.roll_back("prod").release == stable.id


def test_no_trial_without_something_beside_it_and_only_one(world, stable, canary, somebody):
    other = world.ready("dev", "test", number=3)
    promotion = world.request(other, "prod", mode="canary", percent=5)
    with pytest.raises(Conflict, match="already"):
        world.approve(promotion)
    world.registry.add("else", 1)
    alone = world.build(product="else", model="else")
    with pytest.raises(Conflict, match="promote it whole"):
        world.request(alone, "dev", mode="canary", percent=5)
    another = world.build(number=4)
    with pytest.raises(Invalid, match="1 to 99"):
        world.request(another, "dev", mode="canary", percent=100)


def test_what_is_revoked_is_on_trial_no_more(world, stable, canary):
    world.registry.change("credit", 2, state="revoked")
    world.watch.run_trials()
    assert world.sides(KEYS[:200]) == {stable.id}
    (alert,) = world.entries("alert")
    assert "revoked" in alert.context["problem"]


def test_a_rollback_ends_the_trial(world, canary):
    earlier = world.ready(*ALL, number=3)
    release = world.ready("dev", "test", number=4)
    world.approve(world.request(release, "prod", mode="canary", percent=99))
    world.roll_back("prod")
    assert release.id not in world.sides(KEYS[:200])
    assert earlier.id not in world.sides(KEYS[:200])


def test_a_trial_is_of_models_and_of_nothing_that_would_not_be_tried(world):
    """A share of requests cannot have other guards, tools or another prompt: that is said, and not signed away."""
    world.declare()
    running = world.ready("dev", application="chat", tools=["search"])
    other_tools = world.build(number=2, application="chat", tools=["search", "mail"])
    without = world.build(number=2)
    same = world.build(number=2, application="chat", tools=["search"])
    for release in (other_tools, without):
        with pytest.raises(Conflict, match="not enforceable"):
            world.request(release, "dev", mode="canary", percent=10)
    world.request(same, "dev", mode="canary", percent=10)
    assert world.running("dev") == running.id
