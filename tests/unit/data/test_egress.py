"""Exports out of the ordinary are found; a thousand ordinary days raise few alarms."""

import math
import random

import pytest

from vallum.data.egress import EGRESS_DETECTORS, ExportDay, judge_export_day

OFFICE = [8, 9, 10, 11, 13, 14, 15, 16, 17]
DISTRIBUTIONS = {
    "normal": lambda c: max(0, round(c.gauss(1000, 150))),
    "poisson-like": lambda c: max(0, round(c.gauss(400, 20))),
    "lognormal": lambda c: round(1000 * math.exp(c.gauss(0, 0.5))),
    "exponential": lambda c: round(c.expovariate(1 / 1000)),
    "uniform": lambda c: c.randrange(200, 2000),
    "two habits": lambda c: round(c.gauss(5000, 300)) if c.random() < 0.2 else round(c.gauss(500, 50)),
    "constant": lambda c: 1000,
}


def ordinary(chance, rows, day):
    hours = sum({1 << chance.choice(OFFICE) for _ in range(3)})
    assets = {chance.choice("abcd"), *(["rare"] if chance.random() < 0.01 else [])}
    return ExportDay(day, rows(chance), frozenset(assets), hours)


def days(name, seed, count):
    chance = random.Random(f"{name}/{seed}")
    return [ordinary(chance, DISTRIBUTIONS[name], day) for day in range(count)]


@pytest.mark.long
def test_a_thousand_clean_days_raise_at_most_one_false_alarm_in_a_hundred():
    """Every distribution, all four detectors together, three subjects of 1,200 days (200 of them are learnt from)."""
    alarms = dict.fromkeys(EGRESS_DETECTORS, 0)
    judged = 0
    for name in DISTRIBUTIONS:
        raised = 0
        for seed in range(3):
            lived = days(name, seed, 1200)
            for at in range(200, 1200):
                found = judge_export_day(lived[at - 180 : at], lived[at])
                raised += bool(found)
                judged += 1
                for detector in found:
                    alarms[detector] += 1
        assert raised <= 30, (name, raised, alarms)
    assert max(alarms.values()) <= 0.005 * judged, alarms


@pytest.mark.parametrize("name", ["normal", "poisson-like", "uniform", "constant", "lognormal", "exponential"])
def test_four_sigma_are_found(name):
    found = 0
    for seed in range(40):
        lived = days(name, seed, 90)
        counts = [each.rows for each in lived]
        mean = sum(counts) / 90
        sigma = max(50.0, math.sqrt(sum((c - mean) ** 2 for c in counts) / 90))
        thief = ExportDay(90, round(mean + 4.2 * sigma), frozenset("a"), 1 << 10)
        found += "volume" in judge_export_day(lived, thief)
    assert found >= 37  # also where 4 sigma of a long tail have been seen before


def test_a_slow_drip_is_found_where_no_day_is_far_above():
    found = 0
    for seed in range(40):
        lived = days("normal", seed, 90)
        chance = random.Random(seed)
        for day in range(90, 110):
            today = ExportDay(day, round(chance.gauss(1250, 150)), frozenset("a"), 1 << 10)
            if "slow_drip" in judge_export_day(lived, today):
                found += 1
                break
            lived.append(today)
    assert found >= 32


def test_an_asset_never_taken_before_and_an_hour_never_seen():
    lived = [ExportDay(day, 500, frozenset("ab"), 1 << 9 | 1 << 15) for day in range(90)]
    found = judge_export_day(lived, ExportDay(90, 500, frozenset({"a", "salaries"}), 1 << 2))
    assert set(found) == {"new_asset", "off_hours"}
    assert "salaries" in found["new_asset"]
    assert "02:00" in found["off_hours"]
    assert judge_export_day(lived, ExportDay(90, 500, frozenset("a"), 1 << 10)) == {}


def test_midnight_is_near_eleven():
    lived = [ExportDay(day, 500, frozenset("a"), 1 << 23) for day in range(90)]
    assert judge_export_day(lived, ExportDay(90, 500, frozenset("a"), 1)) == {}
    assert "off_hours" in judge_export_day(lived, ExportDay(90, 500, frozenset("a"), 1 << 3))


def test_who_is_new_is_not_judged_and_small_exports_are_nothing():
    lived = [ExportDay(day, 500, frozenset("a"), 1 << 9) for day in range(29)]
    assert judge_export_day(lived, ExportDay(30, 10**9, frozenset("z"), 1)) == {}
    few = [ExportDay(day, 1, frozenset("a"), 1 << 9) for day in range(90)]
    assert judge_export_day(few, ExportDay(90, 99, frozenset("a"), 1 << 9)) == {}


def test_one_large_day_is_not_called_a_drip():
    lived = days("normal", 1, 90)
    assert "slow_drip" not in judge_export_day(lived, ExportDay(90, 10**7, frozenset("a"), 1 << 10))
