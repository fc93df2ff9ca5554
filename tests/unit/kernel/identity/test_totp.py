"""RFC 6238, appendix B, for the hash and the digits that authenticators use; and the window."""

import base64

import pytest

from vallum.kernel.identity.totp import matching_step

SECRET = base64.b32encode(b"12345678901234567890").decode()
VECTORS = (  # of the RFC's eight digits, the last six
    (59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"),
    (2000000000, "69279037"), (20000000000, "65353130"),
)  # fmt: skip


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_published_vectors(seconds, code):
    assert matching_step(SECRET, code[2:], seconds) == seconds // 30


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_half_a_minute_either_way_and_no_more(seconds, code):
    step = seconds // 30
    for near in (step - 1, step, step + 1):
        assert matching_step(SECRET, code[2:], near * 30) == step
    for far in (step - 2, step + 2):
        assert matching_step(SECRET, code[2:], far * 30 + 15) != step


@pytest.mark.parametrize(
    "code", ["", "94287082", "28708", "28708x", "２８７０８２", "-87082", "287082\n1", "+87082", "0x7082"]
)
def test_malformed_codes_fit_no_step(code):
    assert matching_step(SECRET, code, 59) is None
