"""Keys, tokens and passwords that must not reach a model, a log or a reader.

Owns the rules for secrets: the formats providers document, private keys, signed tokens, and the general
`password = ...`. Where a format carries a checksum it is verified, so that a look-alike raises no alarm.
Answers: sensitive information disclosure (OWASP LLM02, CWE-200, CWE-522).
"""

import base64
import binascii
import json
import re
from zlib import crc32

from vallum.guards.checksums import entropy
from vallum.guards.credentials import CREDENTIAL_RULES, check_random, is_placeholder
from vallum.guards.expressions import BOUNDARY, END_OF_TEXT, choice, literal, many, maybe, sequence
from vallum.guards.patterns import Check, Rule, RuleGuard

__all__ = ["SECRET_RULES", "build_secrets_guard"]

NAME = "secrets"
VERSION = "2"

MAX_DECOYS = 32  # `eyJ` beginnings tried in one dotted run; more are an attack on the check and count as a token
MAX_WEIGHED_CHARS = 200  # entropy is judged on the start of a value: bounded work, and enough to tell
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_URLSAFE = "A-Za-z0-9_-"
_ALNUM = "A-Za-z0-9"


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits.rjust(width, "0")


def _check_github(candidate: str) -> tuple[int, int] | int:
    """Classic GitHub and npm tokens: prefix, 30 random characters, CRC-32 of those in six base62 digits."""
    body = candidate[candidate.index("_") + 1 :]
    return (0, len(candidate)) if _base62(crc32(body[:30].encode()), 6) == body[30:] else 4


def _check_vallum(candidate: str) -> tuple[int, int] | int:
    """Vallum's own keys: the CRC-32 covers the prefix as well."""
    return (0, len(candidate)) if _base62(crc32(candidate[:-6].encode()), 6) == candidate[-6:] else 4


def _check_openai(candidate: str) -> tuple[int, int] | int:
    if candidate.startswith("sk-ant-"):  # the other provider's, reported under its own kind
        return len(candidate)
    body = candidate[3:]
    mixed = any(c.isalpha() for c in body) and sum(c.isdigit() for c in body) >= 3
    return (0, len(candidate)) if mixed and entropy(body[:MAX_WEIGHED_CHARS]) >= 3.0 else len(candidate)


def _check_exactly(chars: int) -> Check:
    """The last `chars` of the candidate, if no more of its alphabet follows the value's opening."""

    def check(candidate: str) -> tuple[int, int] | int:
        value = re.split(r"[=:>\s\"']", candidate.rstrip("="))[-1]
        start = len(candidate.rstrip("=")) - len(value)
        return (start, len(candidate)) if len(candidate) - start == chars else len(candidate)

    return check


def _check_private_key(candidate: str) -> tuple[int, int] | int:
    """Armour with key material in it; prose that merely names the armour has none."""
    return (0, len(candidate)) if re.search(r"[A-Za-z0-9+/=]{32}", candidate) else len(candidate)


def _check_jwt(candidate: str) -> tuple[int, int] | int:
    header = candidate[: candidate.index(".")]
    starts = [found.start() for found in re.finditer("eyJ", header)]
    if len(starts) > MAX_DECOYS:
        return 0, len(candidate)
    for start in starts:
        encoded = header[start:][:4096]
        try:
            decoded = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        except (binascii.Error, ValueError, RecursionError):
            continue
        if isinstance(decoded, dict) and "alg" in decoded:
            return start, len(candidate)
    return len(candidate)


_ASSIGNED = re.compile(r"(?s)[^=:]*?(?:=>|:=|[=:])\s*([\"']?)")
_CODE = re.compile(
    r"[A-Za-z_]\w*(?:\.\w+)+[(\[]|[A-Za-z_]\w*\([^()]*\)\Z|\$\{|\$\(|\{\{|<|%[A-Z_]+%|process\.env|os\.environ"
)
_ADDRESS = re.compile(r"(?:\.{0,2}|~)/|[a-z][a-z0-9+.-]*://")


def _check_assignment(candidate: str) -> tuple[int, int] | int:
    """A value that looks chosen to be hard to guess: not a placeholder, not code, not a word."""
    opening = _ASSIGNED.match(candidate)
    if opening is None:  # the pattern demands one
        return len(candidate)
    start = opening.end()
    value = candidate[start:]
    ascii_chars = next((i for i, c in enumerate(value) if not c.isascii()), len(value))
    value = value[:ascii_chars].rstrip(".,;:)]}")
    weighed = value[:MAX_WEIGHED_CHARS]
    kinds = [
        any(c.islower() for c in weighed),
        any(c.isupper() for c in weighed),
        any(c.isdigit() for c in weighed),
        any(c in "!@#$%^&*+/=~?" for c in weighed),
    ]
    plausible = (
        len(weighed) >= 8
        and sum(kinds) >= 2
        and (kinds[2] or kinds[3])
        and entropy(weighed) >= 2.5
        and not _CODE.match(weighed)
        and not is_placeholder(weighed)
        and not _ADDRESS.match(weighed)
    )
    if plausible:
        return start, start + len(value)
    # a short value may hold the next assignment; a long one would be read again and again by hostile text
    return start if len(candidate) - start <= MAX_WEIGHED_CHARS else len(candidate)


_BLANK = re.compile(
    r"\$\{?[A-Z_][A-Z0-9_]*\}?|\$\{[^}]*\}?|<[^>]*>|\{\{?[^}]*\}?\}|%[A-Z_]+%|\*+|x{3,}|\.{3}|(?i:password|passwd|pass|pwd)"
)


def _check_url_password(candidate: str) -> tuple[int, int] | int:
    start = candidate.index(":", 3) + 1
    value = candidate[start:-1]
    return start if _BLANK.fullmatch(value) else (start, len(candidate) - 1)


