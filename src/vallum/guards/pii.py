"""Personal data: addresses, numbers and accounts that point at a person.

Owns the rules for personal data and the arithmetic that tells real numbers from long ones: Luhn for cards
(ISO/IEC 7812), mod 97 for IBAN (ISO 13616), the areas the US never issued for social security numbers.
Answers: sensitive information disclosure (OWASP LLM02) and data minimisation (GDPR article 5).
"""

import re
import socket
from collections.abc import Iterable

from vallum.guards.checksums import luhn, mod97
from vallum.guards.expressions import BOUNDARY, NOT_BOUNDARY, choice, letters, literal, many, maybe, sequence
from vallum.guards.national import NATIONAL_RULES, named
from vallum.guards.patterns import Beginning, Rule, RuleGuard
from vallum.guards.records import RECORD_RULES

__all__ = ["PII_RULES", "build_pii_guard"]

NAME = "pii"
VERSION = "2"

# ISO 13616 registry: characters in an IBAN, by country
_IBAN_CHARS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
_DIGIT = letters("0-9")


_BETWEEN_DIGITS = str.maketrans("", "", " .()/-+")


def _digits(text: str) -> str:
    return text.translate(_BETWEEN_DIGITS)


def _ends_of_numbers(candidate: str) -> list[int]:
    """Where a run of digits ends, longest first: a number may be followed by one that is not part of it."""
    return [found.end() for found in re.finditer(r"\d+", candidate)][::-1]


def _issued_lengths(digits: str) -> Iterable[int]:
    """How long the card numbers are that some scheme issues with these first digits, longest first."""
    two, four = digits[:2], int(digits[:4])
    if digits[0] == "4":  # Visa
        return 19, 16, 13
    if 5100 <= four <= 5599 or 2221 <= four <= 2720:  # Mastercard, both series
        return (16,)
    if two in ("34", "37"):  # American Express
        return (15,)
    if four in (1800, 2131):  # JCB's old numbers
        return (15,)
    if four == 6011 or two in ("35", "62", "64", "65", "81"):  # Discover, JCB, UnionPay, RuPay
        return range(19, 15, -1)
    if two in ("30", "36", "38", "39"):  # Diners
        return range(19, 13, -1)
    if two in ("50", "56", "57", "58", "60", "63", "67") or four == 604:  # Maestro
        return range(19, 11, -1)
    return ()


def _check_card(candidate: str) -> tuple[int, int] | int:
    """A length and a range some scheme issues, then Luhn; a number that goes on behind the last digit is another."""
    digits = _digits(candidate)
    for length in _issued_lengths(digits):
        if length > len(digits) or not luhn(digits[:length]) or len(set(digits[:length])) == 1:
            continue
        end = [at for at, char in enumerate(candidate, 1) if char not in " -"][length - 1]
        if candidate[end : end + 1] in ("", " ", "-"):
            return 0, end
    return 1


def _check_ssn(candidate: str) -> tuple[int, int] | int:
    area, group, serial = candidate[:3], candidate[4:6], candidate[7:]
    refused = area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000"
    return 1 if refused or candidate[3] != candidate[6] else (0, len(candidate))


def _check_iban(candidate: str) -> tuple[int, int] | int:
    wanted = _IBAN_CHARS.get(candidate[:2].upper())
    if wanted is None:
        return 1
    places = [index for index, char in enumerate(candidate) if char != " "]
    if len(places) < wanted:
        return 1
    end = places[wanted - 1] + 1
    if end < len(candidate) and candidate[end] != " ":
        return 1
    iban = candidate[:end].replace(" ", "").upper()
    return (0, end) if mod97(iban[4:] + iban[:4]) == 1 else 1


def _check_ip(candidate: str) -> tuple[int, int] | int:
    """Hostile text is made of what nearly is an address, so that the library's slower parser is not asked."""
    trimmed = candidate.rstrip(".:") if not candidate.endswith("::") else candidate
    is_six = ":" in trimmed
    try:
        address = socket.inet_pton(socket.AF_INET6 if is_six else socket.AF_INET, trimmed)
    except OSError:
        return len(candidate)
    if not is_six:
        return len(candidate) if address[0] == 127 or not any(address) else (0, len(trimmed))  # points at no one
    if not any(address[:15]) and address[15] < 2:
        return len(candidate)
    if sum(map(bool, trimmed.replace(".", ":").split(":"))) < 3 and trimmed[0] not in "fF":
        return len(candidate)  # `a::b` is far more often code than an address
    return 0, len(trimmed)


