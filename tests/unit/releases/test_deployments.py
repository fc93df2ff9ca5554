"""What serving is told: only what verifies, at once after a change, and bytes that are what was deployed."""

import msgspec
import pytest

from vallum.kernel.errors import Conflict, IntegrityError
from vallum.models.runtime.ports import Deployments
from vallum.releases import EPOCH, ReleaseBroken, ReleaseRevoked

ALL = ("dev", "test", "prod")


def test_it_is_what_serving_asks_for(world):
    port: Deployments = world.releases.deployments
    release = world.ready("dev")
    world.releases.deployments.refresh()
    found = port.current("dev", "credit", "somebody")
    assert (found.environment, found.product, found.release) == ("dev", "credit", release.id)
    assert (found.model, found.version) == ("credit", 1)
    assert found.digest == world.registry.versions["credit", 1].digest
    assert found.serving.file == "model.onnx"
    assert port.current("prod", "credit", "somebody") is None
    assert port.current("dev", "other", "somebody") is None


def test_a_model_without_serving_is_in_the_release_and_not_served(world):
    world.registry.add("embedder", 1)
    world.ready("dev", models=[{"name": "embedder", "version": 1}])
    world.releases.deployments.refresh()
    assert world.releases.deployments.current("dev", "embedder", "x") is None


def test_a_change_moves_the_epoch_that_processes_follow(world):
    from vallum.kernel.store.epochs import read_epochs

    def epoch():
        with world.records.read() as conn:
            return read_epochs(conn).get(EPOCH, 0)

    seen = [epoch()]
    first = world.ready("dev", number=1)
    seen.append(epoch())
    world.ready("dev", number=2)
    seen.append(epoch())
    world.roll_back("dev")
    seen.append(epoch())
    world.revoke(first)
    seen.append(epoch())
    assert seen == sorted(set(seen))