def _prefixed(prefix: str, alphabet: str, least: int, most: int | None = None) -> tuple[object, ...]:
    return BOUNDARY, prefix, many(alphabet, least, most)


_ASSIGN = (
    maybe(many("\"'", 1, 1)),
    many(r"\s", 0, 4),
    choice("=>", ":=", "=", ":"),
    many(r"\s", 0, 4),
    maybe(many("\"'", 1, 1)),
)
_ARMOUR = sequence(many("A-Z0-9 ", 0, 40), "PRIVATE KEY", maybe(" BLOCK"), "-----")
_KEYWORDS = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "api_key", "api-key", "apikey", "access_key",
    "access-key", "secret_key", "secret-key", "private_key", "client_secret", "auth_key", "credential",
)  # fmt: skip
_FOLDED_KEYWORDS = choice(*(literal(word, folded=True) for word in _KEYWORDS))

SECRET_RULES = (
    Rule("anthropic_key", sequence(BOUNDARY, "sk-ant-", many(_URLSAFE, 20)), check_random),
    Rule("openai_key", sequence(BOUNDARY, "sk-", many(_URLSAFE, 20)), _check_openai),
    Rule("aws_access_key_id", sequence(BOUNDARY, choice("AKIA", "ASIA"), many("A-Z0-9", 16, 16), BOUNDARY)),
    Rule(
        "aws_secret_key",
        sequence(
            choice(
                *(literal(word, folded=True) for word in ("aws_secret_access_key", "secret_access_key")),
                *(literal(word, folded=True) for word in ("secretaccesskey", "aws_secret_key", "aws_secret")),
            ),
            *_ASSIGN,
            many("A-Za-z0-9/+", 40),
        ),
        _check_exactly(40),
    ),
    Rule(
        "github_token",
        sequence(BOUNDARY, "gh", many("pousr", 1, 1), "_", many(_ALNUM, 36, 36), BOUNDARY),
        _check_github,
    ),
    Rule("github_refresh_token", sequence(BOUNDARY, "ghr_", many(_ALNUM, 76, 76), BOUNDARY)),
    Rule("github_pat", sequence(BOUNDARY, "github_pat_", many("A-Za-z0-9_", 60)), check_random),
    Rule(
        "gitlab_token",
        sequence(
            BOUNDARY, "gl", choice("pat", "dt", "rt", "cbt", "ptt", "ft", "soat", "agent"), "-", many(_URLSAFE, 20)
        ),
        check_random,
    ),
    Rule(
        "slack_token",
        sequence(BOUNDARY, choice(sequence("xox", many("abceoprs", 1, 1)), "xapp"), "-", many("A-Za-z0-9-", 10)),
        check_random,
    ),
    Rule(
        "slack_webhook",
        sequence("hooks.slack.com/", choice("services", "workflows", "triggers"), "/", many("A-Za-z0-9/_-", 20)),
        check_random,
    ),
    Rule(
        "stripe_key",
        sequence(BOUNDARY, choice("sk", "rk"), "_", choice("live", "test"), "_", many(_ALNUM, 16)),
        check_random,
    ),
    Rule("stripe_webhook_secret", sequence(BOUNDARY, "whsec_", many(_ALNUM, 24)), check_random),
    Rule("google_api_key", sequence(BOUNDARY, "AIza", many(_URLSAFE, 35, 35)), check_random),
    Rule("google_client_secret", sequence(BOUNDARY, "GOCSPX-", many(_URLSAFE, 28, 28)), check_random),
    Rule("huggingface_token", sequence(BOUNDARY, "hf_", many(_ALNUM, 30, 60)), check_random),
    Rule("npm_token", sequence(BOUNDARY, "npm_", many(_ALNUM, 36, 36), BOUNDARY), _check_github),
    Rule("pypi_token", sequence(BOUNDARY, "pypi-", many(_URLSAFE, 50)), check_random),
    Rule("sendgrid_key", sequence(BOUNDARY, "SG.", many(_URLSAFE, 16, 32), ".", many(_URLSAFE, 16, 64)), check_random),
    Rule("twilio_key", sequence(BOUNDARY, "SK", many("0-9a-f", 32, 32), BOUNDARY)),
    Rule("azure_storage_key", sequence("AccountKey=", many("A-Za-z0-9+/", 86, 86), "=="), lambda c: (11, len(c))),
    Rule(
        "vallum_key", sequence(BOUNDARY, "vl", many("msce", 1, 1), "_", many(_ALNUM, 42, 42), BOUNDARY), _check_vallum
    ),
    Rule(
        "private_key",
        sequence(
            "-----BEGIN ",
            _ARMOUR,
            many(r"\x00-\x7f", 0, lazy=True),
            choice(sequence("-----END ", _ARMOUR), END_OF_TEXT),  # a key cut short is still most of a key
        ),
        _check_private_key,
    ),
    Rule(
        "jwt",
        sequence(
            BOUNDARY,
            "eyJ",
            many(_URLSAFE, 10),
            sequence(".", many(_URLSAFE, 0)),
            sequence(".", many(_URLSAFE, 1)),
            many(sequence(".", many(_URLSAFE, 1)), 0, 2),
        ),
        _check_jwt,
    ),
    Rule(
        "url_password",
        sequence("://", many(r"^\s/:@\"'", 1, 64), ":", many(r"^\s/@\"'", 3, 128), "@"),
        _check_url_password,
    ),
    *CREDENTIAL_RULES,
    Rule("assigned_secret", sequence(_FOLDED_KEYWORDS, *_ASSIGN, many(r"^\s\"'`,;<>", 8)), _check_assignment),
)


def build_secrets_guard() -> RuleGuard:
    return RuleGuard(NAME, VERSION, SECRET_RULES)
