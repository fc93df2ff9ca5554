"""What a column's name says of its values. A name is weak evidence, and enough: people name columns honestly.

Words in any of the usual spellings: `customerEmail`, `CUSTOMER_EMAIL`, `customer e-mail`.
"""

import re
from functools import cache

__all__ = ["as_label", "kinds_named"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")

# By the words that must stand next to each other in the name; what comes first decides about what it covers.
_NAMES: tuple[tuple[str, str], ...] = (
    ("credential", "password|passwd|pwd|passphrase|secret|token|api key|apikey|access key|private key|credential"),
    ("credential", "pin code|otp secret|recovery code|session id|cookie|auth key|client secret|password hash"),
    ("email", "email|e mail|mail address|mail"),
    ("phone", "phone|phone number|telephone|tel|mobile|mobile number|cell|fax|telefon|handy|msisdn|whatsapp"),
    ("us_ssn", "ssn|social security|social security number"),
    ("national_id", "national id|national insurance|nino|personnummer|cpf|aadhaar|tax id|tin|dni|nie|codice fiscale"),
    ("national_id", "bsn|steuer id|sin number|curp|pesel|identity number|id card|personal code"),
    ("passport_number", "passport|passport number|reisepass"),
    ("drivers_license", "drivers license|driver license|driving licence|drivers licence|licence number|license number"),
    ("license_plate", "license plate|licence plate|number plate|kennzeichen|plate number"),
    ("payment_card", "card number|credit card|debit card|pan|cc number|ccn|cardnumber"),
    ("card_security_code", "cvv|cvc|cvv2|cvc2|security code"),
    ("card_expiry", "card expiry|expiry date card|exp month|exp year|cc exp"),
    ("iban", "iban"),
    ("bank_account", "account number|bank account|acct|acct number|kontonummer|routing number|sort code"),
    ("swift_code", "swift|bic|swift code"),
    ("financial", "salary|income|wage|gehalt|net worth|credit score|fico|loan amount|debt|balance|bonus|compensation"),
    ("medical_record_number", "mrn|medical record|patient id|patient number"),
    ("health_plan_id", "member id|insurance id|policy number|subscriber id|health plan|insurance number"),
    ("diagnosis_code", "icd|icd10|icd 10|diagnosis code|dx code"),
    ("health", "diagnosis|diagnoses|disease|condition|symptom|symptoms|treatment|procedure code|allergy|allergies"),
    ("health", "disability|pregnant|pregnancy|bmi|blood pressure|heart rate|glucose|cholesterol|smoker|lab result"),
    ("medication", "medication|medications|drug|prescription|dosage|medicine"),
    ("blood_type", "blood type|blood group"),
    ("gene_variant", "genotype|snp|rsid|dna|genome"),
    ("biometric", "fingerprint|face embedding|iris|retina|voiceprint|biometric|face id"),
    ("religion", "religion|religious|faith|denomination|konfession"),
    ("ethnicity", "ethnicity|ethnic|race|racial|skin colour|skin color|tribe|caste"),
    ("politics", "political|party affiliation|political party|voting"),
    ("union", "union member|union membership|trade union"),
    ("orientation", "sexual orientation|orientation sexual|sexuality|gender identity"),
    ("criminal", "criminal|conviction|convictions|arrest|offence|offense"),
    ("date_of_birth", "date of birth|birth date|birthdate|dob|birthday|born|geburtsdatum|birth year|year of birth"),
    ("name", "name|first name|last name|surname|forename|given name|family name|full name|middle name|maiden name"),
    ("name", "firstname|lastname|fullname|vorname|nachname|customer name|patient name|employee name|nombre|prenom"),
    ("address", "address|street|street address|house number|postcode|zip|zip code|zipcode|postal code|plz|strasse"),
    ("place", "city|town|county|birthplace|place of birth|residence"),
    ("gender", "gender|sex|geschlecht"),
    ("age", "age|age years"),
    ("nationality", "nationality|citizenship"),
    ("marital_status", "marital status|marital|spouse"),
    ("ip_address", "ip|ip address|ipaddress|client ip|remote addr|ipv4|ipv6"),
    ("mac_address", "mac address|macaddress|mac"),
    ("device_id", "imei|device id|advertising id|idfa|gaid|android id"),
    ("coordinates", "latitude|longitude|lat|lon|lng|coordinates|geolocation|gps"),
    ("username", "username|user name|login|screen name|handle|nickname"),
    ("person_id", "customer id|user id|patient|employee id|person id|subscriber|student id"),
)  # fmt: skip

# A name of somebody or something else than a person: "file name" is no name, "product name" neither.
_NO_PERSON = frozenset(
    {
        "app", "attribute", "brand", "bucket", "class", "column", "company", "country", "database", "dataset",
        "department", "domain", "event", "feature", "field", "file", "filename", "function", "host", "image", "job",
        "metric", "model", "module", "package", "path", "product", "project", "region", "repo", "role", "schema",
        "server", "service", "store", "table", "tag", "team", "test", "type", "variable", "vendor", "version",
    }
)  # fmt: skip
_NO_VALUE = frozenset({"count", "counts", "total", "flag", "valid", "verified", "length", "len", "format", "enabled"})
_NO_ADDRESS = frozenset({"memory", "web", "url", "contract"})
_COUNTED = frozenset({"token", "tokens"})  # of a language model


def words_of(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def as_label(name: str) -> str:
    """The name as a person would write it in front of a value."""
    return " ".join(words_of(name)) or name


@cache
def _tables() -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((kind, tuple(phrase.split())) for kind, phrases in _NAMES for phrase in phrases.split("|"))


def kinds_named(name: str) -> tuple[str, ...]:
    """The kinds that a column of this name is expected to hold, the most telling first; most often none or one."""
    words = words_of(name)
    found: list[str] = []
    if not words or words[-1] in _NO_VALUE or (words[0] in ("is", "has", "num", "n") and len(words) > 1):
        return ()
    taken: set[int] = set()
    for kind, phrase in sorted(_tables(), key=lambda each: -len(each[1])):
        for at in range(len(words) - len(phrase) + 1):
            places = set(range(at, at + len(phrase)))
            if tuple(words[at : at + len(phrase)]) != phrase or places & taken:
                continue
            taken |= places
            others = [word for place, word in enumerate(words) if place not in places]
            if kind == "name" and _NO_PERSON.intersection(others):
                continue
            if kind == "address" and _NO_ADDRESS.intersection(others):
                continue
            if (
                kind == "credential"
                and phrase[0] in _COUNTED
                and {"max", "min", "input", "output", "num"} & set(others)
            ):
                continue
            if kind not in found:
                found.append(kind)
    return tuple(found)