def test_verified_when_it_is_loaded(world, tmp_path):
    release = world.ready("dev")
    deployments = world.releases.deployments
    deployments.refresh()
    found = deployments.current("dev", "credit", "")
    deployments.checkout(found, tmp_path / "one")
    assert (tmp_path / "one" / "model.onnx").read_bytes() == b"weights 1"
    for other in (
        msgspec.structs.replace(found, version=2),
        msgspec.structs.replace(found, digest="0" * 64),
        msgspec.structs.replace(found, model="other"),
    ):
        with pytest.raises(ReleaseBroken):
            deployments.checkout(other, tmp_path / "two")
    world.registry.contents["credit", 1] = b"changed"
    with pytest.raises(IntegrityError):
        deployments.checkout(found, tmp_path / "two")
    world.registry.change("credit", 1, digest="0" * 64)
    with pytest.raises(ReleaseBroken):
        deployments.checkout(found, tmp_path / "two")
    world.registry.change("credit", 1, state="revoked")
    with pytest.raises(Conflict):
        deployments.checkout(found, tmp_path / "two")
    world.registry.change("credit", 1, state="available")
    world.revoke(release)
    with pytest.raises(ReleaseRevoked):
        deployments.checkout(found, tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_what_does_not_verify_answers_nobody(world):
    first, second = (world.ready(*ALL, number=number) for number in (1, 2))
    deployments = world.releases.deployments
    deployments.refresh()
    world.sql("UPDATE release_deployments SET release = :r WHERE environment = 'prod' AND ended IS NULL", r=first.id)
    deployments.refresh()
    assert deployments.current("prod", "credit", "") is None
    assert deployments.current("test", "credit", "").release == second.id


def test_a_process_does_not_go_back_to_a_deployment_that_ended(world):
    """The newer row taken away altogether: whoever has seen it knows."""
    world.ready(*ALL, number=1), world.ready(*ALL, number=2)
    deployments = world.releases.deployments
    deployments.refresh()
    world.sql("DELETE FROM release_deployments WHERE environment = 'prod' AND sequence = 2")
    world.sql("UPDATE release_deployments SET ended = NULL WHERE environment = 'prod' AND sequence = 1")
    deployments.refresh()
    assert deployments.current("prod", "credit", "") is None


def test_an_ended_deployment_answers_no_process_while_a_newer_one_is_recorded(world):
    """Nor one that has seen neither."""
    ended, _ = world.ready(*ALL, number=1), world.ready(*ALL, number=2)
    world.sql("UPDATE release_deployments SET ended = NULL WHERE environment = 'prod' AND sequence = 1")
    fresh = world.open().releases.deployments
    assert fresh.current("prod", "credit", "").version == 2
    world.sql("UPDATE release_deployments SET ended = 'replaced' WHERE environment = 'prod' AND sequence = 2")
    assert world.running("prod") == ended.id
    fresh = world.open().releases.deployments
    assert fresh.current("prod", "credit", "") is None
    assert fresh.current("test", "credit", "").version == 2


def test_what_holds_something_revoked_answers_nobody(world, somebody):
    """Even before anybody looked: with a version revoked in the registry alone."""
    first, second = (world.ready(*ALL, number=number) for number in (1, 2))
    world.registry.change("credit", 2, state="revoked")
    deployments = world.releases.deployments
    deployments.refresh()
    assert deployments.current("prod", "credit", "") is None
    with world.records.write() as conn:
        left = world.releases.environments.revoke_version(conn, "credit", 2, somebody("eve"))
    assert sorted(left) == sorted(ALL)
    deployments.refresh()
    assert deployments.current("prod", "credit", "").release == first.id
    assert [(one.kind, one.ended) for one in world.history("prod")[:2]] == [
        ("revocation", None),
        ("promotion", "revoked"),
    ]
    with world.records.write() as conn:
        assert world.releases.environments.revoke_version(conn, "credit", 5, somebody("eve")) == []
    assert second.id not in {world.running(name) for name in ALL}


def test_all_that_answers_or_hears_is_deployed(world):
    world.ready(*ALL, number=1)
    other = world.ready("dev", "test", number=2)
    world.approve(world.request(other, "prod", mode="shadow", percent=10))
    deployments = world.releases.deployments
    deployments.refresh()
    assert [one.version for one in deployments.deployed("prod", "credit")] == [1, 2]
    assert [one.version for one in deployments.deployed("test", "credit")] == [2]
    assert deployments.deployed("prod", "nothing") == ()


def test_what_was_said_to_be_served_is_forgotten_when_something_else_runs(world):
    from vallum.releases import Served

    def said():
        with world.records.read() as conn:
            return world.releases.served.loaded(conn, "prod")

    world.ready(*ALL, number=1)
    deployments = world.releases.deployments
    deployments.refresh()
    one = deployments.current("prod", "credit", "")
    with world.records.write() as conn:
        world.releases.served.say(conn, "worker-1", [(one, "")])
    assert said() == [Served("worker-1", "prod", "credit", one.release, one.digest)]
    world.ready(*ALL, number=2)
    assert said() == []
    with world.records.write() as conn:  # a process that does not follow says it again, and that is seen
        world.releases.served.say(conn, "worker-1", [(one, "")])
    assert [problem.kind for problem in world.watch.look("prod", "credit")] == ["serving"]


TAMPERED = {
    "a release's digest": (
        "UPDATE releases SET digest = CASE substr(digest, 1, 1) WHEN 'f' THEN '0' ELSE 'f' END || substr(digest, 2)"
        " WHERE id = :id"
    ),
    "its class": "UPDATE releases SET classification = 'public!' WHERE id = :id",
    "its models": "UPDATE releases SET models = '[\"credit/2\"]' WHERE id = :id",
    "models that nobody can read": "UPDATE releases SET models = '{' WHERE id = :id",
    "its product": "UPDATE releases SET product = 'other' WHERE id = :id",
    "its manifest": "UPDATE releases SET envelope = (SELECT envelope FROM releases WHERE id <> :id) WHERE id = :id",
    "the deployment": "UPDATE release_deployments SET kind = 'healing' WHERE release = :id",
    "which one": "UPDATE release_deployments SET release = (SELECT min(id) FROM releases WHERE id <> :id) "
    "WHERE release = :id",
    "no such release": "UPDATE release_deployments SET release = 'rel_none' WHERE release = :id",
    "a sequence": "UPDATE release_deployments SET sequence = sequence + 7 WHERE release = :id",
}
OF_ANOTHER_TYPE = {
    "text for a manifest": "UPDATE releases SET envelope = '{}' WHERE id = :id",
    "text for a deployment": "UPDATE release_deployments SET envelope = '{}' WHERE release = :id",
    "text for a number": "UPDATE release_deployments SET sequence = 'x' WHERE release = :id",
    "bytes for models": "UPDATE releases SET models = x'ff' WHERE id = :id",
}


@pytest.mark.parametrize("how", [*TAMPERED, *OF_ANOTHER_TYPE])
def test_what_was_tampered_with_answers_nobody_and_holds_up_nobody_else(world, how):
    """Were one row enough to stop the look at all, no revocation would reach anybody."""
    if how in OF_ANOTHER_TYPE and world.records.dialect != "sqlite":
        pytest.skip("PostgreSQL holds columns to their types")
    world.registry.add("other", 1, b"other weights")
    bad = world.ready("dev", number=1)
    good = world.ready("dev", product="other", model="other")
    deployments = world.releases.deployments
    deployments.refresh()
    assert deployments.current("dev", "credit", "k").release == bad.id
    world.sql((TAMPERED | OF_ANOTHER_TYPE)[how], id=bad.id)
    deployments.refresh()
    assert deployments.current("dev", "credit", "k") is None
    assert deployments.current("dev", "other", "k").release == good.id
    world.watch.run()
    assert any(entry.asset == "Environment:dev" for entry in world.entries("alert"))
    world.revoke(good)
    deployments.refresh()
    assert deployments.current("dev", "other", "k") is None
