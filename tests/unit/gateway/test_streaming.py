"""A guarded stream says to an SDK what guarding the whole would say, for each API and every cut."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.gateway.protocols import AnthropicMessages, OpenAiChat, OpenAiResponses
from vallum.gateway.protocols.port import PlainAnswer, Usage
from vallum.gateway.refusals import Refused
from vallum.gateway.sse import Event, EventReader
from vallum.gateway.streaming import StreamGuard
from vallum.guards import Channel, GuardRunner, Mode, Segment, Structure, build_runner

REDACT = build_runner({"pii": Mode.REDACT, "deny": Mode.BLOCK}, deny_phrases=["project bluebird"], max_chars=10**6)
PROTOCOLS = (OpenAiChat(), AnthropicMessages(), OpenAiResponses())


def events_of(protocol, text):
    raw = b"".join(protocol.render_stream(PlainAnswer("m", text, Usage(1, 2))))
    return list(EventReader().feed(raw))


def run(protocol, events, runner=REDACT, structure=None):
    guard = StreamGuard(protocol, runner, "test", 10**6, structure=structure)
    out = []
    for event in events:
        if event.data.strip() == b"[DONE]":
            out += guard.finish()
        else:
            out += guard.feed(event)
        if guard.blocked:
            return guard, list(EventReader().feed(b"".join(out)))
    return guard, list(EventReader().feed(b"".join(out)))


def said(events):
    """The text as an SDK puts it together."""
    text = ""
    for event in events:
        document = json.loads(event.data)
        if "choices" in document:
            text += "".join(c["delta"].get("content") or "" for c in document["choices"])
        elif document.get("type") == "content_block_delta":
            text += document["delta"]["text"]
        elif document.get("type") == "response.output_text.delta":
            text += document["delta"]
    return text


texts = st.lists(
    st.sampled_from(["Hello there. ", "mail jane@example.com ", "x", "4111 1111 1111 1111", " and ", "é", "\n"]),
    max_size=12,
).map("".join)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(PROTOCOLS), texts)
def test_the_client_reads_the_redacted_whole(protocol, text):
    expected = REDACT.inspect([Segment(text, Channel.MODEL, "t")]).texts[0]
    guard, events = run(protocol, events_of(protocol, text))
    assert said(events) == expected
    assert not guard.blocked
    assert "".join(guard.answer().values()) == expected


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_of_a_broken_structure_nothing_leaves(protocol):
    schema = {"type": "object", "required": ["mail"]}
    structure = GuardRunner([(Structure(schema), Mode.BLOCK)])
    guard, events = run(protocol, events_of(protocol, '{"mail": "jane@example.com"}'), structure=structure)
    assert (guard.blocked, said(events)) == (False, '{"mail": "[redacted:email]"}')
    guard, events = run(protocol, events_of(protocol, '{"card": 4111111111111111, "mail": "x"}'), structure=structure)
    assert (guard.blocked, said(events)) == (True, "")  # redacted, it is no JSON any more
    guard, events = run(protocol, events_of(protocol, '{"post": "a long enough answer"}'), structure=structure)
    assert (guard.blocked, said(events)) == (True, "")
    assert "long enough" not in repr(events)


def test_where_a_broken_structure_is_only_recorded_nothing_is_delayed():
    structure = GuardRunner([(Structure({"type": "object"}), Mode.DETECT)])
    text = "no object, and longer than what is held back of a stream: " + "word " * 20_000
    guard = StreamGuard(OpenAiChat(), REDACT, "test", 10**6, structure=structure)
    *begun, _, _ = events_of(OpenAiChat(), text)
    early = b"".join(frame for event in begun for frame in guard.feed(event))
    assert len(early) > len(text)
    guard.finish()
    assert not guard.blocked
    assert [(f.guard, f.kind, f.action) for f in guard.findings] == [("structure", "not_json", "detect")]


TOOL_CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize("delta", [{"refusal": "I cannot."}, {"tool_calls": [TOOL_CALL]}])
def test_a_refusal_or_a_tool_call_is_no_answer(delta):
    structure = GuardRunner([(Structure({"type": "object"}), Mode.BLOCK)])
    events = [
        Event("", json.dumps({"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}).encode())
        for said, finish in (({"role": "assistant", "content": ""}, None), (delta, None), ({}, "stop"))
    ]
    guard, _ = run(OpenAiChat(), events, structure=structure)
    assert (guard.blocked, guard.findings) == (False, [])


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_a_text_that_a_protocol_repeats_whole_is_redacted_there_too(protocol):
    _, events = run(protocol, events_of(protocol, "write to jane@example.com please"))
    assert "jane@example.com" not in repr(events)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_nothing_of_a_denied_phrase_leaves(protocol):
    guard, events = run(protocol, events_of(protocol, "It is called project bluebird, and it is late. " * 3))
    assert guard.blocked
    assert "blue" not in repr(events)
    assert "project" not in said(events)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_usage_is_read_from_the_stream(protocol):
    guard, _ = run(protocol, events_of(protocol, "hello"))
    assert guard.usage == Usage(1, 2)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_a_text_that_goes_on_after_its_end_is_refused(protocol):
    events = [e for e in events_of(protocol, "one two three four five six seven eight nine ten") if e.data != b"[DONE]"]
    deltas = [e for e in events if b"nine" in e.data and b"delta" in e.data][:1]
    with pytest.raises(Refused) as refused:
        run(protocol, [*events, *deltas])
    assert refused.value.error_code == "upstream_garbage"


def test_two_choices_are_guarded_apart():
    def chunk(index, text):
        document = {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]}
        return Event("", json.dumps(document).encode())

    _, events = run(OpenAiChat(), [chunk(0, "jane@"), chunk(1, "example.com "), chunk(0, "example.com "),
                                       Event("", b"[DONE]")])  # fmt: skip
    by_index = {0: "", 1: ""}
    for event in events:
        for choice in json.loads(event.data)["choices"]:
            by_index[choice["index"]] += choice["delta"].get("content", "")
    assert by_index == {0: "[redacted:email] ", 1: "example.com "}


def test_many_choices_are_as_much_text_as_one():
    runner = build_runner({"size": Mode.BLOCK}, max_chars=1000)
    guard = StreamGuard(OpenAiChat(), runner, "test", 10**6)
    for index in range(20):
        choice = {"index": index, "delta": {"content": "a fair number of words, not too many " * 2}}
        guard.feed(Event("", json.dumps({"choices": [choice]}).encode()))
        if guard.blocked:
            break
    assert guard.blocked
    assert [f.kind for f in guard.findings] == ["oversized"]
    assert 1000 < guard.chars < 1100


def test_a_secret_beside_the_text_is_found():
    document = {
        "choices": [{"index": 0, "delta": {"content": "hi there. " * 5}, "finish_reason": None}],
        "note": "jane@example.com",
    }
    _, events = run(OpenAiChat(), [Event("", json.dumps(document).encode())])
    assert json.loads(events[0].data)["note"] == "[redacted:email]"


def test_log_probabilities_do_not_repeat_the_text():
    choice = {"index": 0, "delta": {"content": "ja"}, "logprobs": {"content": [{"token": "ja"}]}, "finish_reason": None}
    _, events = run(OpenAiChat(), [Event("", json.dumps({"choices": [choice]}).encode()), Event("", b"[DONE]")])
    assert "token" not in repr(events)


shapes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["choices", "type", "delta", "index", "response", "usage", "logprobs"])


@given(st.dictionaries(fields, shapes), st.sampled_from(PROTOCOLS))
def test_events_of_any_shape_are_passed_or_refused_and_never_crash(document, protocol):
    with suppress(Refused):
        run(protocol, [Event("", json.dumps(document).encode())])


def event(**fields):
    return Event(fields.get("type", ""), json.dumps(fields).encode())


SPLIT = [
    (AnthropicMessages(), [
        event(type="content_block_start", index=0, content_block={"type": "text", "text": "jane@exam"}),
        event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "ple.com "}),
        event(type="content_block_stop", index=0),
    ]),
    (OpenAiResponses(), [
        event(type="response.content_part.added", item_id="i", output_index=0, content_index=0,
              part={"type": "output_text", "text": "jane@exam"}),
        event(type="response.output_text.delta", item_id="i", output_index=0, content_index=0, delta="ple.com "),
        event(type="response.output_text.done", item_id="i", output_index=0, content_index=0, text="jane@example.com "),
    ]),
    (OpenAiResponses(), [
        event(type="response.output_item.added", output_index=0, item={"id": "i", "arguments": "jane@exam"}),
        event(type="response.function_call_arguments.delta", item_id="i", output_index=0, delta="ple.com "),
        event(type="response.function_call_arguments.done", item_id="i", output_index=0, arguments="jane@example.com "),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "events"), SPLIT)
def test_a_text_that_its_first_event_begins_is_joined_with_the_rest(protocol, events):
    guard, out = run(protocol, events)
    assert "jane@exam" not in repr(out)
    assert "ple.com" not in repr(out)
    assert guard.findings[0].kind == "email"


def test_a_tools_name_leaves_with_its_id_and_comes_once():
    def chunk(**function):
        call = {"index": 0, "id": "call_1", "function": function}
        return event(choices=[{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}])

    _, out = run(OpenAiChat(), [chunk(name="face", arguments="")])
    assert json.loads(out[0].data)["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == "face"
    with pytest.raises(Refused):
        run(OpenAiChat(), [chunk(name="jane@exam"), chunk(name="ple.com")])
