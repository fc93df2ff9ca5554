"""What a text is as a value: the same few lexical forms for every text format, whatever engine judges them later.

Engines cast text each in its own way (one rounds "1.5" to 2, another makes it null), so text is decided here, by
patterns, and handed on typed. Guessing takes the narrowest type that *every* value fits, over the whole file.
"""

from typing import TYPE_CHECKING

from vallum.data.table import Kind

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FORMS", "GUESSED", "converted"]

# Anchored with \A and \z, ASCII classes only: Rust's and RE2's engines agree on these.
FORMS: dict[Kind, str] = {
    Kind.INTEGER: r"\A[+-]?(?:0|[1-9][0-9]{0,17})\z",  # 18 digits always fit; a leading 0 is a code, not a number
    Kind.NUMBER: r"\A[+-]?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?\z",
    Kind.BOOLEAN: r"\A(?:true|false|True|False|TRUE|FALSE)\z",
    Kind.DATE: r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z",
    Kind.TIMESTAMP: r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-]00:00)?\z",
    Kind.TIME: r"\A[0-9]{2}:[0-9]{2}:[0-9]{2}\z",
}
GUESSED = (Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN, Kind.DATE, Kind.TIMESTAMP, Kind.TIME)  # narrowest first


def converted(text: "pl.Expr", kind: Kind) -> "pl.Expr":
    """The typed value, or null for a text that is none. Timestamps are UTC without a zone."""
    import polars as pl

    if kind not in FORMS:
        return text
    right = pl.when(text.str.contains(FORMS[kind])).then(text)
    match kind:
        case Kind.INTEGER:
            return right.cast(pl.Int64, strict=False)
        case Kind.NUMBER:
            number = right.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number)
        case Kind.BOOLEAN:
            return right.str.to_lowercase() == "true"
        case Kind.DATE:
            return right.str.to_date("%Y-%m-%d", strict=False)
        case Kind.TIME:
            return right.str.to_time("%H:%M:%S", strict=False)
        case _:
            plain = right.str.replace("T", " ", literal=True).str.replace(r"(?:Z|[+-]00:00)\z", "")
            return plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
