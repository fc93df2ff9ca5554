"""The arithmetic that tells a real number from a long one. Each takes the characters without separators.

Sources: ISO/IEC 7812 (Luhn), ISO/IEC 7064 (MOD 97-10, MOD 11-2, MOD 11,10), Verhoeff (1969), and for each national
scheme the text of its issuer; the tests hold them to an independent implementation.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date

__all__ = ["entropy", "is_date", "iso7064_11_2", "iso7064_11_10", "luhn", "mod97", "verhoeff", "weighted"]


_ONCE = bytes(max(0, byte - 48) % 10 for byte in range(256))
_TWICE = bytes(sum(divmod(2 * digit, 10)) for digit in _ONCE)
_FROM_TEN = {ord(char): str(int(char, 36)) for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"}


def luhn(digits: str) -> bool:
    raw = digits.encode()
    return (sum(raw[-1::-2].translate(_ONCE)) + sum(raw[-2::-2].translate(_TWICE))) % 10 == 0


def mod97(characters: str) -> int:
    """Letters count from A = 10; 1 for a valid ISO/IEC 7064 MOD 97-10 string."""
    return int(characters.translate(_FROM_TEN)) % 97


def weighted(digits: str, weights: Sequence[int]) -> int:
    """The sum of digit times weight; digits without a weight do not count."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def iso7064_11_10(digits: str) -> bool:
    check = 5
    for digit in digits:
        check = (((check or 10) * 2) % 11 + int(digit)) % 10
    return check == 1


def iso7064_11_2(characters: str) -> bool:
    check = 0
    for char in characters:
        check = (2 * check + (10 if char in "Xx" else int(char))) % 11
    return check == 1


_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_P = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def verhoeff(digits: str) -> bool:
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_D[check][int(_P[place % 8][int(digit)])])
    return check == 0


def is_date(year: int, month: int, day: int) -> bool:
    """Whether there is such a day; two-digit years are of this or the last century."""
    try:
        date(year + 1900 if year < 100 else year, month, day)
    except ValueError:
        return month == 2 and day == 29 and year % 4 == 0  # 1900 was no leap year; 2000 was
    return True


def entropy(value: str) -> float:
    """Shannon's, in bits per character."""
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())
