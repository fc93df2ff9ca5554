import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.guards import Channel, GuardRunner, Mode, Segment, StreamInspector, Structure
from vallum.kernel.errors import Invalid

SCHEMA = {
    "type": "object", "required": ["name", "age"], "additionalProperties": False,
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
}  # fmt: skip


def kinds(text, schema=SCHEMA):
    return [f.kind for f in Structure(schema).find(text)]


def test_what_was_asked_for_passes():
    assert kinds('{"name": "Ann", "age": 7}') == []
    assert kinds('["anything"]', {}) == []


@pytest.mark.parametrize(
    "text", ['{"name": "Ann"}', '{"name": "Ann", "age": -1}', '{"name": "Ann", "age": 7, "also": 1}', "[]", "null"]
)
def test_what_breaks_the_schema_is_found_and_not_quoted(text):
    (finding,) = Structure(SCHEMA).find(text)
    assert finding.kind == "schema_violation"
    assert "Ann" not in finding.explanation


@pytest.mark.parametrize("text", ["Sure! {}", '{"name": "Ann", "age": 7', "[" * 100_000])
def test_what_is_no_json_is_found(text):
    assert kinds(text) == ["not_json"]


@pytest.mark.parametrize("text", ['{"a": NaN}', "Infinity", "1e999", '{"a": "evil", "a": 1}', "9" * 5000])
def test_what_only_some_readers_take_for_json_is_none(text):
    assert kinds(text, {}) == ["not_json"]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema"}, {"$ref": "file:///etc/passwd"}, {"type": "nonsense"},
        {"pattern": "(?=a)b"}, {"pattern": 5}, {"enum": ["x" * 60_000]}, {"patternProperties": {"(a+)+$": {}}},
        {"allOf": [{"pattern": f"a{n}"} for n in range(101)]}, {"pattern": "(?:[a-z]{0,900}){0,900}"},
        {"anyOf": [{"items": {"$ref": "other.json"}}]}, {"unevaluatedProperties": False},
    ],
)  # fmt: skip
def test_a_schema_that_reaches_out_or_costs_too_much_is_refused(schema):
    with pytest.raises(Invalid, match="schema"):
        Structure(schema)


def test_a_property_may_have_the_name_of_a_keyword():
    schema = {
        "properties": {"pattern": {"type": "string"}, "patternProperties": {"type": "null"}, "$ref": {"const": 1}}
    }
    assert kinds('{"pattern": "(", "patternProperties": null, "$ref": 1}', schema) == []
    assert kinds('{"$ref": 2}', schema) == ["schema_violation"]


def levels(word, count):
    """A kilobyte that asks for two to the power of `count` evaluations."""
    defs = {f"a{n}": {word: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(count)}
    return {"$ref": "#/$defs/a0", "$defs": {**defs, f"a{count}": {"type": "integer" if word == "allOf" else "null"}}}


D7 = "http://json-schema.org/draft-07/schema#"
BACKTRACKS = {"patternProperties": {"(a+)+$": {}}}
DIALECTS = {name: {"$schema": D7, **inner} for name, inner in levels("anyOf", 40)["$defs"].items()}
LONG_NAME = json.dumps({"a" * 40 + "!": 1})
LARGE = json.dumps([["x" * 1000]] * 300)
HOSTILE = {
    "another dialect within": ({"$ref": "#/$defs/a0", "$defs": DIALECTS}, "1"),
    "its own dialect": ({"$schema": D7, "anyOf": [{"items": {"$ref": "#"}, "minItems": 1}] * 2}, "[" * 60 + "]" * 60),
    "patterns out of sight": ({"$ref": "#/default", "default": BACKTRACKS}, LONG_NAME),
    "patterns beside": (
        {"$ref": "#/default", "default": {"additionalProperties": False, **BACKTRACKS}},
        LONG_NAME,
    ),
    "large, over and over": ({"allOf": [{"anyOf": [{"uniqueItems": True}, {}]}] * 1000}, LARGE),
    "any of any": (levels("anyOf", 40), "1"),
    "all of all": (levels("allOf", 40), "1"),
    "by depth": ({"anyOf": [{"items": {"$ref": "#"}, "minItems": 1}] * 2}, "[" * 60 + "]" * 60),
    "itself": ({"$ref": "#"}, "1"),
    "long": ({"items": {"enum": [str(n) for n in range(2000)]}}, json.dumps(["x"] * 1000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_fails_in_no_time_and_what_fails_blocks(name):
    schema, answer = HOSTILE[name]
    runner = GuardRunner([(Structure(schema), Mode.DETECT)])
    started = time.process_time()
    inspection = runner.inspect([Segment(answer, Channel.MODEL, "t")], answer=True)
    assert time.process_time() - started < 3
    assert inspection.action == "block" or inspection.findings[0].kind == "schema_violation"


def test_large_and_deep_input_is_bounded():
    nested = {}
    for _ in range(5000):
        nested = {"properties": {"a": nested}}
    with pytest.raises(Invalid):
        Structure(nested)
    assert kinds(json.dumps("a" * 50_000 + "!"), {"pattern": "^(a+)+$"}) == ["schema_violation"]
    assert kinds(json.dumps([{"n": n} for n in range(5000)]), {"uniqueItems": True}) == []
    assert kinds(json.dumps([{"n": 1}, {"n": 1}]), {"uniqueItems": True}) == ["schema_violation"]
    records = [{"name": "Ann", "age": n} for n in range(1000)]
    assert kinds(json.dumps(records), {"type": "array", "items": SCHEMA}) == []


def test_a_hundred_large_patterns_take_little():
    schema = {"allOf": [{"pattern": f".{{0,900}}N{n}"} for n in range(100)]}
    started = time.process_time()
    with contextlib.suppress(Invalid):
        Structure(schema).find('"' + "x" * 10_000 + '"')
    assert time.process_time() - started < 2


def test_a_text_that_says_nothing_is_no_answer():
    assert kinds("") == kinds(" \n") == []


@given(st.text(max_size=200), st.integers(1, 40))
def test_a_stream_is_held_until_it_is_known_to_be_right(text, size):
    runner = GuardRunner([]).with_guard(Structure(SCHEMA), Mode.BLOCK)
    document = json.dumps({"name": text, "age": 1})
    inspector = StreamInspector(runner)
    for at in range(0, len(document), size):
        assert inspector.feed(document[at : at + size]).text == ""
    released = inspector.finish()
    assert (released.text, released.blocked) == (document, False)
    broken = StreamInspector(runner)
    broken.feed(document[:-1])
    assert broken.finish().blocked
