"""The manifest says one thing in one way: whatever changes, the digest does; and nothing else is a manifest."""

import contextlib
import copy
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.inventory import Application
from vallum.models.runtime.model import Extraction, ServingConfiguration
from vallum.releases import Declaration, Manifest, ManifestRefused, ReleaseBroken
from vallum.releases.manifest import (
    application_policy,
    canonical_json,
    decode_manifest,
    encode_manifest,
    highest,
    manifest_digest,
    prompt_digests,
)

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
NAME = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:/@-]{0,20}\Z")
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
SERVING = st.fixed_dictionaries(
    {
        "format": st.just("onnx"),
        "file": st.just("model.onnx"),
        "inputs": st.just([{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]),
        "outputs": st.just([{"name": "y", "datatype": "FP32"}]),
        "timeout_seconds": st.floats(0.001, 600),
    }
)
MODEL = st.fixed_dictionaries(
    {"name": NAME, "version": st.integers(1, 2**31), "digest": HEX, "serving": st.none() | SERVING}
)
APPLICATION = st.builds(
    lambda name, models, limit: msgspec.to_builtins(
        application_policy(name, msgspec.convert({"owner": "o", "models": models, "limits": limit}, Application))
    ),
    NAME,
    st.lists(NAME, max_size=3, unique=True),
    st.fixed_dictionaries({"requests_per_minute": st.none() | st.integers(1, 10**12)}),
)
MANIFEST = st.fixed_dictionaries(
    {
        "v": st.just(1),
        "product": st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,20}\Z"),
        "classification": st.sampled_from(["public", "internal", "confidential", "restricted"]),
        "risk_class": st.sampled_from(["minimal", "limited", "high"]),
        "application": st.none() | APPLICATION,
        "models": st.lists(MODEL, max_size=3),
        "prompts": st.lists(st.fixed_dictionaries({"name": NAME, "sha256": HEX}), max_size=3),
        "tools": st.lists(NAME, max_size=3),
        "indexes": st.lists(st.fixed_dictionaries({"name": NAME, "digest": HEX}), max_size=3),
        "policy": HEX,
        "dependencies": st.none() | HEX,
    }
).map(lambda value: msgspec.convert(value, Manifest))


@given(MANIFEST)
def test_what_is_encoded_is_decoded_and_always_alike(manifest):
    raw = encode_manifest(manifest)
    assert decode_manifest(raw) == manifest
    assert encode_manifest(decode_manifest(raw)) == raw
    assert json.loads(raw).keys() == set(Manifest.__struct_fields__)  # nothing is left out because it is a default


@given(MANIFEST, MANIFEST)
def test_two_manifests_have_one_digest_only_when_they_are_one(one, other):
    assert (manifest_digest(one) == manifest_digest(other)) == (one == other)


@given(MANIFEST, st.data())
def test_any_change_of_a_field_changes_the_digest(manifest, data):
    value = json.loads(encode_manifest(manifest))
    places = list(leaves(value))
    place = data.draw(st.sampled_from(places))
    changed = copy.deepcopy(value)
    *path, last = place
    holder = changed
    for step in path:
        holder = holder[step]
    before = holder[last]
    holder[last] = data.draw(st.sampled_from([different(before), None, "x", 7, [], True]).filter(lambda v: v != before))
    try:
        other = msgspec.convert(changed, Manifest)
    except msgspec.ValidationError:
        return  # refused is as good
    if other != manifest:
        assert manifest_digest(other) != manifest_digest(manifest)


@given(MANIFEST, st.data())
def test_bytes_that_are_not_exactly_so_are_refused(manifest, data):
    raw = encode_manifest(manifest)
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = bytearray(raw)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ReleaseBroken):
        assert decode_manifest(bytes(flipped)) != manifest
    for other in (raw + b" ", b" " + raw, raw.replace(b",", b", ", 1), raw[:-1], b"", b"[" * 5000, b"\xff" + raw):
        with pytest.raises(ReleaseBroken):
            decode_manifest(other)


def test_unknown_fields_repeated_ones_and_other_orders_are_refused():
    value = {
        "v": 1, "product": "p", "classification": "public", "risk_class": "high", "application": None, "models": [],
        "prompts": [], "tools": [], "indexes": [], "policy": "0" * 64, "dependencies": None,
    }  # fmt: skip
    raw = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert decode_manifest(raw).product == "p"
    for other in (
        json.dumps({**value, "extra": 1}, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps({**value, "v": 2}, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps(dict(reversed(value.items())), separators=(",", ":")).encode(),
        json.dumps({k: v for k, v in value.items() if k != "tools"}, sort_keys=True, separators=(",", ":")).encode(),
        raw.replace(b'"product":"p"', b'"product":"q","product":"p"'),
        raw.replace(b'"p"', b'"\\u0070"'),
    ):
        with pytest.raises(ReleaseBroken):
            decode_manifest(other)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_know_are_refused(number):
    serving = {
        "format": "onnx", "file": "m.onnx", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32"}],
    }  # fmt: skip
    wanted = msgspec.convert({"product": "p", "models": [{"name": "m", "version": 1, "serving": serving}]}, Declaration)
    model = wanted.models[0]
    tensor = msgspec.structs.replace(model.serving.inputs[0], minimum=number)
    broken = msgspec.structs.replace(model, serving=msgspec.structs.replace(model.serving, inputs=(tensor,)))
    assert list(msgspec.structs.replace(wanted, models=(broken,)).problems())
    with pytest.raises(ManifestRefused):
        encode_manifest(broken)


def test_classes_only_rise_and_unknown_ones_count_as_the_strictest():
    assert highest(["public", "internal"], ["minimal"]) == ("internal", "minimal")
    assert highest(["public", "restricted", "internal"], ["limited", "high"]) == ("restricted", "high")
    assert highest(["public", "secret"], ["minimal", ""]) == ("restricted", "high")


def test_declarations_name_every_problem():
    twice = {"product": "p", "tools": ["a", "a"], "prompts": [{"name": "s", "text": "x"}] * 2}
    assert len(list(msgspec.convert(twice, Declaration).problems())) == 3
    for bad in (
        {"product": "P"},
        {"product": "p", "extra": 1},
        {"product": "p", "models": [{"name": "m", "version": 0}]},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Declaration)
    assert [p.name for p in prompt_digests(msgspec.convert(twice, Declaration).prompts)] == ["s", "s"]


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path


def different(value):
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return ("0" if value[:1] != "0" else "1") + value[1:]
    return ["x"]


def test_a_model_served_by_defaults_alone_is_read_back():
    """Defaults are written out, and what is written out is valid."""
    serving = msgspec.convert(
        {"format": "onnx", "file": "m.onnx", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
         "outputs": [{"name": "y", "datatype": "FP32"}]},
        ServingConfiguration,
    )  # fmt: skip
    written = canonical_json(serving)
    assert msgspec.json.decode(written, type=ServingConfiguration) == serving
    for reference in ("../secret", "/etc/passwd", "a//b"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"reference": reference}, Extraction)
