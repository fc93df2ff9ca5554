"""Promotions: refused first, each with what is missing; then by somebody else; and what two do at once."""

import contextlib
import threading

import pytest

from vallum.kernel.errors import Conflict, Invalid, NotFound, VallumError
from vallum.kernel.policy import OwnRequest
from vallum.kernel.values import Subject, SubjectKind, TenantId
from vallum.releases import CardScore, PromotionRefused, ReleaseRevoked, load_rules
from vallum.releases.manifest import ManifestIndex

TWO = """
[[environment]]
name = "dev"
approvals = 0
[[environment]]
name = "prod"
approvals = 2
[[rule]]
checks = ["scan"]
"""


def test_each_check_is_named_with_what_satisfies_it(world):
    release = world.build()
    world.promote(release, "dev")
    with pytest.raises(PromotionRefused) as refused:
        world.request(release, "test")
    text = str(refused.value)
    assert "card: credit/1: it has no model card; vallum models describe credit/1 shows what is missing" in text
    assert (
        f"tests: there is no result of tests; vallum release attest {release.id} tests --passed --report FILE" in text
    )
    world.cards.known["credit", 1] = CardScore(65, ("intended use",))
    with pytest.raises(PromotionRefused, match="65 % complete, without intended use; 70 % are asked for"):
        world.request(release, "test")
    world.cards.known["credit", 1] = CardScore(80)
    world.attest(release, "tests", passed=False)
    with pytest.raises(PromotionRefused, match="says that it does not pass"):
        world.request(release, "test")
    world.attest(release, "tests")
    assert world.request(release, "test").state == "waiting"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "block"}, "scan: credit/1: the scanner's verdict is block"),
        ({"verdict": "review"}, "scan: credit/1: the scanner's verdict is review"),
        ({"signer": None}, "signature: credit/1: nobody signed it"),
    ],
)
def test_dev_too_takes_only_what_was_scanned_and_signed(world, change, said):
    release = world.build()
    world.registry.change("credit", 1, **change)
    with pytest.raises(PromotionRefused, match=said):
        world.request(release, "dev")
    assert world.running("dev") is None


def test_a_reviewed_version_passes_and_a_strange_signer_does_not(world, tmp_path):
    (tmp_path / "rules.toml").write_text('signers = ["key:ours"]\n' + TWO.replace('["scan"]', '["scan", "signature"]'))
    world.open(load_rules(tmp_path / "rules.toml"))
    release = world.build()
    world.registry.change("credit", 1, verdict="review", reviewed_by="person:per_eve")
    with pytest.raises(PromotionRefused, match="signed by key:builder, whose signature does not count here") as refused:
        world.request(release, "dev")
    assert "scan:" not in str(refused.value)
    world.registry.change("credit", 1, signer="key:ours")
    assert world.request(release, "dev").state == "approved"


def test_a_check_that_cannot_run_has_failed(world):
    release = world.promote(world.build(), "dev")
    world.complete(release)
    world.cards.score = lambda *_: (_ for _ in ()).throw(NotFound("the cards are gone"))
    with pytest.raises(PromotionRefused, match="card: the check could not be run: the cards are gone"):
        world.request(release, "test")


def test_environments_come_in_their_order(world):
    release = world.build()
    world.complete(release)
    for later, before in (("test", "dev"), ("prod", "test")):
        with pytest.raises(PromotionRefused, match=f"vallum release promote {release.id} --to {before}"):
            world.request(release, later)
    with pytest.raises(NotFound, match="dev, test, prod"):
        world.request(release, "moon")
    world.promote(release, "dev", "test", "prod")
    assert world.running("prod") == release.id
    assert world.registry.aliases == {("credit", e): 1 for e in ("dev", "test", "prod")}


def test_somebody_else_decides(world, somebody):
    release = world.promote(world.build(by=somebody("ada")), "dev")
    world.complete(release)
    promotion = world.request(release, "test", by=somebody("carl"))
    strangers = (
        somebody("carl"),  # asked
        somebody("carl-second", holder="per_carl"),
        somebody("ada"),  # built
        somebody("ada-second", holder="per_ada"),
        Subject(SubjectKind.SERVICE, "svc_ci", TenantId("default")),  # nobody
        Subject(SubjectKind.SYSTEM, "vallum", TenantId("default")),
    )
    for by in strangers:
        with pytest.raises(OwnRequest):
            world.approve(promotion, by)
        with pytest.raises(OwnRequest), world.records.write() as conn:
            world.releases.promotions.deny(conn, promotion.id, by)
    assert world.running("test") is None
    done = world.approve(promotion)
    assert (done.state, done.approvals, done.decided_by) == ("approved", ("person:per_bob",), "person:per_bob")
    assert world.running("test") == release.id
    with pytest.raises(Conflict, match="approved already"):
        world.approve(promotion, somebody("dora"))


def test_two_approvals_are_two_human_beings(world, somebody, tmp_path):
    (tmp_path / "rules.toml").write_text(TWO)
    world.open(load_rules(tmp_path / "rules.toml"))
    release = world.promote(world.build(), "dev")
    promotion = world.request(release, "prod")
    assert world.approve(promotion, somebody("bob")).state == "waiting"
    for again in (somebody("bob"), somebody("bob-second", holder="per_bob")):
        with pytest.raises(Conflict, match="somebody else"):
            world.approve(promotion, again)
    assert world.running("prod") is None
    assert world.approve(promotion, somebody("dora")).approvals == ("person:per_bob", "person:per_dora")
    assert world.running("prod") == release.id


