"""Keys and tokens by provider: the prefixes their issuers chose so that scanners can find them.

Each is a prefix and a length, as documented or observed; a prefix of one or two letters is not enough and is left to
the general rule for assigned secrets. `secrets` holds the formats whose checks need arithmetic.
"""

import re

from vallum.guards.checksums import entropy
from vallum.guards.expressions import BOUNDARY, Expression, choice, letters, literal, many, maybe, sequence
from vallum.guards.patterns import Rule

__all__ = ["CREDENTIAL_RULES", "check_random", "is_placeholder"]

_ALNUM = "A-Za-z0-9"
_URLSAFE = "A-Za-z0-9_-"
_HEX = "0-9a-f"
_UUID = sequence(
    many(_HEX, 8, 8), "-", many(_HEX, 4, 4), "-", many(_HEX, 4, 4), "-", many(_HEX, 4, 4), "-", many(_HEX, 12, 12)
)


_PLACEHOLDER = re.compile(
    r"(?i)example|placeholder|change_?me|redacted|your[-_]|[-_]your|[-_]here\b|[-_]goes[-_]|\*{4}|x{6}|0{12}|\.{3}|dummy"
)
_MIN_BITS = 2.7
_WEIGHED_CHARS = 200


def is_placeholder(value: str) -> bool:
    return _PLACEHOLDER.search(value) is not None


def check_random(candidate: str) -> tuple[int, int] | int:
    """Chosen by a machine: digits among the letters, and no word that stands for one still to come."""
    weighed = candidate[:_WEIGHED_CHARS]
    telling = any(c.isdigit() for c in weighed[4:]) and entropy(weighed) >= _MIN_BITS
    return (0, len(candidate)) if telling and not is_placeholder(weighed) else len(candidate)


def _key(kind: str, *parts: Expression | str) -> Rule:
    return Rule(kind, sequence(BOUNDARY, *parts), check_random)


def _exact(kind: str, *parts: Expression | str) -> Rule:
    return Rule(kind, sequence(BOUNDARY, *parts, BOUNDARY), check_random)


def _bare_value(candidate: str) -> tuple[int, int] | int:
    """The value behind the last space or colon of a header."""
    start = max(candidate.rfind(" "), candidate.rfind(":")) + 1
    return (start, len(candidate)) if isinstance(check_random(candidate[start:]), tuple) else len(candidate)


def _connection_value(candidate: str) -> tuple[int, int] | int:
    return candidate.index("=") + 1, len(candidate)


