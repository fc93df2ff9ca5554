"""What health, payment and civil records hold beside national numbers: papers, vehicles, devices, accounts, places.

Most have no form of their own and are found behind the word that names them; the rest carry a check.
Answers: HIPAA's identifiers (45 CFR 164.514), PCI DSS's sensitive authentication data, GDPR article 4(1).
"""

import re
from hashlib import sha256

from vallum.guards.checksums import is_date, luhn, weighted
from vallum.guards.expressions import BOUNDARY, choice, letters, many, maybe, sequence
from vallum.guards.national import named
from vallum.guards.patterns import Rule

__all__ = ["RECORD_RULES"]

_DIGIT = letters("0-9")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VIN = {c: int(v) for c, v in zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True)}


def _check_bitcoin(candidate: str) -> tuple[int, int] | int:
    """Base58Check (four bytes of a double SHA-256), or the polynomial of BIP 173 and 350."""
    return (0, len(candidate)) if (_bech32 if candidate[0] == "b" else _base58check)(candidate) else len(candidate)


def _base58check(address: str) -> bool:
    number = 0
    for char in address:
        number = number * 58 + _BASE58.index(char)
    if number >= 1 << 200:
        return False
    raw = number.to_bytes(25, "big")
    return sha256(sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _bech32(address: str) -> bool:
    data = [_BECH32.find(c) for c in address[3:]]
    if -1 in data:
        return False
    check = 1
    for value in (3, 3, 0, 2, 3, *data):  # "bc" spread over high and low bits
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, part in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= part if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)


def _check_vin(candidate: str) -> tuple[int, int] | int:
    """ISO 3779 with the check digit of 49 CFR 565."""
    values = [int(c) if c.isdigit() else _VIN[c] for c in candidate]
    total = sum(v * w for v, w in zip(values, (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2), strict=True))
    letters_and_digits = not candidate.isdigit() and not candidate.isalpha()
    return (0, 17) if letters_and_digits and "0123456789X"[total % 11] == candidate[8] else 17


def _check_mrz(candidate: str) -> tuple[int, int] | int:
    """The second line of a passport's machine-readable zone, ICAO 9303: three of its check digits."""
    fields = ((0, 9), (13, 19), (21, 27))
    good = all(_mrz_digit(candidate[low:high]) == candidate[high] for low, high in fields)
    return (0, len(candidate)) if good else 1


def _mrz_digit(field: str) -> str:
    values = (0 if c == "<" else int(c, 36) for c in field)
    return str(sum(v * (7, 3, 1)[i % 3] for i, v in enumerate(values)) % 10)


def _has_digits(number: str) -> bool:
    return sum(c.isdigit() for c in number) >= 1


def _npi(number: str) -> bool:
    return luhn("80840" + number)


def _dea(number: str) -> bool:
    digits = number[2:]
    return (weighted(digits[:5:2], (1, 1, 1)) + 2 * weighted(digits[1:6:2], (1, 1, 1))) % 10 == int(digits[6])


def _birth_date(text: str) -> bool:
    parts = [int(p) for p in re.findall(r"\d+", text)]
    return len(parts) < 3 or any(is_date(y, m, d) for y, m, d in _orders(parts))


def _orders(parts: list[int]) -> list[tuple[int, int, int]]:
    a, b, c = parts[:3]
    return [(a, b, c)] if a > 31 else [(c, b, a), (c, a, b)]


def _check_track(candidate: str) -> tuple[int, int] | int:
    digits = re.search(r"\d{12,19}", candidate)
    return (0, len(candidate)) if digits and luhn(digits[0]) else len(candidate)


