"""What an earlier Vallum signed stays what it was: an upgrade takes no environment away.

`manifests/` holds one manifest of each form that a release of Vallum ever wrote, with every kind of part in it. A field
that somebody adds to one of its types without a word in `ADDED` fails here, and not at an operator's upgrade.
"""

import json
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from vallum.inventory import OutputGuards
from vallum.releases import ReleaseBroken
from vallum.releases import manifest as module
from vallum.releases.manifest import decode_manifest, encode_manifest, guard_digest, same_policy

FORMS = Path(__file__).with_name("manifests")
DIGESTS = {"v1-first.json": "add81a3f21c763c3b8f20233bf868eb565adf9fc4155b4463258cc618bb1e1da"}
FIRST = (FORMS / "v1-first.json").read_bytes()
FIELD = ("OutputGuards", "canaries")


def without(raw, name="canaries"):
    """As a Vallum wrote it that did not know the field yet."""
    value = json.loads(raw)
    del value["application"]["guards"]["output"][name]
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def of_before():
    """A manifest of before the field, which is at its default in it."""
    manifest = decode_manifest(FIRST)
    output = msgspec.structs.replace(manifest.application.guards.output, canaries=OutputGuards().canaries)
    guards = msgspec.structs.replace(manifest.application.guards, output=output)
    policy = msgspec.structs.replace(manifest.application, guards=guards)
    return without(encode_manifest(msgspec.structs.replace(manifest, application=policy)))


def test_every_form_that_was_ever_written_is_read():
    assert {file.name: sha256(file.read_bytes()).hexdigest() for file in FORMS.iterdir()} == DIGESTS
    for name in DIGESTS:
        manifest = decode_manifest((FORMS / name).read_bytes())
        assert [model.name for model in manifest.models] == ["a", "b", "c", "d"]
        assert manifest.application.guards.input.injection == "block"
        assert manifest.application.limits_per_model["other"].requests_per_minute == 5
        assert [layer.__struct_config__.tag for layer in manifest.models[1].serving.architecture] == [
            "conv2d", "batch_norm", "activation", "pool2d", "flatten", "linear",
        ]  # fmt: skip


def test_this_vallum_writes_the_newest_form():
    assert encode_manifest(decode_manifest(FIRST)) == FIRST


def test_a_field_that_was_added_since_is_at_its_default(monkeypatch, of_before):
    with pytest.raises(ReleaseBroken, match="canonical"):
        decode_manifest(of_before)  # nobody said that it was added: it was left out
    monkeypatch.setattr(module, "ADDED", (frozenset({FIELD}),))
    manifest = decode_manifest(of_before)
    assert manifest.application.guards.output.canaries == ()
    assert manifest.application.guards.input.injection == "block"
    assert decode_manifest(FIRST).application.guards.output.canaries == ("canary-5af31c",)


def test_forms_are_whole_ones_and_no_mixtures(monkeypatch, of_before):
    monkeypatch.setattr(module, "ADDED", (frozenset({FIELD}), frozenset({("Batching", "max_waiting")})))
    assert decode_manifest(of_before).product == "desk"
    value = json.loads(FIRST)
    value["models"][1]["serving"]["batching"].pop("max_waiting")
    mixed = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    for raw in (mixed, without(FIRST, "leakage"), of_before + b" ", of_before.replace(b'"v":1', b'"v": 1')):
        with pytest.raises(ReleaseBroken):
            decode_manifest(raw)


def test_an_earlier_digest_of_guards_is_no_drift(monkeypatch, of_before):
    monkeypatch.setattr(module, "ADDED", (frozenset({FIELD}),))
    signed = decode_manifest(of_before).application
    present = msgspec.structs.replace(signed, guard_digest=guard_digest(signed.guards))
    assert present != signed
    assert same_policy(present, signed)
    weaker = msgspec.structs.replace(present, guards=msgspec.structs.replace(present.guards, output=OutputGuards()))
    assert not same_policy(weaker, signed)


@pytest.mark.parametrize(("changed", "says"), [
    ({"v": 2}, "v"), ({"surprise": 1}, "surprise"), ({"product": 3}, "product"),
])  # fmt: skip
def test_a_later_one_is_named_as_such(changed, says):
    raw = json.dumps(json.loads(FIRST) | changed, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ReleaseBroken, match="another version of Vallum made it") as caught:
        decode_manifest(raw)
    assert says in str(caught.value)