_DATE = re.compile(r"(\d{1,4})[./ -](\d{1,2})[./ -](\d{1,4})(?!\d)")


def _match_date(text: str, start: int = 0) -> re.Match[str] | None:
    """A day, a month and a year, in one of the orders in which people write them."""
    match = _DATE.match(text, start)
    if match is None:
        return None
    first, second, third = (int(part) for part in match.groups())
    is_year = len(match[3]) == 2 or 1000 <= third < 2200
    day_first = is_year and 0 < first <= 31 and 0 < second <= 12
    month_first = is_year and 0 < first <= 12 and 0 < second <= 31
    year_first = 1000 <= first < 2200 and 0 < second <= 12 and 0 < third <= 31
    return match if day_first or month_first or year_first else None


def _check_international(candidate: str) -> tuple[int, int] | int:
    """E.164: at most 15 digits behind the plus, and no country code starts with 0."""
    if _match_date(candidate, 1):
        return len(candidate)  # a line that a diff adds
    for end in _ends_of_numbers(candidate):
        digits = _digits(candidate[:end])
        if len(digits) < 8:
            break
        if len(digits) <= 15:
            return 0, end
    return 1


def _check_email(candidate: str) -> tuple[int, int] | int:
    """Not `icon@2x.png`, and not the user of a git remote."""
    ending = candidate.rpartition(".")[2].lower()
    return len(candidate) if ending in _FILE_ENDINGS or candidate.startswith("git@") else (0, len(candidate))


_FILE_ENDINGS = frozenset(
    {"png", "jpg", "jpeg", "gif", "svg", "webp", "pdf", "css", "js", "ts", "html", "json", "yaml"}
)


def _check_north_american(candidate: str) -> tuple[int, int] | int:
    """Three, three and four digits; in brackets the area code may be any, by itself it begins with 2 to 9."""
    return (0, len(candidate)) if candidate[0] == "(" or _digits(candidate)[-10] not in "01" else 1


_SSN_SHAPE = re.compile(r"\d{3}([ -])\d{2}\1\d{4}(?!\d)")


def _check_national(candidate: str) -> tuple[int, int] | int:
    """A trunk zero and groups, as most of Europe and Asia write it; not a date, not a list of small numbers."""
    if _SSN_SHAPE.match(candidate):
        return 1
    date = _match_date(candidate)
    if date and candidate[date.end() : date.end() + 1] in ("", " "):  # and perhaps an hour behind it
        return 1
    for end in _ends_of_numbers(candidate):
        digits = _digits(candidate[:end])
        if len(digits) < 9:
            break
        if len(digits) <= 12 and digits[1] != "0" and len(set(digits)) > 2:
            return 0, end
    return 1


def _is_telephone(digits: str) -> bool:
    """Behind a word that says so, anything of a telephone number's length that is not a date."""
    return 7 <= sum(c.isdigit() for c in digits) <= 15 and len(set(digits)) > 2 and not _YEAR_FIRST.match(digits)


_YEAR_FIRST = re.compile(r"(?:19|20)\d\d[01]\d[0-3]\d\Z")
_LABEL_CHARS = "A-Za-z0-9-"
_PHONE_GAP = many(" .()/-", 0, 2)
_EXTENSION = sequence(
    many(" ", 0, 1),
    choice(*(literal(w, folded=True) for w in ("x", "ext ", "ext."))),
    many(" ", 0, 1),
    many(_DIGIT, 1, 6),
)
# A number that words beside it call a telephone's; which words is not told by the number.
_SPOKEN_NUMBER = sequence(maybe("+"), maybe("("), _DIGIT, many(sequence(_PHONE_GAP, _DIGIT), 6, 14), maybe(_EXTENSION))
_PHONE_WORDS = (
    "phone", "tel", "telephone", "telefon", "telefono", "teléfono", "téléphone", "telefone", "mobile",
    "mobil", "mobiel", "móvil", "handy", "portable", "cellulare", "celular", "cell", "cellphone", "fax", "desk",
    "direct line", "hotline", "call", "call me", "call us", "ring me", "reach me", "reach us", "answering", "dial",
    "whatsapp", "sms", "text me", "contact number", "registered number", "my registered", "messages to",
)  # fmt: skip
_PHONE_WORDS_BEHIND = ("office", "fax", "mobile", "cell", "desk", "phone", "tel", "home", "work", "handy")