CREDENTIAL_RULES = (
    # models and their tools
    _key("openrouter_key", "sk-or-v1-", many(_HEX, 64, 64)),
    _exact("groq_key", "gsk_", many(_ALNUM, 52, 52)),
    _key("xai_key", "xai-", many(_ALNUM, 70, 90)),
    _key("perplexity_key", "pplx-", many(_ALNUM, 40, 64)),
    _exact("replicate_token", "r8_", many(_ALNUM, 37, 37)),
    _key("langsmith_key", "lsv2_", choice("pt", "sk"), "_", many(_HEX, 32, 32)),
    _key("pinecone_key", "pcsk_", many("A-Za-z0-9_", 40, 90)),
    _key("tavily_key", "tvly-", many(_URLSAFE, 24, 60)),
    _exact("nvidia_key", "nvapi-", many(_URLSAFE, 60, 72)),
    _exact("fireworks_key", "fw_", many(_ALNUM, 24, 24)),
    # clouds and hosting
    _key("azure_client_secret", many(f"{_ALNUM}_~.", 3, 3), letters("78"), "Q~", many(f"{_ALNUM}_~.-", 31, 34)),
    Rule(
        "azure_shared_access_key",
        sequence("SharedAccessKey=", many(f"{_ALNUM}+/", 42, 44), maybe("=")),
        _connection_value,
    ),
    Rule("azure_sas_signature", sequence(letters("?&"), "sig=", many(f"{_ALNUM}%+/", 40, 100)), _connection_value),
    _exact("alibaba_access_key", "LTAI", many(_ALNUM, 16, 20)),
    _exact("tencent_secret_id", "AKID", many(_ALNUM, 32, 32)),
    _exact("digitalocean_token", "do", letters("opr"), "_v1_", many(_HEX, 64, 64)),
    _key("heroku_key", "HRKU-", many(_URLSAFE, 36, 70)),
    _key("fly_token", choice("fo1_", "FlyV1 fm"), many(f"{_ALNUM}_+/=,-", 40)),
    _exact("netlify_token", "nfp_", many(_ALNUM, 36, 40)),
    _exact("render_key", "rnd_", many(_ALNUM, 28, 36)),
    _exact("supabase_token", "sbp_", many(_HEX, 40, 40)),
    _key("planetscale_token", "pscale_", choice("tkn", "pw", "oauth"), "_", many(f"{_ALNUM}_.=-", 32, 64)),
    _key("cloudflare_origin_ca_key", "v1.0-", many(_HEX, 24, 24), "-", many(_HEX, 146, 146)),
    _key("vault_token", choice("hvs.", "hvb.", "hvr."), many(_URLSAFE, 24)),
    _key("terraform_token", many(_ALNUM, 14, 14), ".atlasv1.", many(_URLSAFE, 60, 70)),
    _exact("pulumi_token", "pul-", many(_HEX, 40, 40)),
    _key("doppler_token", "dp.", choice("pt", "st", "ct", "sa", "scim", "audit"), ".", many(f"{_ALNUM}._-", 40, 60)),
    _key("onepassword_token", "ops_eyJ", many(f"{_ALNUM}+/_-", 200), many("=", 0, 3)),
    # code and packages
    _exact("docker_token", "dckr_", choice("pat", "oat"), "_", many(_URLSAFE, 27, 32)),
    _key("atlassian_token", "ATATT3", many(f"{_ALNUM}_=-", 100)),
    _key("bitbucket_password", "ATBB", many(f"{_ALNUM}", 28, 32)),
    _exact("rubygems_key", "rubygems_", many(_HEX, 48, 48)),
    _exact("cargo_token", "cio", many(_ALNUM, 32, 32)),
    _exact("nuget_key", "oy2", many("a-z0-9", 43, 43)),
    _exact("clojars_token", "CLOJARS_", many("a-z0-9", 60, 60)),
    _exact("sonar_token", "sq", letters("pua"), "_", many(_HEX, 40, 40)),
    _exact("age_secret_key", "AGE-SECRET-KEY-1", many("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58, 58)),
    # watching
    _key("sentry_token", choice("sntrys_eyJ", "sntryu_"), many(f"{_ALNUM}+/=_-", 60)),
    _exact("newrelic_key", choice("NRAK-", "NRII-", "NRJS-"), many(_URLSAFE, 19, 40)),
    _key(
        "grafana_token",
        choice(
            sequence("glsa_", many(_ALNUM, 32, 32), "_", many("A-Fa-f0-9", 8, 8)),
            sequence("glc_eyJ", many(f"{_ALNUM}+/=", 40)),
        ),
    ),
    _key("dynatrace_token", "dt0", many("a-z0-9", 3, 3), ".", many("A-Z0-9", 24, 24), ".", many("A-Z0-9", 64, 64)),
    _exact("databricks_token", "dapi", many(_HEX, 32, 32), maybe("-", letters("0-9"))),
    # money
    _exact("square_token", choice("sq0atp-", "sq0csp-"), many(_URLSAFE, 22, 43)),
    _exact("shopify_token", "shp", choice("at", "ca", "pa", "ss"), "_", many("a-fA-F0-9", 32, 32)),
    _key(
        "braintree_token",
        "access_token$",
        choice("production", "sandbox"),
        "$",
        many("0-9a-z", 16, 16),
        "$",
        many(_HEX, 32, 32),
    ),
    _key(
        "plaid_token",
        choice("access", "public", "link"),
        "-",
        choice("sandbox", "development", "production"),
        "-",
        _UUID,
    ),
    _exact("razorpay_key", "rzp_", choice("live", "test"), "_", many(_ALNUM, 14, 14)),
    _key("flutterwave_key", choice("FLWSECK_TEST-", "FLWSECK-"), many(_ALNUM, 12, 40)),
    _key("shippo_token", "shippo_", choice("live", "test"), "_", many(_HEX, 40, 40)),
    _key("easypost_key", choice("EZAK", "EZTK"), many(_ALNUM, 54, 54)),
    # messages, documents and the rest
    _exact("mailchimp_key", many(_HEX, 32, 32), "-us", many("0-9", 1, 2)),
    _exact("mailgun_key", "key-", many(_HEX, 32, 32)),
    _key("brevo_key", "xkeysib-", many(_HEX, 64, 64), "-", many(_ALNUM, 16, 16)),
    _key("telegram_bot_token", many("0-9", 8, 10), ":AA", many(_URLSAFE, 33, 33)),
    _key(
        "discord_bot_token",
        letters("MNO"),
        many(_URLSAFE, 23, 25),
        ".",
        many(_URLSAFE, 6, 6),
        ".",
        many(_URLSAFE, 27, 38),
    ),
    Rule("discord_webhook", sequence("/api/webhooks/", many("0-9", 17, 20), "/", many(_URLSAFE, 60, 80))),
    Rule(
        "teams_webhook",
        sequence(
            ".webhook.office.com/webhookb2/", many(f"{_ALNUM}@-", 36, 80), "/IncomingWebhook/", many(_ALNUM, 32, 32)
        ),
    ),
    _key("facebook_token", "EAA", many(_ALNUM, 90)),
    _key("twitter_bearer_token", "AAAAAAAAAAAAAAAAAAAAA", many(f"{_ALNUM}%", 60)),
    _key("dropbox_token", "sl.", choice("u.", "B", "A"), many(_URLSAFE, 120)),
    _exact("airtable_token", "pat", many(_ALNUM, 14, 14), ".", many(_HEX, 64, 64)),
    _key("notion_token", choice("ntn_", "secret_"), many(_ALNUM, 40, 50)),
    _key("linear_key", "lin_api_", many(_ALNUM, 40, 48)),
    _key("figma_token", "figd_", many(_URLSAFE, 36, 44)),
    _exact("postman_key", "PMAK-", many(_HEX, 24, 24), "-", many(_HEX, 34, 34)),
    _key("hubspot_token", "pat-", choice("na", "eu"), many("0-9", 1, 2), "-", _UUID),
    _key("contentful_token", "CFPAT-", many(_URLSAFE, 43, 43)),
    _key("typeform_token", "tfp_", many(f"{_ALNUM}_.=-", 40, 62)),
    # headers and stored hashes
    Rule(
        "authorization_header",
        sequence(
            literal("authorization", folded=True),
            many("\"'", 0, 1),
            many(r" \t", 0, 2),
            ":",
            many(r" \t\"'", 0, 3),
            choice(literal("basic", folded=True), literal("bearer", folded=True)),
            " ",
            many(f"{_ALNUM}+/=._~-", 16),
        ),
        _bare_value,
    ),
    Rule(
        "password_hash",
        sequence(
            choice(
                sequence("$2", letters("aby"), "$", many("0-9", 2, 2), "$", many("./A-Za-z0-9", 53, 53)),
                sequence("$argon2", choice("id", "i", "d"), "$", many("A-Za-z0-9$,=+/", 40, 200)),
                sequence("$", letters("156y"), "$", many("./A-Za-z0-9", 1, 20), "$", many("./A-Za-z0-9", 22, 90)),
            )
        ),
    ),
)
