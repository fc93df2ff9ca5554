"""JSON that somebody else wrote, read in the one way that all readers agree on.

Answers documents that mean different things to different parsers (a member twice, NaN, lone surrogates, a byte order
mark) and documents that are made to exhaust one (depth, size). Bytes in, plain values out.
"""

import json
from typing import Any, NoReturn

__all__ = ["NotStrictJson", "parse_strict_json"]


class NotStrictJson(ValueError):
    """Says what is wrong, and never quotes the document. Translated by whoever knows what was being read."""


def parse_strict_json(raw: bytes, *, max_bytes: int, max_depth: int = 64) -> Any:
    """UTF-8 JSON (RFC 8259) as plain values. Raises NotStrictJson, and nothing else whatever the bytes are."""
    if len(raw) > max_bytes:
        raise NotStrictJson(f"it is larger than {max_bytes} bytes")
    try:
        text = raw.decode()
        # The decoder bounds its own recursion far below the stack's end; `max_depth` is then held exactly.
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except UnicodeDecodeError as e:
        raise NotStrictJson("it is not UTF-8") from e
    except RecursionError as e:
        raise NotStrictJson(f"it nests deeper than {max_depth}") from e
    except NotStrictJson:
        raise
    except ValueError as e:  # malformed, or a number with too many digits
        raise NotStrictJson("it is not JSON") from e
    _hold_depth_and_text(value, max_depth)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("it has a member twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise NotStrictJson("it holds a number that JSON does not have")


def _hold_depth_and_text(value: Any, max_depth: int) -> None:
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, str):
            if not one.isascii():
                try:
                    one.encode()
                except UnicodeEncodeError as e:
                    raise NotStrictJson("it holds half of a character") from e
        elif isinstance(one, float):
            if one in (float("inf"), float("-inf")):  # 1e999 is JSON, and no number
                raise NotStrictJson("it holds a number that is too large")
        elif isinstance(one, dict | list):
            if depth == max_depth:
                raise NotStrictJson(f"it nests deeper than {max_depth}")
            if isinstance(one, dict):
                waiting += [(name, depth + 1) for name in one]
                waiting += [(inner, depth + 1) for inner in one.values()]
            else:
                waiting += [(inner, depth + 1) for inner in one]
