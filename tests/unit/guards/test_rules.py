"""Each kind: a real one is found where it stands, and what only looks like it is not."""

import time

import pytest

from vallum.guards import build_pii_guard, build_secrets_guard
from vallum.guards.pii import PII_RULES
from vallum.guards.secrets import SECRET_RULES

SECRETS = build_secrets_guard()
PII = build_pii_guard()


def kinds(guard, text):
    return [finding.kind for finding in guard.find(text)]


def test_every_rule_has_a_real_example(secrets, personal):
    assert {rule.kind for rule in SECRET_RULES} - set(secrets) == {"github_refresh_token"}
    assert {rule.kind for rule in PII_RULES} == set(personal)


def test_each_secret_is_found_where_it_stands(secrets):
    for kind, value in secrets.items():
        text = f"before {value} after"
        found = [f for f in SECRETS.find(text) if f.kind == kind]
        assert len(found) == 1, (kind, value)
        assert 7 <= found[0].start < found[0].end <= 7 + len(value)
        assert found[0].guard == "secrets"


def test_each_personal_datum_is_found_exactly(personal, personal_values):
    for kind, written in personal.items():
        text = f"before {written} after"
        assert [text[f.start : f.end] for f in PII.find(text) if f.kind == kind] == [personal_values[kind]], kind


def test_there_are_kinds_enough():
    assert len({rule.kind for rule in PII_RULES}) >= 40
    assert len({rule.kind for rule in SECRET_RULES}) >= 60


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("github_token", lambda v: v[:-1] + ("a" if v[-1] != "a" else "b")),
        ("npm_token", lambda v: v[:-1] + ("a" if v[-1] != "a" else "b")),
        ("vallum_key", lambda v: v[:-1] + ("a" if v[-1] != "a" else "b")),
        ("jwt", lambda v: "eyJ" + "A" * 20 + v[v.index(".") :]),
        ("aws_access_key_id", lambda v: v + "A"),
        ("openai_key", lambda v: "sk-" + "learn-is-a-library-for-machines"),
        ("google_api_key", lambda v: v[:-4]),
        ("private_key", lambda v: "a file with -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY----- in it"),
        ("url_password", lambda v: "postgres://" + "app:$PASSWORD@db.internal"),
        ("assigned_secret", lambda v: "pass" + "word: your-password-here"),
        ("assigned_secret", lambda v: "token = os.environ['API_TOKEN']"),
        ("assigned_secret", lambda v: "the secret: understanding people"),
        ("twilio_key", lambda v: v.upper()),
        ("assigned_secret", lambda v: "next_" + "token=/v1/items?page=2"),
        ("assigned_secret", lambda v: "pw" + "d=/home/u1/projects"),
        ("authorization_header", lambda v: "Authorization: Bearer YOUR_ACCESS_TOKEN_HERE"),
        ("slack_token", lambda v: "xo" + "xb-your-bot-token-here"),
        ("anthropic_key", lambda v: "sk-" + "ant-your-api-key-goes-here"),
        ("anthropic_key", lambda v: "sk-" + "ant-" + "x" * 40),
        ("gitlab_token", lambda v: "gl" + "pat-" + "x" * 20),
        ("openai_key", lambda v: "sk-" + "learn-random-forest-classifier-v2"),
        ("twitter_bearer_token", lambda v: "A" * 100),
    ],
)
def test_what_only_looks_like_a_secret_is_not_one(secrets, kind, wrong):
    assert kind not in kinds(SECRETS, f"see {wrong(secrets[kind])} here")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("url_password", "postgres://" + "u:%40dmin12345@db/x"),
        ("url_password", "postgres://" + "u:$ecret123@db/x"),
        ("assigned_secret", "pass" + "word=Tr0ub(4dor&3"),
    ],
)
def test_odd_characters_make_no_placeholder(kind, text):
    assert kind in kinds(SECRETS, text)


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112 shipped",  # fails Luhn
        "0000 0000 0000 0000",
        "9111 1111 1111 1111 1",
        "DE89370400440532013001",  # fails mod 97
        "DE893704004405320130",  # too short for its country
        "078-05-1120".replace("078", "000"),
        "666-12-3456 and 912-12-3456 and 123-00-4567",
        "version 1.2.3 of 2024-05-06, at 10:30:15",
        "127.0.0.1, 0.0.0.0, ::1, 256.1.1.1",
        "std::vector and a::b",
        "on 01.02.2024 and 2024/01/02",
        "someone@localhost and @handle and a@b",
        "3.14159265358979 and 1,234,567,890",
        "07-21-2024 10:33:12 and 01/02/2024 12:30 and 05.06.2024 14:30",
        "+2024-01-15 added a line",
        "weights: [0.1234, 0.5678, 0.9876] and 3.14159, 2.71828",
        "ping 1234 hosts; pinned 1024 items; pin 2048 pages",
        "Total API calls: 1234567, telemetry: 1234567, called 1048576 times, mobile users: 2500000",
        "fax 2024-01-15",
        "icon@2x.png and git@github.com:foo/bar.git",
        "driver license: REQUIRED; license plate: NONE",
        "Swift: CONTINUE",
        "the cinema singled out 123456789 as a basin",
    ],
)
def test_what_only_looks_personal_is_not(text):
    assert kinds(PII, text) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5555555555554444", "payment_card"),
        ("2223003122003222", "payment_card"),  # the 2-series
        ("3782 822463 10005", "payment_card"),
        ("6011-1111-1111-1117", "payment_card"),
        ("4111111111111111 2024", "payment_card"),
        ("GB29NWBK60161331926819", "iban"),
        ("no9386011117947", "iban"),
        ("(212) 555-0123", "phone"),
        ("1-212-555-0123", "phone"),
        ("030 1234 5678", "phone"),
        ("+41 36 507 52 91", "phone"),  # begins like a date, and is none
        ("(162)845-1285x631", "phone"),
        ("001-878-458-8424", "phone"),
        ("Desk: 07289025797", "phone"),
        ("Phone:\n88 125 45 96", "phone"),
        ("call me on 21 244 986 1446", "phone"),
        ("9380 6377 office", "phone"),
        ("0484 84 01 64-Office", "phone"),
        ("2001:db8::8a2e:370:7334", "ip_address"),
        ("fe80::1", "ip_address"),
        ("O'Brien@example.co.uk.", "email"),
    ],
)
def test_other_ways_to_write_them(text, kind):
    assert kind in kinds(PII, f"x {text} y")