def _before_its_word(candidate: str) -> tuple[int, int] | int:
    number = _LEADING_NUMBER.match(candidate)
    return number.span() if number is not None and _is_telephone(_digits(number[0])) else 1


_LEADING_NUMBER = re.compile(r"[+(\d][\d .()/-]*\d(?:\s?(?:x|ext[ .])\s?\d{1,6})?", re.IGNORECASE)

PII_RULES = (
    Rule(
        "email",
        sequence(
            many(r"A-Za-z0-9._%+'-", 1, 64),
            "@",
            many(sequence(many(_LABEL_CHARS, 1, 63), "."), 1, 8),
            many("A-Za-z", 2, 24),
            BOUNDARY,
        ),
        _check_email,
    ),
    Rule(
        "phone",
        sequence(NOT_BOUNDARY, "+", letters("1-9"), many(sequence(_PHONE_GAP, _DIGIT), 6, 17), BOUNDARY),
        _check_international,
    ),
    Rule(
        "phone",
        sequence(
            choice(
                sequence(BOUNDARY, maybe(choice("1", "001"), letters(" .-")), many(_DIGIT, 3, 3), letters(" .-")),
                sequence("(", many(_DIGIT, 3, 3), ")", maybe(letters(" -"))),
            ),
            many(_DIGIT, 3, 3),
            letters(" .-"),
            many(_DIGIT, 4, 4),
            maybe(_EXTENSION),
            BOUNDARY,
        ),
        _check_north_american,
    ),
    Rule(
        "phone",
        sequence(
            choice(sequence(BOUNDARY, "0"), sequence(NOT_BOUNDARY, "(0")),
            many(_DIGIT, 1, 4),
            maybe(")"),
            many(sequence(letters(" ./-"), many(_DIGIT, 2, 8)), 1, 5),
            BOUNDARY,
        ),
        _check_national,
    ),
    named(
        "phone",
        _PHONE_WORDS,
        _SPOKEN_NUMBER,
        _is_telephone,
    ),
    Rule(
        "phone",
        sequence(
            BOUNDARY,
            _SPOKEN_NUMBER,
            many(" -", 1, 2),
            choice(*(literal(word, folded=True) for word in _PHONE_WORDS_BEHIND)),
            BOUNDARY,
        ),
        _before_its_word,
        Beginning.FIGURES,
    ),
    Rule(
        "payment_card",
        sequence(BOUNDARY, letters("1-68"), many(sequence(maybe(letters(" -")), _DIGIT), 11, 18), BOUNDARY),
        _check_card,
    ),
    Rule(
        "iban",
        sequence(
            BOUNDARY,
            many("A-Za-z", 2, 2),
            many(_DIGIT, 2, 2),
            many(sequence(maybe(" "), many("A-Za-z0-9", 4, 4)), 2, 7),
            maybe(maybe(" "), many("A-Za-z0-9", 1, 3)),
            BOUNDARY,
        ),
        _check_iban,
    ),
    Rule(
        "us_ssn",
        sequence(
            BOUNDARY, many(_DIGIT, 3, 3), letters(" -"), many(_DIGIT, 2, 2), letters(" -"), many(_DIGIT, 4, 4), BOUNDARY
        ),
        _check_ssn,
    ),
    Rule(
        "ip_address",
        sequence(BOUNDARY, many(_DIGIT, 1, 3), many(sequence(literal("."), many(_DIGIT, 1, 3)), 3, 7), BOUNDARY),
        _check_ip,
    ),
    Rule(
        "ip_address",
        sequence(
            choice(sequence(BOUNDARY, many("0-9A-Fa-f", 1, 4), ":"), sequence(NOT_BOUNDARY, "::")),
            many(sequence(many("0-9A-Fa-f", 0, 4), ":"), 0, 6),
            many("0-9A-Fa-f.", 1, 15),
            BOUNDARY,
        ),
        _check_ip,
    ),
    *NATIONAL_RULES,
    *RECORD_RULES,
)


def build_pii_guard() -> RuleGuard:
    return RuleGuard(NAME, VERSION, PII_RULES)
