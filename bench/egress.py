"""The watch over exports: false alarms on clean days, and what is found. `python bench/egress.py`.

Seven ways in which volumes may be distributed, three subjects each, 1,000 judged days after 180 that are learnt from;
hours are an office's, data sets four and now and then a fifth. Found: of 200 subjects each, a day of 4 sigma (4.2
standard deviations above the mean of 90 days), a drip of a quarter more each day (by its twentieth), a data set never
taken, an export at three.
"""

import math
import random

from vallum.data.egress import EGRESS_DETECTORS, ExportDay, judge_export_day

OFFICE = (8, 9, 10, 11, 13, 14, 15, 16, 17)
VOLUMES = {
    "normal": lambda c: max(0, round(c.gauss(1000, 150))),
    "poisson-like": lambda c: max(0, round(c.gauss(400, 20))),
    "lognormal": lambda c: round(1000 * math.exp(c.gauss(0, 0.5))),
    "exponential": lambda c: round(c.expovariate(1 / 1000)),
    "uniform": lambda c: c.randrange(200, 2000),
    "two habits": lambda c: round(c.gauss(5000, 300)) if c.random() < 0.2 else round(c.gauss(500, 50)),
    "constant": lambda c: 1000,
}
SUBJECTS, TRIED = 3, 200


def lived(name, seed, days):
    chance = random.Random(f"{name}/{seed}")
    made = []
    for day in range(days):
        hours = sum({1 << chance.choice(OFFICE) for _ in range(3)})
        assets = frozenset({chance.choice("abcd"), *(["rare"] if chance.random() < 0.01 else [])})
        made.append(ExportDay(day, VOLUMES[name](chance), assets, hours))
    return made


def false_alarms(name):
    by = dict.fromkeys(EGRESS_DETECTORS, 0)
    days = 0
    for seed in range(SUBJECTS):
        past = lived(name, seed, 1180)
        for at in range(180, 1180):
            found = judge_export_day(past[at - 180 : at], past[at])
            days += bool(found)
            for detector in found:
                by[detector] += 1
    return days / SUBJECTS, {name: count / SUBJECTS for name, count in by.items()}


def found_of(name):
    volume = drip = asset = hours = 0
    for seed in range(TRIED):
        past = lived(name, seed, 90)
        counts = [day.rows for day in past]
        mean = sum(counts) / len(counts)
        sigma = max(0.05 * mean, math.sqrt(sum((c - mean) ** 2 for c in counts) / len(counts)))
        volume += "volume" in judge_export_day(past, ExportDay(90, round(mean + 4.2 * sigma), frozenset("a"), 1 << 10))
        steady = [ExportDay(day.day, day.rows, frozenset("ab"), day.hours) for day in past]
        asset += "new_asset" in judge_export_day(steady, ExportDay(90, round(mean), frozenset({"salaries"}), 1 << 10))
        hours += "off_hours" in judge_export_day(past, ExportDay(90, round(mean), frozenset("a"), 1 << 3))
        chance, dripping = random.Random(seed), list(past)
        for day in range(90, 110):
            today = ExportDay(day, round(1.25 * VOLUMES[name](chance)), frozenset("a"), 1 << 10)
            if "slow_drip" in judge_export_day(dripping, today):
                drip += 1
                break
            dripping.append(today)
    return [round(100 * each / TRIED) for each in (volume, drip, asset, hours)]


def main():
    print(f"{'volumes':13} {'false of 1,000':>14}  {'volume':>7} {'drip':>5} {'asset':>6} {'hours':>6}  found, %")
    for name in VOLUMES:
        days, _ = false_alarms(name)
        volume, drip, asset, hours = found_of(name)
        print(f"{name:13} {days:14.1f}  {volume:7} {drip:5} {asset:6} {hours:6}")


if __name__ == "__main__":
    main()
