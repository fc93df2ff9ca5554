"""Every text of a document is found, and can be replaced; what is no text is left alone."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.gateway.document import _FIELD_NAMES, _VOCABULARY, decode_document, encode_document, text_places
from vallum.guards import Channel
from vallum.kernel.errors import Invalid

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=40), inner, max_size=4),
    max_leaves=30,
)


def strings(value, key=""):
    """Every string that a reader of the JSON could read a secret from: values, and names of unknown fields."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@given(st.dictionaries(st.text(max_size=40), values, max_size=5))
def test_no_string_is_missed(document):
    found = [place.text for place in text_places(document, Channel.USER)]
    closed = _VOCABULARY | _FIELD_NAMES
    missing = [text for text in strings(document) if text not in found and text not in closed]
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
    document = {
        "input": 4111111111111111,
        "seed": 3,
        "data": [0.5, 1e10, 4111111111111111],
        "top_p": 4111111111111111.0,
    }
    texts = [p.text for p in text_places(document, Channel.USER)]
    assert texts == ["4111111111111111", "10000000000", "4111111111111111", "4111111111111111"]


def test_what_follows_a_number_in_a_list_is_found():
    document = {"content": [0.5, {"text": "after"}, "it"]}
    assert [p.text for p in text_places(document, Channel.USER)] == ["after", "it"]


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 2).decode()


def test_images_and_files_pass_unread_by_how_they_begin():
    image = {"url": "data:image/png;base64," + PNG}
    assert text_places({"image_url": image, "data": PNG}, Channel.USER) == []


@pytest.mark.parametrize("key", ["url", "data", "file_data", "signature", "embedding", "anything"])
@pytest.mark.parametrize("text", ["AKIA" + "A" * 400, "QUJD" * 100, "4111-1111-1111-1111 " * 20, "sk-proj-x\n" * 40])
def test_what_only_looks_like_a_file_is_text_wherever_it_stands(key, text):
    assert text in [p.text for p in text_places({key: text}, Channel.USER)]


def test_base64_of_readable_text_is_read_and_replaced_inside():
    wrapped = base64.b64encode(b"my mail is jane@example.com, do write").decode()
    document = {"content": wrapped, "image_url": {"url": "data:text/plain;base64," + wrapped}}
    places = [p for p in text_places(document, Channel.USER) if "jane@" in p.text]
    assert len(places) == 2
    for place in places:
        place.replace("gone")
    assert base64.b64decode(document["content"]) == b"gone"
    assert document["image_url"]["url"] == "data:text/plain;base64," + base64.b64encode(b"gone").decode()


@pytest.mark.parametrize("raw", [b'{"a":[' + b'"x",' * 300_000 + b'"x"]}', b'{"a":[' + b"{}," * 150_000 + b"{}]}"])
def test_too_many_parts_are_refused_before_they_take_memory(raw):
    with pytest.raises(Invalid, match="parts"):
        decode_document(raw)
