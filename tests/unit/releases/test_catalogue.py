"""Releases are built once, hold what was meant, and cannot be altered by who has the database alone."""

import msgspec
import pytest

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.policy import OwnRequest
from vallum.releases import Declaration, ManifestRefused, ReleaseBroken, ReleaseRevoked

SECRET = "You are Vallum. The password is hunter2."


def read(world, release):
    with world.records.read() as conn:
        return world.releases.catalogue.manifest(conn, release.id)


def test_a_release_holds_everything_that_runs_together(world):
    world.declare()
    world.registry.add("other", 7, classification="confidential", risk_class="high")
    release = world.build(
        application="chat",
        models=[{"name": "other", "version": 7}, {"name": "credit", "version": 1}],
        prompts=[{"name": "system", "text": SECRET}],
        tools=["search", "mail"],
        dependencies="b" * 64,
    )  # fmt: skip
    again, manifest = read(world, release)
    assert again == release
    assert (release.state, release.built_by) == ("built", "person:per_ada")
    assert [(m.name, m.version) for m in manifest.models] == [("credit", 1), ("other", 7)]
    assert manifest.model("credit").digest == world.registry.versions["credit", 1].digest
    assert manifest.application.guards.input.injection == "block"
    assert manifest.tools == ("mail", "search")
    # The strictest class of any part is the release's.
    assert (manifest.classification, manifest.risk_class) == ("confidential", "high")
    with world.records.read() as conn:
        assert manifest.policy == world.platform.policy_store.in_force(conn)


def test_the_same_declaration_is_the_same_release(world):
    first = world.build()
    with pytest.raises(Conflict, match=first.id):
        world.build()
    assert world.build(number=2).digest != first.digest


def test_prompt_templates_lie_sealed_and_nowhere_else(world, tmp_path):
    world.declare()
    release = world.build(application="chat", prompts=[{"name": "system", "text": SECRET}])
    assert world.releases.catalogue.prompts(release.id) == {"system": SECRET}
    with world.records.read() as conn:
        assert SECRET.encode() not in world.releases.catalogue.envelope(conn, release.id)
    if world.records.dialect == "sqlite":
        for file in tmp_path.rglob("*.db*"):
            assert b"hunter2" not in file.read_bytes()
    other = world.build(number=2, application="chat", prompts=[{"name": "system", "text": "harmless"}])
    rows = world.sql("SELECT sealed FROM release_prompts WHERE release = :r", r=release.id).scalar_one()
    world.sql("UPDATE release_prompts SET sealed = :s WHERE release = :r", s=rows, r=other.id)
    with pytest.raises(Exception, match="sealed"):
        world.releases.catalogue.prompts(other.id)
    world.sql("DELETE FROM release_prompts WHERE release = :r", r=other.id)
    with pytest.raises(ReleaseBroken, match="not those that were signed"):
        world.releases.catalogue.prompts(other.id)


def test_what_nothing_here_would_hold_to_is_not_signed(world):
    """A promise that is signed and then ignored is worse than none."""
    world.declare()
    prompt = [{"name": "system", "text": SECRET}]
    for fields, says in (
        ({"prompts": prompt}, "without an application"),
        ({"tools": ["search"]}, "without an application"),
        ({"application": "chat", "prompts": [*prompt, {"name": "greeting", "text": "hi"}]}, "prompts.greeting"),
        ({"application": "chat", "indexes": [{"name": "handbook", "digest": "a" * 64}]}, "indexes"),
    ):
        with pytest.raises(ManifestRefused, match=f"{says}.*") as caught:
            world.build(**fields)
        assert "not enforceable here" in str(caught.value)
        assert SECRET not in str(caught.value)
    assert world.build(application="chat", prompts=prompt, tools=["search"]).state == "built"