def test_a_key_cut_short_is_still_a_key(secrets):
    assert "private_key" in kinds(SECRETS, secrets["private_key"][:400])


@pytest.mark.parametrize("guard", [SECRETS, PII])
@pytest.mark.parametrize(
    "unit",
    ["a", "1", "1 ", "4 ", "sk-", "a@", "a.a@", "eyJ", "eyJhbGciOiJ", "password=", "DE12 ", "a:", "1.1.1.", "+1 ",
     "01 2", "://a:", "-----BEGIN PRIVATE KEY-----", "é ", "ghp_", "AKIA"],
)  # fmt: skip
def test_hostile_text_costs_no_more_than_its_length(guard, unit):
    """Ten times the text costs about ten times as much: no rule reads the same characters over and over."""

    def seconds(chars):
        """The least of three: other processes take its caches, and make it no faster."""
        text = unit * (chars // len(unit))
        taken = []
        for _ in range(3):
            begun = time.process_time()
            guard.find(text)
            taken.append(time.process_time() - begun)
        return min(taken)

    seconds(1_000)
    assert seconds(100_000) < 40 * seconds(10_000) + 0.1


@pytest.mark.parametrize(
    "text",
    ["+2024-05-17", "+ 17.05.2024", "SSN: 051-71-2086", "order 9380 6377 shipped", "12 34 56 78 90 121 234",
     "1 2 3 4 5 6 7 8", "the office at 27594 174 Elm Street", "version 1.2.3.4", "pages 100-200, 300-400"],
)  # fmt: skip
def test_what_is_no_telephone(text):
    assert "phone" not in kinds(PII, text)
