"""Going on, going back, and what never comes back."""

import time

import pytest

from vallum.inventory import parse_files
from vallum.kernel.actions import Action
from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.values import AssetRef
from vallum.releases import NothingToRollBackTo, ReleaseBroken, ReleaseRevoked

ALL = ("dev", "test", "prod")


def test_rolling_back_leads_to_the_last_good_one(world):
    first, second, third = (world.ready(*ALL, number=number) for number in (1, 2, 3))
    begun = time.monotonic()
    assert world.roll_back("prod").release == second.id
    assert time.monotonic() - begun < 5.0
    assert world.running("prod") == second.id
    assert world.registry.aliases["credit", "prod"] == 2
    assert world.running("test") == third.id
    # Again: not to the one that was just taken back.
    assert world.roll_back("prod").release == first.id
    with pytest.raises(NothingToRollBackTo):
        world.roll_back("prod")
    assert [(d.sequence, d.release, d.kind, d.ended) for d in world.history("prod")] == [
        (5, first.id, "rollback", None), (4, second.id, "rollback", "rolled_back"),
        (3, third.id, "promotion", "rolled_back"), (2, second.id, "promotion", "replaced"),
        (1, first.id, "promotion", "replaced"),
    ]  # fmt: skip


def test_what_was_taken_back_may_be_promoted_again_and_is_good_again(world):
    first, second = (world.ready(*ALL, number=number) for number in (1, 2))
    world.roll_back("prod")
    world.promote(second, "prod")
    third = world.ready(*ALL, number=3)
    assert world.running("prod") == third.id
    assert world.roll_back("prod").release == second.id
    assert first.id != second.id


def test_to_an_earlier_one_by_name(world):
    first, _, third = (world.ready(*ALL, number=number) for number in (1, 2, 3))
    never = world.ready("dev", "test", number=4)
    with pytest.raises(NotFound, match="never ran in prod"):
        world.roll_back("prod", to=never.id)
    with pytest.raises(Conflict, match="already"):
        world.roll_back("prod", to=third.id)
    assert world.roll_back("prod", to=first.id).release == first.id


def test_nothing_revoked_comes_back(world):
    first, second, third = (world.ready(*ALL, number=number) for number in (1, 2, 3))
    world.revoke(second)
    with pytest.raises(ReleaseRevoked):
        world.roll_back("prod", to=second.id)
    world.registry.change("credit", 1, state="revoked")
    with pytest.raises(ReleaseRevoked, match="credit/1"):
        world.roll_back("prod", to=first.id)
    with pytest.raises(NothingToRollBackTo):
        world.roll_back("prod")
    with pytest.raises(ReleaseRevoked):
        world.request(second, "dev")
    assert world.running("prod") == third.id


def test_a_release_that_is_revoked_where_it_runs_goes_everywhere_at_once(world):
    first = world.ready(*ALL, number=1)
    second = world.ready("dev", "test", number=2)
    assert world.revoke(second) == ["dev", "test"]
    assert [world.running(e) for e in ALL] == [first.id] * 3
    assert world.history("test")[0].kind == "revocation"
    assert world.revoke(first) == ["dev", "prod", "test"]
    assert [world.running(e) for e in ALL] == [None] * 3
    with pytest.raises(NothingToRollBackTo):
        world.roll_back("prod")


def test_a_deployment_that_somebody_wrote_into_the_database_is_none(world):
    """Another release in the row; an earlier row alive again; dev's statement in prod."""
    first, second = (world.ready(*ALL, number=number) for number in (1, 2))

    def verify(environment="prod"):
        with world.records.read() as conn:
            environments = world.releases.environments
            return environments.verify_row(conn, environments.running(conn, environment, "credit"))

    assert verify()[0].id == second.id
    prod = "environment = 'prod' AND sequence = 2"
    world.sql(f"UPDATE release_deployments SET release = '{first.id}' WHERE {prod}")
    with pytest.raises(ReleaseBroken, match="not what was deployed"):
        verify()
    world.sql(f"UPDATE release_deployments SET release = '{second.id}' WHERE {prod}")
    of_dev = world.sql(
        "SELECT envelope FROM release_deployments WHERE environment = 'dev' AND sequence = 2"
    ).scalar_one()
    of_prod = world.sql(f"SELECT envelope FROM release_deployments WHERE {prod}").scalar_one()
    world.sql(f"UPDATE release_deployments SET envelope = :e WHERE {prod}", e=of_dev)
    with pytest.raises(ReleaseBroken, match="another key"):
        verify()
    world.sql(f"UPDATE release_deployments SET envelope = :e WHERE {prod}", e=of_prod)
    assert verify()[0].id == second.id


