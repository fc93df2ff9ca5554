"""What a person is known by (an e-mail address, a number, a full name), and where that stands in a text or a table.

A cell is theirs when it is one of the identifiers, or holds it as a word of its own: `ann@example.org` stands in
"mail ann@example.org." and not in `joann@example.org`, `ann@example.org.uk` or `x.ann@example.org`. Capitals, and how
accents are composed, make no difference. Identifiers of fewer than five characters are only looked for as whole cells:
in texts they would be found everywhere. Dates, measures and embeddings are nobody's identifiers, and are not looked at;
they go with the row that they are in.

One regular expression says all of it, without look-around, so that Polars (Rust's `regex`) and RE2 agree on it.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_IDENTIFIERS", "Identifiers"]

MAX_IDENTIFIERS = 50
_MAX_CHARS = 320  # an e-mail address has 254 at most, a name hardly more
_MIN_CHARS = 3
_MIN_CHARS_IN_TEXT = 5
# Part of a word is also what joins the pieces of an address, where there is another piece beyond it.
_BEFORE = r"(?:^|[^\w.+@-]|(?:^|[^\w])[.+@-])"
_AFTER = r"(?:$|[^\w.@-]|[.@-](?:$|[^\w]))"


class Identifiers:
    """Constructed is valid. Its `repr` shows none of them."""

    __slots__ = ("_in_text", "_pattern", "people", "values")

    def __init__(self, values: Sequence[str]) -> None:
        """Raises Invalid. `person:per_…` and `service:svc_…` name accounts: what was asked for them is theirs."""
        kept = tuple(dict.fromkeys(" ".join(unicodedata.normalize("NFC", value).split()) for value in values))
        if not kept or len(kept) > MAX_IDENTIFIERS:
            raise Invalid(f"identifiers: name 1 to {MAX_IDENTIFIERS} that the person is known by")
        for value in kept:
            if not _MIN_CHARS <= len(value) <= _MAX_CHARS or not value.isprintable():
                raise Invalid(f"identifiers: each has {_MIN_CHARS} to {_MAX_CHARS} printable characters")
            if not any(char.isalnum() for char in value):
                raise Invalid("identifiers: one without a letter or a digit says who of nobody")
        self.values = kept
        self.people = frozenset(value for value in kept if re.fullmatch(r"(?:person:per|service:svc)_\w+", value))
        long = _alternatives([value for value in kept if len(value) >= _MIN_CHARS_IN_TEXT])
        whole = rf"^\s*(?:{_alternatives(kept)})\s*$"
        within = rf"{_BEFORE}(?:{long}){_AFTER}" if long else ""
        self._pattern = f"(?i)(?:{whole}|{within})" if within else f"(?i){whole}"
        self._in_text = re.compile(f"(?i){within}") if within else None

    def __repr__(self) -> str:
        return f"Identifiers({len(self.values)})"

    def in_content(self, content: bytes) -> bool:
        """Whether a kept request or answer (JSON, or plain text) names the person."""
        if self._in_text is None:
            return False
        text = content.decode(errors="replace")
        if self._in_text.search(text):
            return True
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return any(self._in_text.search(each) for each in _strings(document))  # escapes are read as what they say

    def named_in(self, words: str) -> bool:
        """Whether somebody's own words, which are kept, hold an identifier, however it stands there."""
        text = " ".join(unicodedata.normalize("NFC", words).split()).casefold()
        return any(value.casefold() in text for value in self.values)

    def spellings(self, column: str) -> Sequence[str]:
        """What a whole cell may have been before it was hashed: as it was said, and in the usual capitals."""
        forms = [
            unicodedata.normalize(form, spelled)
            for value in self.values
            for spelled in (value, value.lower(), value.upper(), value.title(), value.casefold())
            for form in ("NFC", "NFD")
        ]
        return tuple(dict.fromkeys(forms))

    def matching(self, schema: "Mapping[str, Any]") -> "Mapping[str, pl.Expr]":
        """For each column that may hold an identifier, an expression that is true where it does. Never null."""
        found = {}
        for name, dtype in schema.items():
            text = _as_text(name, dtype)
            if text is not None:
                found[name] = text.str.contains(self._pattern).fill_null(False).alias(name)
        return found


def _alternatives(values: Sequence[str]) -> str:
    forms: dict[str, None] = {}
    for value in values:
        for form in ("NFC", "NFD"):
            forms[r"\s+".join(_escaped(word) for word in unicodedata.normalize(form, value).split(" "))] = None
    return "|".join(forms)


def _escaped(word: str) -> str:
    """Python escapes more than Rust's syntax takes: what is no letter or digit of ASCII goes in by its number."""
    return "".join(char if char.isalnum() or not char.isascii() else f"\\x{ord(char):02x}" for char in word)


def _as_text(name: str, dtype: Any) -> "pl.Expr | None":
    import polars as pl

    column = pl.col(name)
    if dtype == pl.String:
        return column
    if dtype in (pl.Categorical, pl.Enum) or dtype.is_integer():
        return column.cast(pl.String)
    if dtype.is_nested() and not _of_numbers(dtype):
        return pl.struct(column).struct.json_encode().str.replace_all(r"\\[bfnrt]", " ")
    if dtype == pl.Binary:
        return column.map_elements(lambda raw: raw.decode(errors="replace"), return_dtype=pl.String)
    return None


def _of_numbers(dtype: Any) -> bool:
    inner = getattr(dtype, "inner", None)
    while inner is not None and getattr(inner, "inner", None) is not None:
        inner = inner.inner
    return inner is not None and inner.is_float()


def _strings(document: Any) -> list[str]:
    found, waiting = list[str](), [document]
    while waiting:
        match waiting.pop():
            case str() as text:
                found.append(text)
            case dict() as items:
                waiting.extend((*items.keys(), *items.values()))
            case list() as items:
                waiting.extend(items)
    return found
