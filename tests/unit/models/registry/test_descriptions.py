"""Cards, bills of materials and dependencies of registered versions, from sealed files; nothing of them is left."""

import json

import pytest
from registered_models import person, tensors

from vallum.kernel.errors import Denied, NotFound, VallumError
from vallum.models.bom import validate_bom
from vallum.models.registry import VersionDamaged

CARD = b"""---
license: apache-2.0
---
# churn
Says which customers of a telephone company are about to leave it, from twelve months of their bills.
## Intended use
Staff of the company's shops decide by it whom they call; nothing is decided about a person without one.
"""
FILES = {
    "model.safetensors": tensors(),
    "config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}',
    "requirements.txt": b"torch==1.13.0\nnumpy==2.0.0\n",
}


@pytest.fixture
def described(uploaded):
    return uploaded({**FILES, "README.md": CARD})


def at(version):
    return {"name": version.model, "number": str(version.number)}


def test_a_card_is_completed_by_what_the_platform_knows(described, perform, dana):
    report = perform("read_model_card", dana, at(described))
    assert report.has_author
    assert 0 < report.score < 1
    assert report.missing
    assert "twelve months of their bills" in report.markdown
    assert described.digest in report.markdown
    without_words = perform("read_model_card", dana, at(described))
    assert report == without_words


def test_a_version_without_a_card_has_none_and_is_described_all_the_same(uploaded, perform, dana, platform):
    version = uploaded(FILES)
    report = perform("read_model_card", dana, at(version))
    assert (report.has_author, report.score) == (False, 0)
    with platform.records.read() as conn:
        assert platform.control.services.model_descriptions.score(conn, version.model, version.number) is None


def test_the_bill_of_materials_is_valid_and_the_same_each_time(described, perform, dana):
    for spec_version in ("1.6", "1.7"):
        bills = [
            b"".join(perform("read_model_bom", dana, at(described), spec_version=spec_version).chunks)
            for _ in range(2)
        ]  # fmt: skip
        assert bills[0] == bills[1]
        validate_bom(bills[0])
        document = json.loads(bills[0])
        assert document["specVersion"] == spec_version
        said = json.dumps(document)
        assert described.digest in said
        assert "pkg:pypi/torch@1.13.0" in said
        assert {one.sha256 for one in described.files} <= {
            digest["content"] for digest in _hashes(document)
        }  # fmt: skip


def _hashes(value):
    if isinstance(value, dict):
        yield from value.get("hashes", ())
        for one in value.values():
            yield from _hashes(one)
    elif isinstance(value, list):
        for one in value:
            yield from _hashes(one)


def test_without_advisories_nothing_is_clear(described, perform, dana, settings):
    report = perform("read_model_dependencies", dana, at(described))
    assert report.verdict != "clear"
    assert report.report.findings == ()
    (why,) = [one.reason for one in report.report.cannot_tell if one.about == "database"]
    assert "vallum models dependencies import" in why
    assert str(settings.data_path) not in why


def test_describing_leaves_no_plaintext_and_reads_no_weights(described, perform, dana, settings):
    perform("read_model_card", dana, at(described))
    assert not [path for path in settings.spool_path.rglob("*") if path.is_file()]
    blobs = sorted((settings.data_path / "blobs" / "models").rglob("*"), key=lambda path: path.stat().st_size)
    largest = next(path for path in reversed(blobs) if path.is_file())
    largest.write_bytes(b"")  # the weights are lost: their description is not
    assert perform("read_model_card", dana, at(described)).has_author


def test_a_file_that_was_altered_describes_nothing(described, perform, dana, settings):
    for path in (settings.data_path / "blobs" / "models").rglob("*"):
        if path.is_file():
            raw = bytearray(path.read_bytes())
            raw[-1] ^= 1
            path.write_bytes(raw)
    for route in ("read_model_card", "read_model_dependencies"):
        with pytest.raises(VersionDamaged, match="was altered"):
            perform(route, dana, at(described))


@pytest.mark.parametrize("card", [b"\xff\xfe\x00", b"---\nlicense: [\n---\n", b"---\na: &a [*a, *a]\n---\n# x\n"])
def test_a_card_that_cannot_be_read_is_refused_and_nothing_breaks(uploaded, perform, dana, card, platform):
    try:
        version = uploaded({**FILES, "README.md": card})
    except VallumError:
        return  # not even uploaded
    if version.state != "available":
        return
    with pytest.raises(VallumError) as refused:
        perform("read_model_card", dana, at(version))
    assert refused.value.code not in ("internal", "unavailable")


def test_a_version_that_may_not_be_loaded_is_not_described(described, perform, dana):
    perform("revoke_model_version", person("rita", "approver"), at(described), reason="the data was withdrawn")
    for route in ("read_model_card", "read_model_bom", "read_model_dependencies"):
        with pytest.raises(VallumError) as refused:
            perform(route, dana, at(described))
        assert refused.value.code != "internal"
    with pytest.raises((Denied, NotFound)):
        perform("read_model_card", dana, {"name": "churn", "number": "99"})
    with pytest.raises(Denied):
        perform("read_model_card", person("zoe"), at(described))
