"""Format-preserving tokens: random, of the value's own form, and reversible only through the vault and the key.

Not format-preserving encryption: the library that does the cryptography here has no FF1, NIST has withdrawn FF3, and
the packages that offer either are no longer maintained or were never reviewed. A random token needs no such cipher.
It is drawn, not computed: nothing about the value can be learnt from it, and two data sets' tokens do not match. The
vault keeps, beside each token, the value sealed by its column's cipher (AES-256-SIV: equal values find their token
again). So who has the tokens has nothing; who has the vault has nothing without the column's key; and detokenising is
a read of both, which the gate decides.
"""

import os
from collections.abc import Callable
from typing import Protocol

from vallum.data.fields.cipher import ColumnCipher
from vallum.kernel.errors import Conflict, Invalid, NotFound

__all__ = ["MemoryVault", "TokenVault", "Tokeniser"]

_TRIES = 64
_MIN_TOKENS = 10_000  # fewer forms than that are guessed, and soon used up
_DIGITS = "0123456789"
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class TokenVault(Protocol):
    """Where tokens are kept, by column. Two processes may ask for one value at once: `put` decides."""

    def token_of(self, sealed: bytes) -> str | None: ...

    def sealed_of(self, token: str) -> bytes | None: ...

    def put(self, token: str, sealed: bytes) -> str | None:
        """Keep both, unless `sealed` has a token: then that one is returned. None when `token` is another's."""
        ...


class MemoryVault:
    """A vault for one process, as local commands use."""

    def __init__(self) -> None:
        self._tokens: dict[bytes, str] = {}
        self._sealed: dict[str, bytes] = {}

    def token_of(self, sealed: bytes) -> str | None:
        return self._tokens.get(sealed)

    def sealed_of(self, token: str) -> bytes | None:
        return self._sealed.get(token)

    def put(self, token: str, sealed: bytes) -> str | None:
        known = self._tokens.get(sealed)
        if known is not None:
            return known
        if token in self._sealed:
            return None
        self._tokens[sealed], self._sealed[token] = token, sealed
        return token


class Tokeniser:
    """Tokens of one column."""

    def __init__(
        self,
        cipher: ColumnCipher,
        vault: TokenVault,
        *,
        keep_last: int = 0,
        refuse: Callable[[str], bool] | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`keep_last` characters stay, as the last four of a card. `refuse` says of a token that it must not be used:

        `luhn`, say, so that no token is the number of somebody's card.
        """
        if keep_last < 0:
            raise Invalid("a token keeps 0 or more of the last characters")
        self._cipher = cipher
        self._vault = vault
        self._keep = keep_last
        self._refuse = refuse
        self._entropy = entropy

    def tokenise(self, value: str) -> str:
        """The value's token, the same every time. Raises Invalid where the form has too few tokens."""
        sealed = self._cipher.joinable_form(value.encode("utf-8", "surrogatepass"))
        known = self._vault.token_of(sealed)
        if known is not None:
            return known
        head, tail = value[: len(value) - self._keep], value[len(value) - self._keep :]
        if _tokens_of_form(head) < _MIN_TOKENS:
            raise Invalid(f"values of this form have fewer than {_MIN_TOKENS} tokens: hash or redact them instead")
        for _ in range(_TRIES):
            token = "".join(map(self._drawn, head)) + tail
            if token == value or (self._refuse is not None and self._refuse(token)):
                continue
            kept = self._vault.put(token, sealed)
            if kept is not None:
                return kept
        raise Conflict("no free token of this form was found: the column has nearly used them up")

    def detokenise(self, token: str) -> str:
        """Raises NotFound for what is no token of this column; SealBroken when the vault was altered."""
        sealed = self._vault.sealed_of(token)
        if sealed is None:
            raise NotFound("this is no token of the column")
        return self._cipher.open_form(sealed).decode("utf-8", "surrogatepass")

    def _drawn(self, char: str) -> str:
        alphabet = _alphabet(char)
        return char if alphabet is None else alphabet[self._number(len(alphabet))]

    def _number(self, below: int) -> int:
        """Uniform: bytes past the last whole multiple are drawn again."""
        limit = 256 - 256 % below
        while True:
            byte = self._entropy(1)[0]
            if byte < limit:
                return byte % below


def _alphabet(char: str) -> str | None:
    if char.isdecimal():
        return _DIGITS
    if char.isalpha():
        return _UPPER if char.isupper() else _UPPER.lower()
    return None


def _tokens_of_form(head: str) -> int:
    total = 1
    for char in head:
        total *= len(_alphabet(char) or "x")
        if total >= _MIN_TOKENS:
            break
    return total
