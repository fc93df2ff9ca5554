"""RSA keys that anybody can factor: those which Infineon's library made in smart cards and TPMs until 2017.

Their primes are of the form k·M + (65537**a mod M), with M the product of the first primes; so the modulus is a power
of 65537 modulo each of these, which another's is once in 2**27. Such keys still turn up where somebody proves himself
by a card or a TPM. Source: Nemec, Sýs, Švenda, Klinec, Matyáš, "The Return of Coppersmith's Attack" (2017), section 2;
CVE-2017-15361.
"""

from functools import cache

__all__ = ["has_roca"]

_GENERATOR = 65537
_LARGEST_PRIME = 167  # the shortest keys concerned, of 512 bits, have it in M; longer ones have all of these and more
_PRIMES = [p for p in range(3, _LARGEST_PRIME + 1) if all(p % divisor for divisor in range(2, p))]


def has_roca(modulus: int) -> bool:
    """Whether an RSA modulus bears that library's mark. Microseconds: nearly all fail at one of the first primes."""
    return all(modulus % p in _powers(p) for p in _PRIMES)


@cache
def _powers(prime: int) -> frozenset[int]:
    """When a key is first looked at: every command would wait for them."""
    return frozenset(pow(_GENERATOR, exponent, prime) for exponent in range(prime))
