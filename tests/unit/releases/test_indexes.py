"""Retrieval indexes of releases: bound by digest, asked for again, and told when what they hold is gone or altered."""

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from governed_data import contract, visits
from registered_models import person as actor

from vallum.api import ROUTES, Call, RawBody
from vallum.kernel.errors import Conflict, IntegrityError, NotFound
from vallum.releases import ManifestRefused, PromotionRefused, ReleaseBroken
from vallum.releases.adapters.data_sets import GovernedDataSets

ROUTE = {route.name: route for route in ROUTES}
INDEX = [{"name": "visits/1"}]


class Steward:
    """Data sets by their routes, as people take them in."""

    def __init__(self, world, tmp_path):
        self.world, self.blobs, self.control = world, tmp_path / "data" / "blobs" / "data", world.platform.control
        self.catalogue = self.control.services.data
        self.stella, self.stan = actor("stella", "data_steward"), actor("stan", "data_steward")  # with fresh factors

    def perform(self, route_name, subject, path, /, raw=None, **body):
        route = ROUTE[route_name]
        given = RawBody(iter([raw])) if raw is not None else msgspec.convert(body, route.body) if route.body else None
        return self.control.perform(route, Call(path=path, query=None, body=given, subject=subject)).value

    def take_in(self, rows, agreed=None, name="visits"):
        with self.world.records.read() as conn:
            there = {one.name for one in self.catalogue.data_sets(conn)}
        if name not in there:
            self.perform("create_data_set", self.stella, {}, name=name)
        body = {"file_name": "visits.csv", "contract": (agreed or contract()).decode(), "purpose": "care"}
        intake = self.perform("begin_data_intake", self.stella, {"name": name}, **body)
        path = {"name": name, "intake": intake.id}
        self.perform("send_data_source", self.stella, path, raw=rows)
        return self.perform("complete_data_intake", self.stella, path)

    def approve(self, version):
        path = {"name": version.dataset, "number": str(version.number)}
        self.perform("approve_data_version", self.stan, path, reason="checked with the ward")

    def erase(self, person):
        body = {"column": "email", "value": person, "reference": "DSR-17"}
        return self.perform("erase_data_subject", self.stella, {"name": "visits"}, **body)


@pytest.fixture
def steward(world, tmp_path):
    made = Steward(world, tmp_path)
    world.open(data=GovernedDataSets(made.catalogue))
    world.declare()
    return made


@pytest.fixture
def version(steward):
    made = steward.take_in(visits())
    steward.approve(made)
    return made


def indexed(world, *environments, indexes=INDEX, tools=(), **options):
    release = world.build(model=None, product="desk", application="chat", indexes=indexes, tools=list(tools), **options)
    for kind in ("tests", "threats"):
        world.attest(release, kind)
    return world.promote(release, *environments)


def problems(world, environment="dev"):
    return [(one.kind, one.heals) for one in world.watch.look(environment, "desk")]


def test_a_release_binds_the_version_that_is_there(world, steward, version):
    release = indexed(world)
    with world.records.read() as conn:
        _, manifest = world.releases.catalogue.manifest(conn, release.id)
        (use,) = steward.catalogue.uses(conn, "visits", 1)
    assert [(one.name, one.digest) for one in manifest.indexes] == [("visits/1", version.digest)]
    assert release.classification == version.classification  # of its rows, above the application's own
    assert (use.kind, use.used_by, use.by) == ("release", release.id, "person:per_ada")
    named = [{"name": "visits/1", "digest": version.digest}]
    assert indexed(world, indexes=named, tools=["search"]).state == "built"


def test_what_is_not_there_or_nobody_may_read_is_not_bound(world, steward, version):
    with pytest.raises(ManifestRefused, match="its digest is"):
        indexed(world, indexes=[{"name": "visits/1", "digest": "a" * 64}])
    with pytest.raises(NotFound, match="no version 9 of visits"):
        indexed(world, indexes=[{"name": "visits/9"}])
    for name in ("visits", "visits/0", "visits/01", "visits/x", "Visits/1", "visits/1/email"):
        with pytest.raises(ManifestRefused, match=r"not enforceable here.*NAME/NUMBER"):
            indexed(world, indexes=[{"name": name}])
    steward.erase("p3@example.org")
    with pytest.raises(Conflict, match="visits/1 was erased: build a release with another version"):
        indexed(world)
    world.open()
    with pytest.raises(ManifestRefused, match="nothing here knows of data sets"):
        indexed(world, indexes=[{"name": "visits/2"}])
    with world.records.read() as conn:
        assert world.releases.catalogue.listed() == []
        assert steward.catalogue.uses(conn, "visits") == []


def test_production_asks_for_its_approval(world, steward):
    made = steward.take_in(visits())
    release = indexed(world, "dev", "test")
    with pytest.raises(PromotionRefused, match=r"data: it retrieves from visits/1, not approved; vallum data approve"):
        world.request(release, "prod")
    world.attest(release, "data")  # no steward's word stands against what the platform itself knows
    with pytest.raises(PromotionRefused, match="not approved"):
        world.request(release, "prod")
    steward.approve(made)
    world.promote(release, "prod")
    assert world.running("prod", "desk") == release.id
    assert problems(world, "prod") == []


