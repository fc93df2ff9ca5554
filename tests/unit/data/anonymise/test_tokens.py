"""Tokens of a value's own form: what they keep, and what whoever holds them can do."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.anonymise import MemoryVault, Tokeniser
from vallum.data.fields import ColumnCipher, ColumnPlace
from vallum.guards.checksums import luhn
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.keys.errors import SealBroken

PLACE = ColumnPlace("customers", "restricted", "card")
CIPHER = ColumnCipher(b"k" * 32, PLACE)


def form(text):
    return re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", text)))


@given(st.from_regex(r"[A-Za-z0-9 .-]{0,20}[0-9]{4}[A-Z]{2}", fullmatch=True))
def test_a_token_has_the_form_of_its_value_and_is_another(value):
    tokeniser = Tokeniser(CIPHER, MemoryVault())
    token = tokeniser.tokenise(value)
    assert form(token) == form(value)
    assert token != value
    assert tokeniser.tokenise(value) == token
    assert tokeniser.detokenise(token) == value


def test_values_have_tokens_of_their_own():
    tokeniser = Tokeniser(CIPHER, MemoryVault())
    values = [f"{n:06}" for n in range(3000)]
    tokens = [tokeniser.tokenise(value) for value in values]
    assert len(set(tokens)) == 3000
    assert [tokeniser.detokenise(token) for token in tokens] == values


def test_a_token_tells_nothing_of_the_value():
    """Two vaults under the same key: nothing is computed from the value, so the tokens have nothing in common."""
    values = [f"{n:08}" for n in range(300)]
    first, second = (Tokeniser(CIPHER, MemoryVault()) for _ in range(2))
    equal = sum(a == b for v in values for a, b in zip(first.tokenise(v), second.tokenise(v), strict=True))
    assert 120 <= equal <= 360  # one in ten of 2,400, five standard deviations either way: 240 ± 74


def test_the_last_characters_stay_and_no_token_is_a_card():
    tokeniser = Tokeniser(CIPHER, MemoryVault(), keep_last=4, refuse=lambda t: luhn(t.replace(" ", "")))
    for n in range(200):
        token = tokeniser.tokenise(f"4111 1111 {n:04} 1234")
        assert token.endswith(" 1234") or token[-4:] == "1234"
        assert not luhn(token.replace(" ", ""))


def test_who_has_the_vault_without_the_key_has_nothing():
    vault = MemoryVault()
    token = Tokeniser(CIPHER, vault).tokenise("4111 1111 1111 1111")
    assert b"4111" not in (vault.sealed_of(token) or b"")
    for other in (ColumnCipher(b"x" * 32, PLACE), ColumnCipher(b"k" * 32, ColumnPlace("orders", "restricted", "card"))):
        with pytest.raises(SealBroken):
            Tokeniser(other, vault).detokenise(token)


def test_a_token_that_is_none_is_not_found():
    with pytest.raises(NotFound):
        Tokeniser(CIPHER, MemoryVault()).detokenise("1234")


@pytest.mark.parametrize("value", ["", "12", "---", "M", "123"])
def test_a_form_with_few_tokens_is_refused(value):
    with pytest.raises(Invalid, match="tokens"):
        Tokeniser(CIPHER, MemoryVault()).tokenise(value)


def test_a_form_that_is_used_up_is_said_to_be():
    class Full(MemoryVault):
        def put(self, token, sealed):
            return None

    with pytest.raises(Conflict):
        Tokeniser(CIPHER, Full()).tokenise("123456")


def test_another_process_that_was_quicker_decides():
    class Quicker(MemoryVault):
        def put(self, token, sealed):
            return "999999"

    assert Tokeniser(CIPHER, Quicker()).tokenise("123456") == "999999"


def test_characters_are_drawn_evenly():
    chance = random.Random(1)
    tokeniser = Tokeniser(CIPHER, MemoryVault(), entropy=chance.randbytes)
    drawn = "".join(tokeniser.tokenise(f"{n:010}") for n in range(2000))
    counts = [drawn.count(digit) for digit in "0123456789"]
    assert max(counts) - min(counts) < 400  # 2,000 each, nine standard deviations
