import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.guards import GuardRunner, Mode, StreamInspector, Structure
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


@pytest.mark.parametrize("text", ["", "Sure! {}", '{"name": "Ann", "age": 7', "[" * 100_000])
def test_what_is_no_json_is_found(text):
    assert kinds(text) == ["not_json"]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema"}, {"$ref": "file:///etc/passwd"}, {"type": "nonsense"},
        {"$schema": "http://127.0.0.1/x"}, {"pattern": "(?=a)b"}, {"enum": ["x" * 300_000]},
    ],
)  # fmt: skip
def test_a_schema_that_reaches_out_or_costs_too_much_is_refused(schema):
    with pytest.raises(Invalid, match="schema"):
        Structure(schema)


def test_hostile_schemas_and_answers_take_no_time():
    nested = {}
    for _ in range(5000):
        nested = {"properties": {"a": nested}}
    started = time.process_time()
    with pytest.raises((Invalid, RecursionError)):
        Structure(nested)
    assert kinds(json.dumps("a" * 50_000 + "!"), {"pattern": "^(a+)+$"}) == ["schema_violation"]
    assert kinds("1", {"$ref": "#"}) in ([], ["schema_violation"])
    assert time.process_time() - started < 5


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
