"""One value in, one value out: masks, keyed hashes, coarser values, shifted dates.

A hash without a key is no protection: whoever can list the values can list the hashes. These take a key of at least
16 bytes and the column they are for, so that equal values of two columns differ.
"""

import hmac
from datetime import date, timedelta
from hashlib import sha256
from math import floor, isfinite
from typing import Literal

from vallum.data.fields.place import bound
from vallum.kernel.errors import Invalid

__all__ = [
    "date_of",
    "generalise_date",
    "generalise_number",
    "generalise_prefix",
    "keyed_hash",
    "mask",
    "redact",
    "shift_date",
    "shifted_days",
]

REDACTED = "[redacted]"
_MASK = "*"
_MIN_KEY_BYTES = 16
_MAX_SHOWN_SHARE = 2  # at most one character in two is shown


def mask(value: str, keep_last: int = 4) -> str:
    """All but the last characters; never more than half, so that a short value is not shown by masking it."""
    if keep_last < 0:
        raise Invalid("a mask keeps 0 or more characters")
    kept = min(keep_last, len(value) // _MAX_SHOWN_SHARE)
    return _MASK * (len(value) - kept) + value[len(value) - kept :]


def redact(value: str) -> str:
    """The same for every value: not even its length is left."""
    return REDACTED


def keyed_hash(value: str, key: bytes, column: str) -> str:
    """HMAC-SHA-256, 64 hexadecimal digits: equal values of a column stay equal, and nobody without the key can tell."""
    message = bound(column) + value.encode("utf-8", "surrogatepass")
    return hmac.new(_checked(key), b"vallum/hash/1\x00" + message, sha256).hexdigest()


def generalise_number(value: float, width: float, origin: float = 0.0) -> str:
    """The interval of that width the number is in: `[20, 30)`."""
    if not (isfinite(width) and width > 0 and isfinite(value)):
        raise Invalid("a number is generalised to intervals of a finite width above 0")
    low = origin + floor((value - origin) / width) * width
    return f"[{low:g}, {low + width:g})"


def generalise_date(value: date, to: Literal["month", "quarter", "year", "decade"]) -> str:
    if to == "month":
        return f"{value.year:04}-{value.month:02}"
    if to == "quarter":
        return f"{value.year:04}-Q{(value.month + 2) // 3}"
    if to == "year":
        return f"{value.year:04}"
    return f"{value.year // 10 * 10:04}s"


def generalise_prefix(value: str, keep: int) -> str:
    """The first characters and a star for the rest, as for postal codes."""
    if keep < 0:
        raise Invalid("a prefix keeps 0 or more characters")
    return value if len(value) <= keep else value[:keep] + _MASK


def shift_date(value: date, subject: str, key: bytes, max_days: int = 182) -> date:
    """All dates of one subject move by the same number of days, which only the key tells, and never by 0.

    What lies between two dates of a subject stays as it was; raises Invalid where the calendar ends.
    """
    days = shifted_days(subject, key, max_days)
    try:
        return value + timedelta(days=days)
    except OverflowError as e:
        raise Invalid(f"a date near the calendar's end cannot be shifted by up to {max_days} days") from e


def shifted_days(subject: str, key: bytes, max_days: int = 182) -> int:
    """By how many days the dates of this subject move: from -max_days to max_days, and not 0. Raises Invalid."""
    if not 1 <= max_days <= 36_500:
        raise Invalid("dates are shifted by at most 1 to 36,500 days")
    raw = hmac.new(
        _checked(key), b"vallum/date-shift/1\x00" + subject.encode("utf-8", "surrogatepass"), sha256
    ).digest()
    days = int.from_bytes(raw, "big") % (2 * max_days)  # 256 bits: the bias is below 2**-240
    return days - max_days if days < max_days else days - max_days + 1


def date_of(text: str) -> date:
    """An ISO 8601 date. Raises Invalid without quoting what it is not."""
    try:
        return date.fromisoformat(text)
    except ValueError as e:
        raise Invalid("a value is no date of the form 2026-01-31") from e


def _checked(key: bytes) -> bytes:
    if len(key) < _MIN_KEY_BYTES:
        raise Invalid(f"a key for hashing has at least {_MIN_KEY_BYTES} bytes")
    return key
