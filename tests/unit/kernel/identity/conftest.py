from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from argon2 import PasswordHasher

from vallum.kernel.identity import Identity, Passwords
from vallum.kernel.keys import FileRoot, Keyring

PASSWORD = "correct horse battery"


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 5, 4, 12, 0, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def pass_(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keyring(records, tmp_path, clock):
    return Keyring(records, FileRoot.create(tmp_path / "root.key", None), clock)


@pytest.fixture
def open_identity(records, keyring, clock):
    """Another process's view of the same database, with Argon2 made cheap."""
    return lambda: Identity.open(records, keyring, clock, "test.example/ledger", Passwords(PasswordHasher(1, 8, 1)))


@pytest.fixture
def identity(open_identity):
    return open_identity()


class Enrolled:
    def __init__(self, person, totp_secret, clock) -> None:
        self.person = person
        self._totp = pyotp.TOTP(totp_secret)
        self._clock = clock

    def code(self) -> str:
        return self._totp.at(self._clock.now())


@pytest.fixture
def enrol(identity, records, clock):
    """Enrol somebody as an invited person would; the clock moves on, so that the next code is a fresh one."""

    def _enrol(name="ada", roles=("administrator",)):
        with records.write() as conn:
            token = identity.people.invite(conn, roles)
        secret = identity.people.read_enrolment(token).totp_secret
        with records.write() as conn:
            person = identity.people.finish_enrolment(conn, token, name, PASSWORD, pyotp.TOTP(secret).at(clock.now()))
        clock.pass_(30)
        return Enrolled(person, secret, clock)

    return _enrol


@pytest.fixture
def sign_in(identity, records):
    def _sign_in(somebody, code=None):
        verified = identity.sign_in.check(somebody.person.name, PASSWORD, code or somebody.code())
        with records.write() as conn:
            return identity.sessions.open(conn, verified)

    return _sign_in