def test_what_was_right_when_asked_is_asked_again_when_approved(world):
    release = world.promote(world.build(), "dev")
    world.complete(release)
    promotion = world.request(release, "test")
    world.attest(release, "tests", passed=False)
    with pytest.raises(PromotionRefused, match="tests"):
        world.approve(promotion)
    world.attest(release, "tests")
    world.registry.change("credit", 1, state="revoked")
    with pytest.raises(ReleaseRevoked, match="credit/1"):
        world.approve(promotion)
    world.registry.change("credit", 1, state="available", digest="0" * 64)
    with pytest.raises(VallumError, match="not the one"):
        world.approve(promotion)
    with world.records.read() as conn:
        one = world.releases.promotions.one(conn, promotion.id)
    assert (one.state, one.approvals) == ("waiting", ())  # an approval that deployed nothing was none


def test_denied_cancelled_and_asked_twice(world, somebody):
    release = world.promote(world.build(), "dev")
    world.complete(release)
    promotion = world.request(release, "test")
    with pytest.raises(Conflict, match=promotion.id):
        world.request(release, "test", by=somebody("carl"))
    with pytest.raises(NotFound), world.records.write() as conn:
        world.releases.promotions.cancel(conn, promotion.id, somebody("carl"))
    with world.records.write() as conn:
        world.releases.promotions.deny(conn, promotion.id, somebody("bob"), "not before Monday")
    with pytest.raises(Conflict, match="denied"):
        world.approve(promotion)
    other = world.request(release, "test")
    with world.records.write() as conn:
        world.releases.promotions.cancel(conn, other.id, somebody("ada-second", holder="per_ada"))
    assert [p.state for p in world.releases.promotions.list()] == ["cancelled", "denied", "approved"]
    with pytest.raises(Conflict, match="runs in dev already"):
        world.request(release, "dev")
    with pytest.raises(Invalid), world.records.write() as conn:
        from vallum.releases import Wanted

        world.releases.promotions.request(
            conn, Wanted(release=release.id, environment="test", reason=""), somebody("x")
        )


def test_facts_for_policy(world):
    release = world.promote(world.build(), "dev")
    world.complete(release)
    promotion = world.request(release, "test")
    assert world.releases.promotions.facts(promotion.id).attributes == {
        "tenant": "default", "holder": "per_ada", "builder": "per_ada", "environment": "test",
        "classification": "internal",
    }  # fmt: skip
    assert world.releases.promotions.facts("prm_none") is None


@pytest.mark.long
def test_of_those_who_decide_at_once_one_wins(world, somebody):
    for number in range(1, 5):
        release = world.promote(world.build(number=number), "dev")
        world.complete(release)
        promotion = world.request(release, "test")
        won, start = [], threading.Barrier(3)

        def decide(name, method, promotion=promotion, won=won, start=start):
            start.wait()
            try:
                with world.records.write() as conn:
                    getattr(world.releases.promotions, method)(conn, promotion.id, somebody(name))
                won.append(method)
            except Conflict:
                pass

        threads = [
            threading.Thread(target=decide, args=args)
            for args in (("bob", "approve"), ("dora", "approve"), ("eve", "deny"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert (world.running("test") == release.id) == (won == ["approve"])


@pytest.mark.long
def test_revoked_while_it_is_approved_does_not_run(world, somebody):
    """Whichever comes first, afterwards a revoked release runs nowhere."""
    for number in range(1, 6):
        release = world.promote(world.build(number=number), "dev")
        world.complete(release)
        promotion = world.request(release, "test")
        start = threading.Barrier(2)

        def approve(promotion=promotion, start=start):
            start.wait()
            with contextlib.suppress(VallumError):
                world.approve(promotion)

        def revoke(release=release, start=start):
            start.wait()
            world.revoke(release)

        threads = [threading.Thread(target=approve), threading.Thread(target=revoke)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert world.running("test") != release.id
        assert world.running("dev") != release.id


def test_data_is_vouched_for_where_there_is_any_and_asked_of_the_platform_first(world, monkeypatch):
    """Of an index, too; not of what rests on none; and no steward's word stands against a data set that is not."""
    world.declare()
    monkeypatch.setattr("vallum.releases.catalogue.not_enforceable", lambda wanted: ())  # an index in an older release
    bound = [(ManifestIndex("handbook", "a" * 64), "public")]
    monkeypatch.setattr("vallum.releases.indexes.Indexes.bind", lambda self, conn, declared: bound if declared else [])
    index = [{"name": "handbook", "digest": "a" * 64}]
    plain = world.build(product="a", model=None, application="chat")
    indexed = world.build(product="b", model=None, application="chat", indexes=index)
    trained = world.build()

    class DataSets:
        known = {1: []}

        def unapproved(self, conn, model, number):
            return self.known.get(number)

    def data(release):
        with world.records.read() as conn:
            (found,) = [c for c in world.releases.promotions.check(conn, release.id, "prod") if c.check == "data"]
        return found.passed, found.remedy

    remedy = "vallum release attest {} data --passed --report FILE".format
    assert data(plain) == (True, "")
    assert data(indexed) == (False, remedy(indexed.id))
    assert data(trained) == (False, remedy(trained.id))
    world.attest(indexed, "data")
    assert data(indexed) == (True, "")
    world.open(data=DataSets())
    assert data(trained) == (True, "")
    world.attest(trained, "data")
    DataSets.known = {1: ["loans/3"]}
    assert data(trained) == (False, "vallum data approve loans/3")


def test_a_check_that_meets_something_altered_says_what_helps(world):
    from vallum.models.registry import VersionDamaged

    class Damaged:
        def score(self, conn, model, number):
            raise VersionDamaged("README.md of credit/1 was altered in the blob store")

    release = world.build()
    world.promote(release, "dev")
    world.cards = Damaged()
    world.open()
    with pytest.raises(PromotionRefused, match=r"in the blob store; restore what was altered, or upload it"):
        world.request(release, "test")
