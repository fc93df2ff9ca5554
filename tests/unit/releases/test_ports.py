"""What "is a model registry" means to releases. Run against the one in memory; the real one runs the same."""

import pytest
from model_registry import MemoryRegistry

from vallum.kernel.errors import Conflict, IntegrityError, NotFound
from vallum.kernel.values import AssetRef


class InMemory:
    """Three versions of `credit`: 1 may run, 2 was revoked, 3 has been corrupted."""

    def __init__(self):
        self.registry, self.conn = MemoryRegistry(), None
        for number in (1, 2, 3):
            self.registry.add("credit", number, b"weights %d" % number)
        self.registry.change("credit", 2, state="revoked")
        self.registry.contents["credit", 3] = b"other"


@pytest.fixture(params=[InMemory], ids=lambda factory: factory.__name__)
def prepared(request):
    return request.param()


def test_versions_are_described(prepared):
    one = prepared.registry.version(prepared.conn, "credit", 1)
    assert (one.model, one.number, one.state, one.verdict) == ("credit", 1, "available", "pass")
    assert len(bytes.fromhex(one.digest)) == 32
    assert one.signer
    assert one.reviewed_by is None
    assert prepared.registry.version(prepared.conn, "credit", 2).state == "revoked"
    for name, number in (("credit", 99), ("none", 1)):
        with pytest.raises(NotFound):
            prepared.registry.version(prepared.conn, name, number)


def test_only_what_may_run_and_is_as_signed_is_checked_out(prepared, tmp_path):
    prepared.registry.checkout("credit", 1, tmp_path / "one")
    assert any((tmp_path / "one").rglob("*"))
    with pytest.raises(Conflict):
        prepared.registry.checkout("credit", 2, tmp_path / "two")
    with pytest.raises(IntegrityError):
        prepared.registry.checkout("credit", 3, tmp_path / "two")
    with pytest.raises(NotFound):
        prepared.registry.checkout("credit", 99, tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_aliases_lead_to_what_may_run(prepared):
    prepared.registry.set_alias(prepared.conn, "credit", "prod", 1)
    with pytest.raises(Conflict):
        prepared.registry.set_alias(prepared.conn, "credit", "prod", 2)
    with pytest.raises(NotFound):
        prepared.registry.set_alias(prepared.conn, "credit", "prod", 99)


def test_facts_name_the_classes(prepared):
    facts = prepared.registry.facts(AssetRef("RegisteredModel", "credit")).attributes
    assert {"classification", "risk_class"} <= facts.keys()
    assert prepared.registry.facts(AssetRef("RegisteredModel", "none")) is None
