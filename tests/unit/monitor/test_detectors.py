"""Detectors: what each sees, what it leaves alone, and that none ever raises more than its budget."""

import accounts as bench
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.monitor import BUDGETS, DETECTORS, Activity, Profile, judge
from vallum.monitor.detectors import NOBODY, WINDOW_DAYS

DAY, HOUR, MONDAY = 86_400, 3600, 20_003
OFFICE, HOME = "10.1.2.0/24", "198.51.100.0/24"


def act(at, action="ledger:entry:read", *, place=OFFICE, session="ses_1", privileged=False, allowed=True, **changes):
    fields = {
        "entry_id": "ent_1", "at_seconds": int(at), "subject": "person:ada", "action": action, "asset": "System:vallum",
        "allowed": allowed, "privileged": privileged, "place": place, "session": session, **changes,
    }  # fmt: skip
    return Activity(**fields)


def worked(days=40, hours=range(9, 17), actions=("identity:key:issue",)):
    """Somebody who has worked office hours, and does one privileged thing each day."""
    profile = Profile()
    for day in range(MONDAY, MONDAY + days):
        for hour in hours:
            assert judge(profile, act(day * DAY + hour * HOUR)) == {}
        for action in actions:
            judge(profile, act(day * DAY + hours[-1] * HOUR + 60, action, privileged=True))
    return profile, (MONDAY + days) * DAY


def test_ordinary_days_raise_nothing():
    profile, today = worked()
    for hour in range(6, 20):  # an early start and a late end are ordinary
        assert judge(profile, act(today + hour * HOUR)) == {}


def test_what_is_standing_costs_no_budget():
    profile, today = worked()
    for day in range(5):
        found = judge(profile, act(today + day * DAY + 2 * HOUR), standing={"unusual_hours"})
        assert ("unusual_hours" in found) == (day == 0)  # from the second day on, it is an hour like others
    assert profile.alarms == {}


def test_nothing_is_unusual_while_an_account_is_new():
    profile = Profile()
    for day in range(5):
        for hour in (3, 12, 22):
            at = (MONDAY + day) * DAY + hour * HOUR
            assert judge(profile, act(at, f"a:b:{day}{hour}", privileged=True, place=f"10.0.{day}{hour}.0/24")) == {}


@pytest.mark.parametrize("hour", [1, 2, 3, 21, 23])
def test_an_hour_far_from_all_others(hour):
    profile, today = worked()
    found = judge(profile, act(today + hour * HOUR))
    assert list(found) == ["unusual_hours"]
    assert f"active at {hour:02}:00 UTC" in found["unusual_hours"]
    assert judge(profile, act(today + hour * HOUR + 60)) == {}  # one a day


def test_hours_go_round_midnight():
    profile, today = worked(hours=range(20, 24))
    assert judge(profile, act(today + 1 * HOUR)) == {}
    assert "unusual_hours" in judge(profile, act(today + 8 * HOUR))


def test_three_times_the_busiest_day():
    profile, today = worked(hours=range(8, 18), actions=["a:b:c"] * 40)
    found = [judge(profile, act(today + 9 * HOUR + n)) for n in range(400)]
    seen = [n for n, one in enumerate(found) if one]
    assert [list(found[n]) for n in seen] == [["volume"]]
    assert seen == [150]  # the 151st action is more than three times fifty
    few, today = worked(hours=[9])
    assert not any(judge(few, act(today + 9 * HOUR + n)) for n in range(99))


def test_somewhere_new():
    profile, today = worked()
    found = judge(profile, act(today + 10 * HOUR, place=HOME))
    assert list(found) == ["new_place"]
    assert HOME in found["new_place"]
    assert judge(profile, act(today + 11 * HOUR, place=HOME)) == {}
    # The next time it is less news; at an odd hour it is news all the same.
    assert judge(profile, act(today + DAY + 10 * HOUR, place="192.0.2.0/24")) == {}
    assert "new_place" in judge(profile, act(today + 2 * DAY + 19 * HOUR, place="203.0.113.0/24"))


def test_two_places_in_turns():
    profile, today = worked()
    judge(profile, act(today + 10 * HOUR, place=HOME, session="ses_2"))
    at = today + 12 * HOUR
    assert judge(profile, act(at, session="ses_1")) == {}
    assert judge(profile, act(at + 60, place=HOME, session="ses_2")) == {}  # she may have moved
    found = judge(profile, act(at + 120, session="ses_1"))
    assert list(found) == ["concurrency"]
    later = today + DAY + 12 * HOUR
    for n in range(5):  # from the office home and back, with hours between
        assert judge(profile, act(later + n * HOUR, place=(OFFICE, HOME)[n % 2], session=f"ses_{n % 2 + 1}")) == {}


