"""Names that do not exist cost what others cost, and starting costs no derivation."""

from time import process_time

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from vallum.kernel.identity import Passwords

PASSWORD = "correct horse battery staple"


class _Watched(PasswordHasher):
    """Remembers what was derived and verified."""

    def __init__(self, *costs: int) -> None:
        super().__init__(*costs)
        self.derived: list[str] = []
        self.verified: list[str] = []

    def hash(self, password, *, salt=None):
        self.derived.append(password)
        return super().hash(password, salt=salt)

    def verify(self, hash, password):
        self.verified.append(hash)
        return super().verify(hash, password)


@pytest.mark.parametrize("costs", [(1, 8, 1), (2, 64, 3), ()])
def test_nobodys_hash_has_the_costs_of_every_other(costs):
    hasher = _Watched(*costs)
    passwords = Passwords(hasher)
    assert hasher.derived == [], "a process that never sees a password derives nothing"
    for stored in (None, ""):
        assert not passwords.matches(stored, PASSWORD)
    assert len(set(hasher.verified)) == 1
    assert extract_parameters(hasher.verified[0]) == extract_parameters(passwords.hash(PASSWORD, "alice"))


def test_nobodys_hash_is_whole_and_another_in_each_process():
    """It meets the comparison at the end, and not an earlier refusal that would be quicker."""
    hasher = _Watched(1, 8, 1)
    drawn = set()
    for _ in range(50):
        Passwords(hasher).matches(None, PASSWORD)
        drawn.add(hasher.verified[-1])
    assert len(drawn) == 50
    for one in drawn:
        with pytest.raises(VerifyMismatchError):
            PasswordHasher().verify(one, PASSWORD)


def test_time_tells_nobody_who_is_there():
    hasher = PasswordHasher(2, 16_384, 1)
    passwords = Passwords(hasher)
    kept = passwords.hash(PASSWORD, "alice")

    def spent(stored):
        before = process_time()
        assert not passwords.matches(stored, "another long password")
        return process_time() - before

    nobody, somebody = (min(spent(stored) for _ in range(7)) for stored in (None, kept))
    assert 0.5 < nobody / somebody < 2


@pytest.mark.parametrize("password", ["", "nobody has this password", "\x00", "x" * 2000])
def test_nobody_has_no_password(password):
    passwords = Passwords(PasswordHasher(1, 8, 1))
    assert not passwords.matches(None, password)
    assert not passwords.matches("", password)
