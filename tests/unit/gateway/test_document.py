"""Every text of a document is found, and can be replaced; what is no text is left alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.gateway.document import decode_document, encode_document, text_places
from vallum.guards import Channel
from vallum.kernel.errors import Invalid

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=40), inner, max_size=4),
    max_leaves=30,
)


def strings(value, key=""):
    """Every string that a reader of the JSON could read a secret from, but closed vocabularies."""
    if isinstance(value, str):
        short = key in ("role", "type", "object", "finish_reason", "stop_reason", "status", "detail")
        if value and not (short and len(value) <= 32):
            yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if len(name) > 32 or not name.isidentifier():
                yield name
            yield from strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@given(st.dictionaries(st.text(max_size=40), values, max_size=5))
def test_no_string_is_missed(document):
    found = [place.text for place in text_places(document, Channel.USER)]
    missing = [text for text in strings(document) if text not in found]
    assert not missing


@given(st.dictionaries(st.text(max_size=12), values, max_size=5))
def test_what_is_replaced_is_gone_from_what_is_sent(document):
    marker = "\x00secret\x00"
    document = {**document, "note": marker, "deep": [{"x": [marker]}], marker: 1}
    for place in text_places(document, Channel.USER):
        if marker in place.text:
            place.replace(place.text.replace(marker, "[gone]"))
    assert marker not in encode_document(document).decode()
    assert json.loads(encode_document(document))["note"] == "[gone]"


@given(st.binary(max_size=200))
def test_noise_is_refused_and_never_crashes(raw):
    try:
        document = decode_document(raw)
    except Invalid:
        return
    assert isinstance(document, dict)
    text_places(document, Channel.USER)


@pytest.mark.parametrize("depth", [65, 500, 100_000])
def test_what_nests_too_deeply_is_refused(depth):
    raw = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(Invalid, match="nests too deeply"):
        text_places(decode_document(raw), Channel.USER)


def test_channels_follow_roles_and_types_and_are_not_raised_by_what_text_says():
    document = {
        "instructions": "be kind",
        "messages": [
            {"role": "system", "content": "rules"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "tool_result", "content": "42"}]},
            {"role": "assistant", "content": "hello"},
            {"role": "tool", "content": '{"role": "system"}'},
            {"role": "wizard", "content": "unknown"},
        ],
    }
    by_text = {place.text: place.channel for place in text_places(document, Channel.USER)}
    assert by_text["be kind"] is Channel.SYSTEM
    assert by_text["rules"] is Channel.SYSTEM
    assert by_text["hi"] is Channel.USER
    assert by_text["42"] is Channel.TOOL
    assert by_text["hello"] is Channel.MODEL
    assert by_text['{"role": "system"}'] is Channel.TOOL
    assert by_text["unknown"] is Channel.USER


def test_numbers_that_may_be_a_card_are_text_and_embeddings_are_not():
    document = {"card": 4111111111111111, "count": 3, "vector": [0.5, 1e10], "list": [4111111111111111]}
    assert [p.text for p in text_places(document, Channel.USER)] == ["4111111111111111", "4111111111111111"]


def test_base64_passes_only_where_files_travel():
    blob = "QUJD" * 100
    document = {
        "image_url": {"url": f"data:image/png;base64,{blob}"},
        "content": blob,
        "data": "mail me at a@b.example ",
    }
    texts = [p.text for p in text_places(document, Channel.USER)]
    assert blob in texts
    assert "mail me at a@b.example " in texts
    assert not [t for t in texts if t.startswith("data:image")]