def test_something_privileged_for_the_first_time():
    profile, today = worked()
    assert judge(profile, act(today + 10 * HOUR, "keys:keyset:read")) == {}  # reading is not privileged
    keyset = "Keyset:default/content"
    found = judge(profile, act(today + 10 * HOUR, "keys:keyset:destroy", privileged=True, asset=keyset))
    assert list(found) == ["first_time"]
    assert f"keys:keyset:destroy on {keyset} for the first time in 40 active days" in found["first_time"]
    assert judge(profile, act(today + DAY + 10 * HOUR, "identity:key:issue", privileged=True)) == {}


def test_who_does_new_things_all_the_time_is_left_alone():
    profile = Profile()
    for day in range(60):
        at = (MONDAY + day) * DAY + 10 * HOUR
        found = judge(profile, act(at, f"area:thing{day // 4}:change", privileged=True))
        assert "first_time" not in found


def test_a_privilege_after_silence():
    profile, today = worked()
    found = judge(profile, act(today + 40 * DAY + 10 * HOUR, "identity:key:issue", privileged=True))
    assert found["dormancy"] == "identity:key:issue after 41 days without any activity"
    returned, today = worked()
    judge(returned, act(today + 40 * DAY + 9 * HOUR))  # signing in is part of the day
    assert "dormancy" in judge(returned, act(today + 40 * DAY + 9 * HOUR + 60, "identity:key:issue", privileged=True))
    reader, today = worked()
    for day in range(40):
        judge(reader, act(today + day * DAY + 10 * HOUR))
    found = judge(reader, act(today + 40 * DAY + 10 * HOUR, "identity:key:issue", privileged=True))
    assert "without anything privileged" in found["dormancy"]
    assert judge(reader, act(today + 75 * DAY + 10 * HOUR)) == {}  # reading after a holiday is a return to work


def test_denials_and_guesses():
    profile, today = worked()
    at = today + 10 * HOUR
    found = [judge(profile, act(at + n * 60, f"a:b:{n}", allowed=False)) for n in range(8)]
    assert [list(one) for one in found] == [[], [], [], [], ["denials"], [], [], []]
    slow, today = worked()
    assert not any(judge(slow, act(today + 10 * HOUR + n * 200, allowed=False)) for n in range(15))
    nobody = Profile()
    guesses = [judge(nobody, act(at + n, subject=NOBODY, allowed=False, weight=10, place="")) for n in range(6)]
    assert [bool(one) for one in guesses] == [False, False, False, False, True, False]


@settings(max_examples=60)
@given(st.data())
def test_no_detector_ever_raises_more_than_its_budget(data):
    """Whatever an account does: in any 60 active days, and once a day."""
    profile, today = worked(days=20)
    raised = {name: [] for name in DETECTORS}
    at, number = today, 0
    for _ in range(data.draw(st.integers(20, 120))):
        step = data.draw(st.sampled_from([1, 60, 400, HOUR, 5 * HOUR, DAY, 2 * DAY, 33 * DAY]))
        number += (at + step) // DAY != at // DAY
        at += step
        one = act(
            at, data.draw(st.sampled_from(["a:b:c", "d:e:f", f"x:y:{number}"])), allowed=data.draw(st.booleans()),
            place=data.draw(st.sampled_from([OFFICE, HOME, f"10.{number % 250}.0.0/24"])),
            session=data.draw(st.sampled_from(["s", "t"])), privileged=data.draw(st.booleans()),
        )  # fmt: skip
        for name in judge(profile, one):
            raised[name].append(number)
    for name, days in raised.items():
        assert len(days) == len(set(days))
        for last in days:
            assert sum(last - WINDOW_DAYS < day <= last for day in days) <= BUDGETS[name], name


def test_a_profile_is_small_and_survives_being_kept():
    profile = Profile()
    for n in range(5_000):
        where = {"place": f"10.{n % 200}.0.0/24", "session": f"ses_{n}"}
        judge(profile, act(MONDAY * DAY + n * 1800, f"a:b:{n}", privileged=True, allowed=n % 3 > 0, **where))
    raw = msgspec.json.encode(profile)
    assert len(raw) < 32_000
    assert msgspec.json.decode(raw, type=Profile) == profile


@pytest.mark.long
def test_ordinary_work_uses_little_of_the_budget_and_attacks_are_seen():
    """A smaller run of bench/accounts.py, which says what ordinary work is."""
    raised, most, active, trained = bench.ordinary(60, 150)
    assert 1000 * raised.total() / active < 30
    assert all(most[name] <= BUDGETS[name] for name in DETECTORS)
    people = [one for one in trained if one[0].kind != "service" and len(one[1].days) >= 20]
    for title, (attack, meant) in bench.ATTACKS.items():
        seen = 0
        for worker, profile, day in people:
            fresh = msgspec.json.decode(msgspec.json.encode(profile), type=Profile)
            seen += meant in {name for one in attack(worker, day) for name in judge(fresh, one)}
        assert seen / len(people) > 0.55, title