def test_a_name_leads_to_one_product(world):
    world.declare()
    world.registry.add("shared", 1)
    world.ready("dev", number=1, application="chat", models=[{"name": "shared", "version": 1}])
    other = world.build(product="other", models=[{"name": "shared", "version": 1}])
    with pytest.raises(Conflict, match="shared is served in dev by product credit"):
        world.request(other, "dev")
    same = world.build(product="third", model=None, application="chat")
    with pytest.raises(Conflict, match="application chat is governed in dev by product credit"):
        world.request(same, "dev")


def test_the_last_environment_governs_its_application(world):
    """Its guards come back with a rollback; what dev tries changes nothing while prod runs."""
    inventory = world.platform.inventory

    def mode():
        inventory.refresh()
        return inventory.application("chat").guards.input.injection

    world.declare()
    world.ready(*ALL, application="chat", number=1)
    weaker = '[applications.chat]\nowner = "else"\nmodels = ["handbook"]\nenabled = false\n'
    with world.records.write() as conn:
        inventory.apply(conn, parse_files({"y.toml": weaker}))
    second = world.ready("dev", application="chat", number=2)
    assert mode() == "detect"  # as somebody applied it: dev says nothing about it
    world.promote(second, "test", "prod")
    assert mode() == "detect"
    world.roll_back("prod")
    assert mode() == "block"
    application = inventory.application("chat")
    assert (application.owner, application.enabled) == ("else", False)  # the switch stays as it was thrown


def test_what_the_ledger_says_was_revoked_comes_back_by_no_row(world):
    release = world.ready(*ALL)
    again = world.ready(*ALL, number=2)
    world.revoke(release)
    entry = EntryDraft(
        tenant="default", kind="change", subject="person:eve", action=Action.RELEASE_REVOKE,
        asset=AssetRef("Release", release.id).render(), effect="allow", outcome="ok",
    )  # fmt: skip
    with world.records.write() as conn:
        world.platform.ledger.append(conn, [entry])
    world.entries("change")  # numbers them, where that takes a moment
    with pytest.raises(ReleaseRevoked):
        world.roll_back("prod", to=release.id)
    world.sql("UPDATE releases SET state = 'built', revoked_by = NULL, revoked_at = NULL WHERE id = :i", i=release.id)
    for way_back in (lambda: world.roll_back("prod", to=release.id), lambda: world.request(release, "dev")):
        with pytest.raises(ReleaseBroken, match="revoked by the ledger"):
            way_back()
    assert world.running("prod") == again.id


def test_the_last_environment_that_runs_it_says_whose_policy_holds(world):
    """And one whose deployment does not verify says nothing."""
    world.declare()

    def governing(name="chat"):
        with world.records.read() as conn:
            found = world.releases.environments.governing(conn, name)
        return found and (found[0], found[1], found[2].name)

    assert governing() is None
    first = world.ready(*ALL, application="chat")
    assert governing() == ("prod", first.id, "chat")
    second = world.ready("dev", "test", number=2, application="chat")
    assert governing() == ("prod", first.id, "chat")
    assert governing("other") is None
    world.sql("UPDATE release_deployments SET release = 'rel_nobodys' WHERE environment = 'prod'")
    assert governing() == ("test", second.id, "chat")
    world.sql("UPDATE release_deployments SET ended = 'replaced' WHERE environment <> 'dev'")
    assert governing() is None


def test_nobody_brings_guards_of_an_earlier_day_back_all_by_themselves(world):
    """An engineer keeps a release that was built while guards were weak, and runs it where nobody approves."""
    inventory = world.platform.inventory

    def mode():
        inventory.refresh()
        return inventory.application("chat").guards.input.injection

    weak = '[applications.chat]\nowner = "else"\nmodels = ["handbook"]\nguards.input = { injection = "off" }\n'
    world.declare(f'[providers.here]\nkind = "extractive"\n[models.handbook]\nprovider = "here"\n{weak}')
    kept = world.build(application="chat")
    world.declare()
    assert mode() == "block"
    world.promote(kept, "dev")
    other = world.ready("dev", application="chat", number=2)
    world.roll_back("dev", to=kept.id)
    world.watch.run()
    assert (world.running("dev"), mode()) == (kept.id, "block")
    assert world.watch.look("dev", "credit") == ()
    world.complete(kept)
    world.promote(kept, "test")  # which somebody else approved
    assert mode() == "off"
    assert world.running("dev") != other.id
