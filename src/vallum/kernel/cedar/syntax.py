"""The little of Cedar's syntax that is needed before its parser: bounds, and where one policy ends.

Cedar's parser recurses, and some hundred nested parentheses exhaust its stack and with it the process; text is
refused here first. Source: Cedar's grammar for comments and string escapes.
"""

import re
from collections.abc import Iterator, Mapping

from vallum.kernel.errors import Invalid

__all__ = ["MAX_NESTING", "MAX_POLICY_BYTES", "check_bounds", "policy_texts"]

MAX_POLICY_BYTES = 262_144  # the shipped set is some kilobytes
MAX_NESTING = 64  # about a tenth of what crashes the parser

_SKIPPED = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"', re.DOTALL)
# Control characters but tab and line feed, and what turns text around or takes no space (Trojan Source:
# CVE-2021-42574).
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_COMMENT = re.compile(r'//[^\n]*|("(?:[^"\\]|\\.)*")', re.DOTALL)
_ANNOTATION = re.compile(r'\s*@\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\(\s*"((?:[^"\\]|\\.)*)"\s*\))?')


class PolicyRefused(Invalid):
    """The policies cannot be put in force; the message says why."""

    code = "policy_refused"


def check_bounds(files: Mapping[str, str]) -> None:
    """Raises PolicyRefused for text that is too large, nests too deeply for the parser, or hides what it says."""
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values())
    if size > MAX_POLICY_BYTES:
        raise PolicyRefused(f"the policies are {size} bytes, more than {MAX_POLICY_BYTES}")
    for name, text in files.items():
        if (odd := _UNSEEN.search(text)) is not None:
            raise PolicyRefused(f"{name} holds U+{ord(odd.group()):04X}, which hides or turns around what is read")
        depth = 0
        for char in _SKIPPED.sub(" ", text):
            if char in "([{":
                depth += 1
                if depth > MAX_NESTING:
                    raise PolicyRefused(f"{name} nests deeper than {MAX_NESTING}")
            elif char in ")]}":
                depth -= 1


def policy_texts(files: Mapping[str, str]) -> dict[str, str]:
    """Each policy's own text by its `@id`. Policies without one are left out; validation refuses them.

    Only annotations at the head of a statement count, never what a comment or a string holds; validation refuses a
    set whose ids Cedar's own parser reads otherwise, so that nobody reads one policy for another.
    """
    found = ((_id_of(text), text) for file in files.values() for text in _statements(file))
    return {name: text for name, text in found if name is not None}


def _id_of(statement: str) -> str | None:
    plain = _COMMENT.sub(lambda m: m.group(1) or " " * len(m.group()), statement)
    at = 0
    while (annotation := _ANNOTATION.match(plain, at)) is not None:
        if annotation.group(1) == "id":
            return annotation.group(2)
        at = annotation.end()
    return None


def _statements(text: str) -> Iterator[str]:
    """Split at semicolons outside strings and comments; comments before a statement are dropped."""
    masked = _SKIPPED.sub(lambda m: " " * len(m.group()), text)
    start = 0
    for end in (m.end() for m in re.finditer(";", masked)):
        statement = text[start:end]
        first = re.search(r"@|\bpermit\b|\bforbid\b", masked[start:end])
        yield statement[first.start() :].strip() if first else statement.strip()
        start = end
