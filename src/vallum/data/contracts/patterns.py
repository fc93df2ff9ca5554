"""Regular expressions that mean the same on every engine, and end in linear time on each.

Contracts come from others, so a pattern is an attack until shown otherwise: it is bounded, compiled by RE2 within a
bound of memory, and rewritten in what RE2 and Rust's engine (DuckDB and Polars) read alike. Like the standard's
(ECMA-262), it searches: anchor it with ^ and $ to match the whole.
"""

from vallum.kernel.errors import Invalid

__all__ = ["MAX_PATTERN", "BadPattern", "portable_pattern"]

MAX_PATTERN = 1000
_MAX_MEMORY = 1 << 20  # bytes of RE2's program: \w{1000}{1000} needs more
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\x0B\f\r "}
_CONTROLS = {"t": r"\t", "n": r"\n", "r": r"\r", "f": r"\f", "v": r"\x0B"}


class BadPattern(Invalid):
    """A pattern that is not taken. Says where."""

    code = "bad_contract"


def portable_pattern(pattern: str) -> str:
    """The pattern in portable form. Raises BadPattern for what RE2 has not (look-around, back references), for flags,
    Unicode classes, word boundaries, and for what would need more than a bounded program.
    """
    import re2

    if len(pattern) > MAX_PATTERN:
        raise BadPattern(f"a pattern of {len(pattern)} characters, and {MAX_PATTERN} are the most")
    rewritten = _rewritten(pattern)
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    try:
        re2.compile(rewritten, options)
    except re2.error as e:
        raise BadPattern("a pattern that RE2 does not take: not a regular expression, or too large") from e
    return rewritten


def _rewritten(pattern: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        match char:
            case "\\":
                out.append(_escape(pattern, at, inside=False))
                at += 2
            case "[":
                text, at = _class(pattern, at)
                out.append(text)
            case "(":
                if pattern.startswith("(?", at) and not pattern.startswith("(?:", at):
                    raise BadPattern(f"character {at + 1}: only plain groups and (?: …) are read here")
                out.append("(?:")
                at += 3 if pattern.startswith("(?:", at) else 1
            case "^" | "$" | ".":
                out.append({"^": r"\A", "$": r"\z", ".": r"[^\n\r]"}[char])
                at += 1
            case "*" | "+" | "?" | "{" | "}" | "|" | ")":
                out.append(char)
                at += 1
            case _:
                out.append(_literal(char))
                at += 1
    return "".join(out)


def _escape(pattern: str, at: int, *, inside: bool) -> str:
    if at + 1 == len(pattern):
        raise BadPattern("the pattern ends in a backslash")
    char = pattern[at + 1]
    if char in _CLASSES:
        return _CLASSES[char] if inside else f"[{_CLASSES[char]}]"
    if char.lower() in _CLASSES and not inside:
        return f"[^{_CLASSES[char.lower()]}]"
    if char in _CONTROLS:
        return _CONTROLS[char]
    if char.isalnum():
        raise BadPattern(f"character {at + 1}: \\{char} is not read here")
    return _literal(char)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """A bracketed class. Signs that Rust reads as set operations (&&, --) come out as the characters they are."""
    start = at
    at += 1
    out = ["["]
    if pattern.startswith("^", at):
        out.append("^")
        at += 1
    if pattern.startswith("]", at):
        raise BadPattern(f"character {at + 1}: an empty class")
    previous = ""  # the single character before a dash, which a range may begin with
    while at < len(pattern) and pattern[at] != "]":
        char = pattern[at]
        if char == "-" and previous and at + 1 < len(pattern) and pattern[at + 1] != "]":
            out.append("-")
            previous = ""
            at += 1
        elif char == "\\":
            text = _escape(pattern, at, inside=True)
            previous = "" if pattern[at + 1] in _CLASSES else text
            out.append(text)
            at += 2
        else:
            previous = _literal(char)
            out.append(previous)
            at += 1
    if at == len(pattern):
        raise BadPattern(f"character {start + 1}: the class is not closed")
    return "".join(out) + "]", at + 1


def _literal(char: str) -> str:
    return char if char.isalnum() or not char.isascii() or char in "_ " else f"\\x{ord(char):02X}"
