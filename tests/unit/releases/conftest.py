"""Releases on a real platform, with a registry in memory: two engineers, somebody who approves, and security."""

from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256

import msgspec
import pytest
from model_registry import MemoryRegistry

from vallum.compose import SYSTEM_SUBJECT, Platform, prepare
from vallum.inventory import parse_files
from vallum.kernel.values import Subject, SubjectKind, TenantId
from vallum.releases import CardScore, Declaration, Releases, Wanted, load_rules
from vallum.releases.adapters.inventory import InventoryApplications
from vallum.releases.recorded import was_revoked
from vallum.settings import load_settings

REPORT = sha256(b"a report").hexdigest()
SERVING = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "role": "values"}],
}
INVENTORY = """
[providers.here]
kind = "extractive"
[models.handbook]
provider = "here"
[applications.chat]
owner = "somebody"
models = ["handbook"]
[applications.chat.guards.input]
injection = "block"
"""


def person(name, holder=None):
    return Subject(SubjectKind.PERSON, f"per_{name}", TenantId("default"), holder=holder or f"per_{name}")


class SetClock:
    def __init__(self):
        self.at = datetime.now(UTC)

    def now(self):
        self.at += timedelta(microseconds=1)  # so that what is ordered by time has an order
        return self.at


class Cards:
    def __init__(self):
        self.known = {}

    def score(self, conn, model, number):
        return self.known.get((model, number))


class World:
    """Everything a test does, each in a transaction of its own."""

    def __init__(self, platform, tmp_path):
        self.platform, self.records, self.clock = platform, platform.records, SetClock()
        self.registry, self.cards = MemoryRegistry(), Cards()
        self.applications = InventoryApplications(platform.inventory)
        self.open()

    def open(self, rules=None, **options):
        """Another process's view of the same database."""
        self.releases = Releases.open(
            self.records, self.platform.keyring, self.clock, rules or load_rules(None), self.registry,
            self.applications, self.platform.policy_store, partial(was_revoked, self.platform.ledger), cards=self.cards,
            **options,
        )  # fmt: skip
        self.watch = self.releases.watching(self.platform.gate, SYSTEM_SUBJECT, heals=True)
        return self

    def declare(self, text=INVENTORY):
        with self.records.write() as conn:
            self.platform.inventory.apply(conn, parse_files({"x.toml": text}))
        self.platform.inventory.refresh()

    def build(self, *, by=None, number=1, product="credit", model="credit", **fields):
        models = [] if model is None else [{"name": model, "version": number, "serving": SERVING}]
        wanted = msgspec.convert({"product": product, "models": models, **fields}, Declaration)
        with self.records.write() as conn:
            return self.releases.catalogue.build(conn, wanted, by or person("ada"))

    def attest(self, release, kind, passed=True, by=None):
        with self.records.write() as conn:
            return self.releases.catalogue.attest(conn, release.id, kind, passed, REPORT, "", by or person("eve"))

    def request(self, release, environment, *, by=None, **options):
        wanted = Wanted(release=release.id, environment=environment, reason="a good enough reason", **options)
        with self.records.write() as conn:
            return self.releases.promotions.request(conn, wanted, by or person("ada"))

    def approve(self, promotion, by=None):
        with self.records.write() as conn:
            return self.releases.promotions.approve(conn, promotion.id, by or person("bob"))

    def complete(self, release):
        """Everything that prod asks for."""
        with self.records.read() as conn:
            _, manifest = self.releases.catalogue.manifest(conn, release.id)
        for model in manifest.models:
            self.cards.known[model.name, model.version] = CardScore(100)
        for kind in ("tests", "data", "threats"):
            self.attest(release, kind)

    def promote(self, release, *environments):
        for environment in environments:
            promotion = self.request(release, environment)
            if promotion.state == "waiting":
                self.approve(promotion)
        return release

    def ready(self, *environments, **options):
        """A release, complete and promoted."""
        release = self.build(**options)
        self.complete(release)
        return self.promote(release, *environments)

    def roll_back(self, environment, product="credit", to=None):
        with self.records.write() as conn:
            return self.releases.environments.roll_back(conn, environment, product, person("bob"), to)

    def revoke(self, release):
        with self.records.write() as conn:
            self.releases.catalogue.revoke(conn, release.id, "it was wrong all along", person("eve"))
            return self.releases.environments.revoke(conn, release.id, person("eve"))

    def running(self, environment, product="credit"):
        with self.records.read() as conn:
            row = self.releases.environments.running(conn, environment, product)
        return None if row is None else row.release

    def history(self, environment, product="credit"):
        with self.records.read() as conn:
            return self.releases.environments.history(conn, environment, product)

    def entries(self, kind):
        if self.records.dialect == "postgresql":
            with self.records.write() as conn:
                self.platform.ledger.sequence(conn, 1000)
        with self.records.read() as conn:
            return self.platform.ledger.entries(conn, kind=kind)

    def sql(self, statement, **values):
        """Somebody who can write the database and has no key."""
        from sqlalchemy import text

        with self.records.write() as conn:
            return conn.execute(text(statement), values)


@pytest.fixture
def world(migrated_url, tmp_path):
    settings = load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})
    prepare(settings)
    opened = Platform.open(settings)
    opened.writer.start()
    made = World(opened, tmp_path)
    for number in range(1, 6):
        made.registry.add("credit", number, b"weights %d" % number)
    yield made
    opened.close()


@pytest.fixture
def ada():
    return person("ada")


@pytest.fixture
def somebody():
    return person