_ANY_MARK = letters("A-Z0-9")
_MONTH = choice(*(m for m in ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")))
_SEPARATED_DATE = sequence(many(_DIGIT, 1, 4), letters("/.-"), many(_DIGIT, 1, 2), letters("/.-"), many(_DIGIT, 2, 4))
_WRITTEN_DATE = choice(
    sequence(many(_DIGIT, 1, 2), maybe("."), " ", _MONTH, many("a-z", 0, 6), " ", many(_DIGIT, 4, 4)),
    sequence(_MONTH, many("a-z", 0, 6), " ", many(_DIGIT, 1, 2), ", ", many(_DIGIT, 4, 4)),
)

RECORD_RULES = (
    named(
        "date_of_birth",
        (
            "date of birth",
            "birth date",
            "birthdate",
            "birthday",
            "dob",
            "born on",
            "geboren am",
            "geburtsdatum",
            "date de naissance",
            "fecha de nacimiento",
            "data di nascita",
        ),
        _SEPARATED_DATE,
    ),
    Rule(
        "date_of_birth",
        sequence(
            BOUNDARY,
            choice("date of birth", "Date of birth", "Date of Birth", "DOB", "born on", "Born on"),
            many(r": \t", 1, 3),
            _WRITTEN_DATE,
            BOUNDARY,
        ),
        lambda c: (next(i for i, x in enumerate(c) if x.isdigit() or (c[i : i + 3].istitle() and i > 4)), len(c)),
    ),
    named(
        "passport_number",
        ("passport", "reisepass", "passeport", "pasaporte"),
        sequence(many("A-Z", 0, 2), many(_DIGIT, 6, 9)),
    ),
    named(
        "drivers_license",
        (
            "driver's license",
            "drivers license",
            "driver license",
            "driving licence",
            "driving license",
            "licence number",
            "license number",
            "führerschein",
        ),
        sequence(many("A-Za-z", 0, 5), many("0-9A-Z", 5, 16)),
        _has_digits,
    ),
    named(
        "license_plate",
        ("license plate", "licence plate", "number plate", "kennzeichen", "registration plate"),
        sequence(many(_ANY_MARK, 1, 3), many(sequence(maybe(letters(" -")), many(_ANY_MARK, 1, 4)), 1, 3)),
        _has_digits,
    ),
    Rule(
        "passport_mrz",
        sequence(
            BOUNDARY,
            many("A-Z0-9<", 9, 9),
            _DIGIT,
            many("A-Z<", 3, 3),
            many(_DIGIT, 7, 7),
            letters("MFX<"),
            many(_DIGIT, 7, 7),
            many("A-Z0-9<", 14, 14),
            letters("0-9<"),
            _DIGIT,
        ),
        _check_mrz,
    ),
    Rule("vehicle_id", sequence(BOUNDARY, many("A-HJ-NPR-Z0-9", 17, 17), BOUNDARY), _check_vin),
    named("imei", ("imei",), many(_DIGIT, 15, 15), luhn),
    Rule(
        "mac_address",
        sequence(
            BOUNDARY,
            many("0-9A-Fa-f", 2, 2),
            choice(
                many(sequence(":", many("0-9A-Fa-f", 2, 2)), 5, 5), many(sequence("-", many("0-9A-Fa-f", 2, 2)), 5, 5)
            ),
            BOUNDARY,
        ),
    ),
    Rule(
        "bitcoin_address",
        sequence(
            BOUNDARY,
            choice(
                sequence(letters("13"), many("1-9A-HJ-NP-Za-km-z", 25, 34)),
                sequence("bc1", many("02-9ac-hj-np-z", 38, 58)),
            ),
            BOUNDARY,
        ),
        _check_bitcoin,
    ),
    Rule("ethereum_address", sequence(BOUNDARY, "0x", many("0-9A-Fa-f", 40, 40), BOUNDARY)),
    named("bank_account", ("account number", "account no", "acct no", "acct", "kontonummer"), many(_DIGIT, 6, 17)),
    named(
        "uk_sort_code",
        ("sort code",),
        sequence(many(sequence(many(_DIGIT, 2, 2), letters(" -")), 2, 2), many(_DIGIT, 2, 2)),
    ),
    named(
        "swift_code",
        ("swift code", "swift/bic", "swift-bic", "bic"),
        sequence(many("A-Z", 6, 6), many("A-Z0-9", 2, 2), maybe(many("A-Z0-9", 3, 3))),
    ),
    named("card_security_code", ("cvv", "cvc", "cvv2", "cvc2", "security code"), many(_DIGIT, 3, 4)),
    named(
        "card_expiry",
        ("expiry", "expiration", "exp date", "valid thru", "expires"),
        sequence(letters("01"), _DIGIT, letters("/-"), maybe("20"), many(_DIGIT, 2, 2)),
    ),
    named("card_pin", ("pin code", "card pin", "pin number", "pin:", "pin is", "my pin"), many(_DIGIT, 4, 6)),
    Rule(
        "card_track",
        sequence(choice("%B", ";"), many(_DIGIT, 12, 19), letters("^="), many("A-Z0-9 /.^=-", 4, 60), "?"),
        _check_track,
    ),
    named(
        "medical_record_number",
        ("medical record", "mrn", "patient id", "patient number", "hospital number"),
        sequence(many("A-Z", 0, 3), maybe("-"), many(_DIGIT, 5, 12)),
    ),
    named("us_npi", ("npi", "national provider"), many(_DIGIT, 10, 10), _npi),
    named("us_dea", ("dea",), sequence(letters("ABCDEFGHJKLMPRSTUX"), letters("A-Z9"), many(_DIGIT, 7, 7)), _dea),
    Rule(
        "us_medicare_id",
        sequence(
            BOUNDARY,
            letters("1-9"),
            letters("AC-HJKMNP-RT-Y"),
            letters("AC-HJKMNP-RT-Y0-9"),
            _DIGIT,
            maybe("-"),
            letters("AC-HJKMNP-RT-Y"),
            letters("AC-HJKMNP-RT-Y0-9"),
            _DIGIT,
            maybe("-"),
            many("AC-HJKMNP-RT-Y", 2, 2),
            many(_DIGIT, 2, 2),
            BOUNDARY,
        ),
    ),
    named(
        "health_plan_id",
        ("member id", "policy number", "insurance id", "subscriber id", "beneficiary"),
        sequence(many("A-Z", 0, 4), maybe("-"), many(_DIGIT, 6, 14)),
    ),
    named(
        "diagnosis_code",
        ("icd-10", "icd10", "icd", "diagnosis", "diagnose"),
        sequence(letters("A-TV-Z"), _DIGIT, letters("0-9A-Z"), maybe(".", many("A-Z0-9", 1, 4))),
    ),
    named(
        "coordinates",
        (
            "coordinates",
            "coordinate",
            "coords",
            "gps",
            "lat/lon",
            "lat/long",
            "latlng",
            "latitude/longitude",
            "location",
        ),
        sequence(
            many("-", 0, 1),
            many(_DIGIT, 1, 2),
            ".",
            many(_DIGIT, 4, 10),
            maybe(","),
            many(" ", 0, 2),
            many("-", 0, 1),
            many(_DIGIT, 1, 3),
            ".",
            many(_DIGIT, 4, 10),
        ),
    ),
)
