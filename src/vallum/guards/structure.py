"""Whether an answer is the JSON that was asked for. Needs the extra `structure` (jsonschema-rs).

Schemas come from callers, so nothing is fetched for a `$ref`, and patterns run in linear time; a schema that would
need more is refused. Source: JSON Schema 2020-12 and the drafts before it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vallum.guards.port import Finding
from vallum.kernel.errors import Invalid

__all__ = ["Structure"]

NAME = "structure"
VERSION = "1"

MAX_SCHEMA_CHARS = 200_000


class Structure:
    """For the answer to one request. A stream is held back until it has ended: half a document proves nothing."""

    name = NAME
    version = VERSION

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """An empty schema is content with any JSON.

        Raises Invalid for a schema that cannot be checked, ImportError without the extra.
        """
        self._validator = _validator(schema)

    def find(self, text: str) -> Sequence[Finding]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return [self._finding("not_json", text, "the answer is not the JSON that was asked for")]
        if self._validator.is_valid(document):
            return ()
        error = next(iter(self._validator.iter_errors(document)), None)
        place = "/".join(map(str, error.schema_path))[:200] if error is not None else ""
        return [self._finding("schema_violation", text, f"the answer breaks the schema that was asked for, at {place}")]

    def cursor(self) -> "StructureCursor":
        return StructureCursor(self)

    def _finding(self, kind: str, text: str, explanation: str) -> Finding:
        return Finding(NAME, VERSION, kind, 0, len(text), explanation=explanation)


class StructureCursor:
    def __init__(self, guard: Structure) -> None:
        self._guard = guard

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        return (self._guard.find(text), origin + len(text)) if final else ((), 0)


def _validator(schema: Mapping[str, Any]) -> Any:
    import jsonschema_rs

    try:
        if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
            raise Invalid(f"the schema is longer than {MAX_SCHEMA_CHARS} characters")
        return jsonschema_rs.validator_for(dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError, RecursionError) as e:
        raise Invalid(f"the schema cannot be checked: {str(e).splitlines()[0][:200]}") from e
