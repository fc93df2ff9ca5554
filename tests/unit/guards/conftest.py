"""Secret-looking values are put together here, so that no scanner of this repository meets one."""

import base64
import json
import random
import string
from zlib import crc32

import pytest

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _mixed(seed: str, length: int, letters: str = _BASE62) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


def _crc_base62(stem: str) -> str:
    number, digits = crc32(stem.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _secrets() -> dict[str, str]:
    github, npm = _mixed("gh", 30), _mixed("npm", 30)
    vallum = "vlm" + "_" + _mixed("vlm", 36)
    armour = "-----{} RSA " + "PRIVATE KEY-----"
    lines = "\n".join(_mixed(str(n), 64) for n in range(20))
    return {
        "anthropic_key": "sk-" + "ant-api03-" + _mixed("ant", 93),
        "openai_key": "sk-" + "proj-" + _mixed("oai", 48),
        "aws_access_key_id": "AK" + "IA" + _mixed("aws", 16, string.ascii_uppercase + string.digits),
        "github_token": "gh" + "p_" + github + _crc_base62(github),
        "github_pat": "github" + "_pat_" + _mixed("pat", 82),
        "gitlab_token": "gl" + "pat-" + _mixed("gl", 20),
        "slack_token": "xo" + "xb-" + _mixed("slack", 40, string.digits),
        "slack_webhook": "hooks.slack.com/" + "services/T0/" + _mixed("hook", 24),
        "stripe_key": "sk_" + "live_" + _mixed("stripe", 24),
        "stripe_webhook_secret": "wh" + "sec_" + _mixed("wh", 32),
        "google_api_key": "AI" + "za" + _mixed("google", 35),
        "google_client_secret": "GOC" + "SPX-" + _mixed("gcs", 28),
        "huggingface_token": "h" + "f_" + _mixed("hf", 34),
        "npm_token": "np" + "m_" + npm + _crc_base62(npm),
        "pypi_token": "pypi" + "-" + _mixed("pypi", 160),
        "sendgrid_key": "SG" + "." + _mixed("sg", 22) + "." + _mixed("sg2", 43),
        "twilio_key": "S" + "K" + _mixed("tw", 32, "0123456789abcdef"),
        "azure_storage_key": "Account" + "Key=" + _mixed("az", 86) + "==",
        "vallum_key": vallum + _crc_base62(vallum),
        "private_key": f"{armour.format('BEGIN')}\n{lines}\n{armour.format('END')}",
        "jwt": ".".join([_b64({"alg": "HS256", "typ": "JWT"}), _b64({"sub": "somebody"}), _mixed("jwt", 43)]),
        "url_password": "postgres://" + "app:" + _mixed("url", 16) + "@db.internal/app",
        "assigned_secret": "pass" + "word = " + _mixed("pw", 14) + "!7",
        "aws_secret_key": "aws_secret" + "_access_key=" + _mixed("awss", 40),
    }


@pytest.fixture(scope="session")
def secrets():
    """One value of each kind of secret, by kind."""
    return _secrets()


@pytest.fixture(scope="session")
def personal():
    """One value of each kind of personal data, by kind."""
    return {
        "email": "jane.doe+news@mail.example.com",
        "phone": "+49 30 12345678",
        "payment_card": "4111 1111 1111 1111",
        "iban": "DE89 3704 0044 0532 0130 00",
        "us_ssn": "536-22-8726",
        "ip_address": "203.0.113.77",
    }
