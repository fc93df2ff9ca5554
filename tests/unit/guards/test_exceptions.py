"""Exceptions: narrower than their guard, owned, and over on their day."""

from datetime import date

import pytest

from vallum.guards import Channel, Exempt, Mode, Segment, build_runner
from vallum.guards.exceptions import Exceptions
from vallum.guards.port import Finding
from vallum.inventory import Application
from vallum.inventory.model import GuardException, Guards, InputGuards

IP = Finding("pii", "1", "ip_address", 0, 4)
MAIL = Finding("pii", "1", "email", 0, 4)


def test_the_first_that_covers_decides_until_its_day():
    day = [date(2026, 1, 1)]
    exceptions = Exceptions(
        [
            Exempt("pii", Mode.DETECT, "ip_address", "tool", date(2026, 1, 2)),
            Exempt("pii", Mode.BLOCK, "*", "tool"),
        ],
        lambda: day[0],
    )
    assert exceptions.mode(IP, Channel.TOOL) is Mode.DETECT
    assert exceptions.mode(MAIL, Channel.TOOL) is Mode.BLOCK
    assert exceptions.mode(IP, Channel.USER) is None
    day[0] = date(2026, 1, 2)
    assert exceptions.mode(IP, Channel.TOOL) is Mode.BLOCK


def test_the_runner_follows_them():
    runner = build_runner(
        {"pii": Mode.REDACT},
        max_chars=1000,
        exceptions=[Exempt("pii", Mode.OFF, "email", "user"), Exempt("pii", Mode.BLOCK, "iban")],
    )
    mail, iban = "write to jane@mail.example.com", "pay to DE89370400440532013000"
    assert runner.inspect([Segment(mail, Channel.USER, "a")]).findings == ()
    assert runner.inspect([Segment(mail, Channel.TOOL, "a")]).action == "redact"
    assert runner.inspect([Segment(iban, Channel.USER, "a")]).action == "block"


def test_a_guard_that_is_off_runs_for_the_kind_an_exception_turns_on():
    runner = build_runner({}, max_chars=1000, exceptions=[Exempt("secrets", Mode.BLOCK, "private_key")])
    key = "-----BEGIN " + "PRIVATE KEY-----\n" + "A1b2" * 20 + "\n-----END " + "PRIVATE KEY-----"
    assert runner.inspect([Segment(key, Channel.USER, "a")]).action == "block"
    assert runner.inspect([Segment("pass" + "word = hunter2!aB3xyz", Channel.USER, "a")]).action == "allow"


@pytest.mark.parametrize(
    ("exception", "said"),
    [
        (GuardException("pii", "off", "email"), "needs an owner and a day"),
        (GuardException("pii", "detect", owner="ann"), "needs an owner and a day"),
        (GuardException("pii", "detect", expires=date(2027, 1, 1)), "needs an owner and a day"),
        (GuardException("nothing", "off"), "there is no guard nothing"),
        (GuardException("max_chars", "off"), "there is no guard max_chars"),
    ],
)
def test_a_hole_that_nobody_owns_is_refused(exception, said):
    application = Application("ann", guards=Guards(input=InputGuards(exceptions=(exception,))))
    assert any(said in problem for problem in application.problems())


def test_a_stricter_mode_and_an_owned_hole_are_not():
    exceptions = (
        GuardException("pii", "block", "iban"),
        GuardException("pii", "off", "email", "user", "ann", "newsletter sign-up", date(2027, 1, 1)),
    )
    assert not list(Application("ann", guards=Guards(input=InputGuards(exceptions=exceptions))).problems())