def test_what_is_not_there_or_must_not_run_is_not_built(world):
    with pytest.raises(NotFound):
        world.build(number=99)
    with pytest.raises(NotFound, match="application"):
        world.build(application="chat")
    with pytest.raises(ManifestRefused, match="holds a model"):
        world.build(model=None)
    with pytest.raises(ManifestRefused, match="more than once"):
        world.build(tools=["a", "a"])
    world.registry.change("credit", 1, state="quarantined")
    with pytest.raises(Conflict, match="quarantined"):
        world.build()
    world.registry.change("credit", 1, state="revoked")
    with pytest.raises(ReleaseRevoked, match="credit/1"):
        world.build()
    assert world.releases.catalogue.listed() == []


def test_a_revoked_release_is_not_built_again_under_another_id(world):
    release = world.build()
    world.revoke(release)
    with pytest.raises(ReleaseRevoked, match=release.id):
        world.build()
    with pytest.raises(Conflict, match="already"):
        world.revoke(release)
    with pytest.raises(ReleaseRevoked):
        world.attest(release, "tests")


def test_a_release_altered_in_the_database_is_none(world):
    """Its envelope exchanged for another's, its classes lowered, its digest changed."""
    world.registry.add("other", 1, classification="restricted", risk_class="high")
    one, two = world.build(), world.build(model="other", product="other")
    kept = world.sql("SELECT envelope FROM releases WHERE id = :i", i=two.id).scalar_one()
    world.sql("UPDATE releases SET envelope = :e WHERE id = :i", e=kept, i=one.id)
    with pytest.raises(ReleaseBroken):
        read(world, one)
    for column, value in (("classification", "public"), ("risk_class", "minimal"), ("product", "credit")):
        before = world.sql(f"SELECT {column} FROM releases WHERE id = :i", i=two.id).scalar_one()
        world.sql(f"UPDATE releases SET {column} = :v WHERE id = :i", v=value, i=two.id)
        with pytest.raises(ReleaseBroken):
            read(world, two)
        world.sql(f"UPDATE releases SET {column} = :v WHERE id = :i", v=before, i=two.id)
    assert read(world, two)[0] == two


def test_evidence_is_signed_about_one_release_and_by_somebody_else(world, somebody):
    one, two = world.build(), world.build(number=2)
    for kind in ("data", "threats"):
        for builder in (somebody("ada"), somebody("ada-second", holder="per_ada")):
            with pytest.raises(OwnRequest):
                world.attest(one, kind, by=builder)
    world.attest(one, "tests", by=somebody("ada"))
    said = world.attest(one, "threats", passed=False)
    with world.records.read() as conn:
        assert [e.kind for e in world.releases.catalogue.evidence(conn, one.id)] == ["tests", "threats"]
        assert world.releases.catalogue.evidence(conn, two.id) == []
    # Evidence about one release moved to another, or turned around, is none.
    world.sql("UPDATE release_evidence SET release = :two WHERE id = :i", two=two.id, i=said.id)
    with pytest.raises(ReleaseBroken), world.records.read() as conn:
        world.releases.catalogue.evidence(conn, two.id)
    world.sql("UPDATE release_evidence SET release = :one, kind = 'data' WHERE id = :i", one=one.id, i=said.id)
    with pytest.raises(ReleaseBroken), world.records.read() as conn:
        world.releases.catalogue.evidence(conn, one.id)


def test_facts_for_policy(world):
    release = world.build()
    facts = world.releases.catalogue.facts(release.id).attributes
    assert facts == {
        "tenant": "default", "holder": "per_ada", "product": "credit", "classification": "internal",
        "risk_class": "limited",
    }  # fmt: skip
    assert world.releases.catalogue.facts("rel_none") is None
    with pytest.raises(NotFound), world.records.read() as conn:
        world.releases.catalogue.release(conn, "rel_none")
    with pytest.raises(Invalid), world.records.write() as conn:
        world.releases.catalogue.revoke(conn, release.id, "short", msgspec.UNSET)
    assert Declaration(product="p").classification == "public"
