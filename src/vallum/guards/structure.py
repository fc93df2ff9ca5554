"""Whether an answer is the JSON that was asked for. Needs the extra `structure` (jsonschema).

Schemas come from callers. So nothing is fetched for a `$ref`, patterns run in linear time (RE2), and an evaluation has
a number of steps: a schema of a kilobyte can ask for more of them than there is time. Keywords whose cost steps do not
bound are refused. Source: JSON Schema 2020-12 and the drafts before it; RFC 8259, where a name counts once.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import re2

from vallum.guards.port import Finding
from vallum.kernel.errors import Invalid

__all__ = ["KINDS", "Structure", "TooManySteps"]

NAME = "structure"
VERSION = "1"
KINDS = ("not_json", "schema_violation")

MAX_SCHEMA_CHARS = 50_000
MAX_PATTERNS = 100
MAX_PATTERN_MEMORY = 256 * 1024  # bytes; what a word of a form needs is a hundredth of it
MAX_STEPS = 50_000  # keywords looked at, about a quarter of a second; a thousand records of ten fields take half of it
_SIZE_OF_A_STEP = 100  # characters or items, of what a keyword looks at
_UNBOUNDED = ("patternProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef")
_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions", "dependentSchemas")
_VALUES = ("enum", "const", "default", "examples")


class TooManySteps(Exception):
    """The schema asks for more work on this answer than an answer is worth."""


class Structure:
    """For the answer to one request; a text without a word is no answer. Thread-safe."""

    name = NAME
    version = VERSION

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """An empty schema is content with any JSON.

        Raises Invalid for a schema that cannot be checked, ImportError without the extra.
        """
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for

        self._class = validator_for(schema, default=Draft202012Validator)
        self._schema = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
        try:
            if len(json.dumps(self._schema)) > MAX_SCHEMA_CHARS:
                raise Invalid(f"the schema is longer than {MAX_SCHEMA_CHARS} characters")
            self._class.check_schema(self._schema)
            self._patterns = {pattern: _compiled(pattern) for pattern in _patterns(self._schema)}
        except SchemaError as e:
            raise Invalid(f"the schema is none: at {'/'.join(map(str, e.absolute_path))[:200] or 'its root'}") from e
        except (ValueError, TypeError, RecursionError) as e:
            raise Invalid(f"the schema cannot be checked: {type(e).__name__}") from e

    def find(self, text: str) -> Sequence[Finding]:
        """Raises TooManySteps, or RecursionError: what cannot be judged is not let through by those who ask."""
        if not text.strip():
            return ()
        try:
            document = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            return [self._finding("not_json", text, "the answer is not the JSON that was asked for")]
        if not self._schema:
            return ()
        error = next(self._errors(document), None)
        if error is None:
            return ()
        place = "/".join(map(str, error.absolute_schema_path))[:200]
        return [self._finding("schema_violation", text, f"the answer breaks the schema that was asked for, at {place}")]

    def cursor(self) -> "StructureCursor":
        return StructureCursor(self)

    def _errors(self, document: Any) -> Iterator[Any]:
        from jsonschema import ValidationError
        from jsonschema.validators import extend
        from referencing.jsonschema import EMPTY_REGISTRY

        steps = _Steps()

        def matches(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
            if isinstance(instance, str) and self._patterns[pattern].search(instance) is None:
                yield ValidationError("it does not match the pattern")

        def unique(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[Any]:
            """By what the items say; comparing each with each would take their square."""
            said: set[str] = set()
            if not wanted or not isinstance(instance, list):
                return
            for item in instance:
                text = json.dumps(item, sort_keys=True)
                steps.spend(len(text) // _SIZE_OF_A_STEP)
                said.add(text)
            if len(said) < len(instance):
                yield ValidationError("it has an item twice")

        keywords = {name: steps.counted(check) for name, check in self._class.VALIDATORS.items()}
        keywords |= {"pattern": steps.counted(matches), "uniqueItems": steps.counted(unique)}
        keywords |= dict.fromkeys(_UNBOUNDED, _refuse_keyword)  # a $ref may lead to where no schema was looked for
        if "additionalProperties" in keywords:
            keywords["additionalProperties"] = _without_patterns(keywords["additionalProperties"])
        validator: Any = extend(self._class, keywords)
        validator.evolve = _evolving(validator.evolve)
        found: Iterator[Any] = validator(self._schema, registry=EMPTY_REGISTRY).iter_errors(document)
        return found

    def _finding(self, kind: str, text: str, explanation: str) -> Finding:
        return Finding(NAME, VERSION, kind, 0, len(text), explanation=explanation)


class StructureCursor:
    """Holds everything back until the end: half a document proves nothing."""

    def __init__(self, guard: Structure) -> None:
        self._guard = guard

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        return (self._guard.find(text), origin + len(text)) if final else ((), 0)


_Keyword = Callable[[Any, Any, Any, Any], Any]


class _Steps:
    """Counts the keywords of one evaluation."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooManySteps("the schema asks for too much work on this answer")

    def counted(self, check: _Keyword) -> _Keyword:
        def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            size = len(instance) if isinstance(instance, str | list | dict) else 0
            self.spend(1 + (len(value) if isinstance(value, list) else 0) + size // _SIZE_OF_A_STEP)
            return check(validator, value, instance, schema)

        return keyword


def _refuse_keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
    raise TooManySteps("the schema has a keyword whose cost nothing bounds")


def _without_patterns(check: _Keyword) -> _Keyword:
    """The library reads `patternProperties` there, by itself and with backtracking."""

    def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        if "patternProperties" in schema:
            return _refuse_keyword(validator, value, instance, schema)
        return check(validator, value, instance, schema)

    return keyword


def _evolving(evolve: Callable[..., Any]) -> Callable[..., Any]:
    """The library goes on with its own validator, which counts no steps, below a schema that names a `$schema`."""

    def evolving(self: Any, **changes: Any) -> Any:
        schema = changes.get("schema", self.schema)
        if isinstance(schema, dict) and "$schema" in schema:
            raise TooManySteps("a schema within the schema names another dialect")
        return evolve(self, **changes)

    return evolving


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    try:
        return re2.compile(pattern, options)
    except (re2.error, TypeError) as e:
        raise Invalid("the schema cannot be checked: a pattern is none of RE2's, or too large") from e


def _patterns(schema: Any) -> set[str]:
    """Raises Invalid for a keyword or a reference whose cost nothing bounds, and for too many patterns."""
    found: set[str] = set()
    _collect(schema, found)
    if len(found) > MAX_PATTERNS:
        raise Invalid(f"the schema cannot be checked: it has more than {MAX_PATTERNS} patterns")
    return found


def _collect(schema: Any, found: set[str]) -> None:
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in _UNBOUNDED:
            raise Invalid(f"the schema cannot be checked: {keyword} is not supported here")
        if keyword == "$ref" and not (isinstance(value, str) and value.startswith("#")):
            raise Invalid("the schema cannot be checked: $ref must point within it, for nothing is fetched")
        if keyword == "pattern":
            found.add(value)
        if keyword in _SCHEMAS_BY_NAME and isinstance(value, dict):
            for inner in value.values():
                _collect(inner, found)
        elif isinstance(value, list) and keyword not in _VALUES:
            for inner in value:
                _collect(inner, found)
        elif keyword not in _VALUES:
            _collect(value, found)


def _refuse(constant: str) -> Any:
    raise ValueError("JSON has no such number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("no reader could hold this number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Which of two values of one name counts differs from reader to reader."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made