def test_one_that_was_erased_is_told_and_goes_nowhere_else(world, steward, version):
    release = indexed(world, "dev", "test")
    steward.erase("p3@example.org")
    assert problems(world) == [("index", False)]
    world.watch.run()
    assert world.running("dev", "desk") == release.id
    assert "visits/1 was erased" in world.entries("alert")[0].context["found"]
    with pytest.raises(Conflict, match="was erased"):
        world.request(release, "prod")
    with world.records.read() as conn:
        remade = steward.catalogue.version(conn, "visits", 2)
    steward.approve(remade)
    indexed(world, "dev", indexes=[{"name": "visits/2"}])
    assert problems(world) == []
    with pytest.raises(Conflict, match="was erased"):
        world.roll_back("dev", "desk", to=release.id)
    with pytest.raises(Conflict, match="no earlier release of desk"):
        world.roll_back("dev", "desk")


def test_rows_that_turn_out_to_be_bad_are_told(world, steward):
    lax = contract().replace(b"minimum: 0", b"minimum: -5")
    version = steward.take_in(visits(spoil=(3,)), lax)
    steward.approve(version)
    release = indexed(world, "dev", "test")
    assert problems(world) == []
    assert steward.take_in(visits(spoil=(3,))).quarantined == 1
    assert problems(world) == [("index", False)]
    with pytest.raises(PromotionRefused, match="quarantined with visits/2"):
        world.request(release, "prod")


def test_a_trial_is_of_models_and_not_of_indexes(world, steward, version):
    indexed(world, "dev")
    steward.take_in(visits(first=100))
    other = indexed(world, indexes=[{"name": "visits/2"}])
    with pytest.raises(Conflict, match="indexes are not enforceable for a share"):
        world.request(other, "dev", mode="shadow", percent=100)


ROW = "UPDATE data_set_versions SET {} WHERE dataset = 'visits' AND number = 1"
EVIL = "(SELECT {0} FROM data_set_versions WHERE dataset = 'evil')"
TAKEN = ("id", "sealed_key", "parts", "report", "columns", "rows", "size")


def altered_blob(steward):
    file = next(path for path in sorted(steward.blobs.rglob("*")) if path.is_file())
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def other_rows(steward, *more):
    """Rows of another version, with its key, in the place of those that were approved."""
    steward.take_in(visits(first=900), name="evil")
    taken = [f"{name} = {EVIL.format(name)}" for name in (*TAKEN, *more) if name != "id"]
    (evil,) = steward.world.sql("SELECT id FROM data_set_versions WHERE dataset = 'evil'").scalars()
    steward.world.sql("UPDATE data_set_versions SET id = 'moved' WHERE dataset = 'evil'")
    steward.world.sql(ROW.format(", ".join([*taken, f"id = '{evil}'"])))


def cut_rows(steward):
    (raw,) = steward.world.sql("SELECT parts FROM data_set_versions").scalars()
    layout = msgspec.json.decode(bytes(raw))
    steward.world.sql(ROW.format("parts = :p, rows = 0"), p=msgspec.json.encode({**layout, "parts": []}))


ATTACKS = {
    "its blob is altered": altered_blob,
    "its blobs are gone": lambda steward: [path.unlink() for path in steward.blobs.rglob("*") if path.is_file()],
    "another version's rows": other_rows,
    "another version's rows with what was signed of them": lambda steward: other_rows(
        steward, "report_sha256", "envelope"
    ),
    "rows are cut off": cut_rows,
    "its digest is another": lambda steward: steward.world.sql(ROW.format("digest = :d"), d="b" * 64),
    "its envelope is another's": lambda steward: steward.world.sql(ROW.format("envelope = :e"), e=b"{}"),
    "its record is noise": lambda steward: steward.world.sql(ROW.format("parts = :p, columns = :p"), p=b"\xff{"),
    "its layout is noise": lambda steward: steward.world.sql(ROW.format("parts = :p"), p=b"\xff{"),
    "it is gone": lambda steward: steward.world.sql("DELETE FROM data_set_versions"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_whoever_writes_the_database_or_the_store_changes_no_index_unseen(world, steward, version, attack):
    release = indexed(world, "dev")
    attack(steward)
    assert problems(world) == [("index", False)]
    world.watch.run()
    assert [entry.context["problems"] for entry in world.entries("alert")] == ["index"]
    with pytest.raises((IntegrityError, NotFound)):
        world.watch.verify_bytes(release.id)


def test_a_version_that_failed_its_gates_is_not_made_good_in_the_database(world, steward):
    refused = contract(more="    quality: [{type: library, metric: rowCount, mustBeGreaterThan: 100000}]\n")
    made = steward.take_in(visits(), refused)
    assert made.state == "failed"
    with pytest.raises(Conflict, match="failed its gates"):
        indexed(world)
    world.sql(ROW.format("state = 'available', approved_by = 'person:per_stan'"))
    release = indexed(world)
    with pytest.raises(IntegrityError, match="not what was signed"):
        world.watch.verify_bytes(release.id)


def test_its_digest_in_the_manifest_is_what_counts(world, steward, version):
    """The same name with other rows, and a signature of their own: a database that was restored elsewhere."""
    release = indexed(world, "dev")
    world.sql("UPDATE data_set_versions SET digest = :d", d=sha256(b"other").hexdigest())
    with world.records.read() as conn, pytest.raises(ReleaseBroken, match="not the one that was signed"):
        world.releases.catalogue.indexes.check(conn, world.releases.catalogue.manifest(conn, release.id)[1])
    assert Path(steward.blobs).is_dir()
