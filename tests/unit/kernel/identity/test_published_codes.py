"""The vectors of RFC 6238, appendix B, and RFC 4226, appendix D, kept as files; and codes that only look like them."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vallum.kernel.identity.totp import STEP_SECONDS, matching_step

TOTP = Path(__file__).parents[3] / "vectors" / "totp"
RFC6238 = json.loads((TOTP / "rfc6238.json").read_text())
RFC4226 = json.loads((TOTP / "rfc4226.json").read_text())


def base32(secret):
    return base64.b32encode(secret.encode()).decode()


def test_none_was_lost():
    assert (len(RFC6238), len(RFC4226)) == (18, 10)
    assert {vector["mode"] for vector in RFC6238} == {"SHA1", "SHA256", "SHA512"}


@pytest.mark.parametrize("vector", RFC6238, ids=lambda v: f"{v['mode']} at {v['time']}")
def test_rfc_6238(vector):
    """Codes here are SHA-1's, as authenticators take it for granted; those by other hashes are other codes."""
    found = matching_step(base32(vector["secret"]), vector["code"][-6:], vector["time"])
    assert found == (vector["time"] // STEP_SECONDS if vector["mode"] == "SHA1" else None)
    assert matching_step(base32(vector["secret"]), vector["code"], vector["time"]) is None  # all of the eight digits


@pytest.mark.parametrize("vector", RFC4226, ids=lambda v: f"counter {v['counter']}")
def test_rfc_4226(vector):
    """A time step is a counter."""
    now = vector["counter"] * STEP_SECONDS
    assert matching_step(base32(vector["secret"]), vector["code"], now) == vector["counter"]


@given(st.sampled_from(RFC4226), st.integers(0, 5), st.sampled_from("0123456789"))
def test_any_changed_digit_is_another_code(vector, place, digit):
    code = vector["code"][:place] + digit + vector["code"][place + 1 :]
    near = range(vector["counter"] - 1, vector["counter"] + 2)
    assume(code not in {other["code"] for other in RFC4226 if other["counter"] in near})
    found = matching_step(base32(vector["secret"]), code, vector["counter"] * STEP_SECONDS)
    assert found is None or found not in range(10)


@given(st.text(max_size=12))
def test_what_is_not_six_digits_is_no_code(text):
    assume(
        not (len(text.replace(" ", "")) == 6 and text.replace(" ", "").isascii() and text.replace(" ", "").isdigit())
    )
    assert matching_step(base32("12345678901234567890"), text, 59) is None
