"""How often watching accounts cries wolf, and what it misses: ordinary work, simulated, and six attacks on it.

    python bench/accounts.py [ACCOUNTS] [DAYS]

Prints, for each detector, the alerts it raised per 1,000 active days of ordinary work, the most for any one account in
60 active days beside its budget, and how many of the accounts an attack was seen on, by any detector and by the one
meant for it. The same seed gives the same figures. The model of work is this file: five kinds of account, with late
evenings, trips, moves, holidays, on-call nights, month ends and new tasks.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from time import perf_counter

import msgspec

from vallum.monitor import BUDGETS, DETECTORS, Activity, Profile, judge

DAY, HOUR = 86_400, 3600
START = 20_000  # a Monday would be 19_999; which weekday it is does not matter
CHANGES = [f"area:thing{n}:change" for n in range(40)]


class Worker:
    """One account: where and when it works, and what it does."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.kind = self.random.choice(("office", "office", "office", "on_call", "auditor", "director", "service"))
        self.start = self.random.gauss(8, 1) % 24
        self.busy = self.random.lognormvariate(3.3, 0.4)
        self.home, self.office = f"home{seed}/24", f"office{seed % 5}/24"
        self.tasks = self.random.sample(CHANGES, 6)
        self.trip: list[str] = []

    def days(self, count: int) -> Iterator[tuple[int, list[Activity]]]:
        chance = self.random.random
        away = 0
        for day in range(START, START + count):
            if chance() < 1 / 90:
                away = self.random.choice((5, 10, 15, 35))  # a holiday; now and then a long one
            away -= 1
            if chance() < 1 / 90:
                self.home = f"home{self.random.randrange(10**6)}/24"  # moved, or another provider
            if chance() < 1 / 40:
                self.tasks.append(self.random.choice(CHANGES))
            self.trip = self.trip[1:] or ([f"hotel{self.random.randrange(10**6)}/24"] * 3 if chance() < 1 / 60 else [])
            if away <= 0 and self._works(day):
                yield day, sorted(self._day(day), key=lambda a: a.at_seconds)

    def _works(self, day: int) -> bool:
        chance, weekend = self.random.random(), day % 7 in (5, 6)
        match self.kind:
            case "service":
                return True
            case "auditor":
                return day % 7 == 2 or (day % 90 > 80 and not weekend)
            case "director":
                return not weekend and chance < 0.1
            case "on_call":
                return not weekend or chance < 0.2
        return not weekend and chance < 0.92

    def _day(self, day: int) -> Iterator[Activity]:
        draw = self.random
        if self.kind == "service":
            for hour in range(24):
                for _ in range(draw.choice((1, 1, 2)) * (3 if day % 30 == 0 else 1)):
                    yield self.act(day * DAY + hour * HOUR + draw.randrange(HOUR), "", "s")
            return
        many = int(self.busy * draw.lognormvariate(0, 0.5) * (2.5 if self.kind == "auditor" and day % 90 > 80 else 1))
        start = self.start + draw.gauss(0, 0.6)
        place = self.trip[0] if self.trip else self.office if draw.random() < 0.7 else self.home
        for _ in range(max(many, 1)):
            yield self.act(int(day * DAY + (start + abs(draw.gauss(4, 2))) * HOUR), place, f"ses{day}")
        if draw.random() < 0.04:  # something to finish
            for _ in range(5):
                yield self.act(int(day * DAY + (start + 12 + draw.random()) * HOUR), self.home, f"ses{day}b")
        if self.kind == "on_call" and day // 7 % 4 == 0 and draw.random() < 0.3:
            for _ in range(draw.randrange(5, 20)):
                yield self.act(int(day * DAY + draw.uniform(0, 24) * HOUR), self.home, f"ses{day}c")
        if draw.random() < 0.03:  # the train: a telephone beside the laptop
            at = day * DAY + int(start * HOUR)
            yield self.act(at, self.home, f"ses{day}d")
            yield self.act(at + 60, f"mobile{draw.randrange(3)}/24", f"ses{day}e")

    def act(self, at: int, place: str, session: str) -> Activity:
        draw = self.random
        privileged = draw.random() < 0.08
        allowed = draw.random() > 0.01
        index = min(int(draw.expovariate(0.6)), len(self.tasks) - 1)
        action = self.tasks[index] if privileged else "area:thing:read"
        return activity(at, place, session, action, privileged=privileged, allowed=allowed)


def activity(at: int, place: str, session: str, action: str, *, privileged: bool, allowed: bool = True) -> Activity:
    return Activity(
        entry_id="e", at_seconds=at, subject="person:p", action=action, asset="System:vallum", allowed=allowed,
        privileged=privileged, place=place, session=session,
    )  # fmt: skip


def ordinary(accounts: int, days: int) -> tuple[Counter[str], dict[str, int], int, list[tuple[Worker, Profile, int]]]:
    """Alerts by detector, the most of one account in 60 active days, active days in all, and the accounts then."""
    raised: Counter[str] = Counter()
    most = dict.fromkeys(DETECTORS, 0)
    active, trained = 0, []
    for seed in range(accounts):
        worker, profile, last = Worker(seed), Profile(), START
        alarms: dict[str, list[int]] = {name: [] for name in DETECTORS}
        for number, (day, done) in enumerate(worker.days(days)):
            active, last = active + 1, day
            for one in done:
                for name in judge(profile, one):
                    raised[name] += 1
                    alarms[name].append(number)
                    within = [at for at in alarms[name] if at > number - 60]
                    most[name] = max(most[name], len(within))
        trained.append((worker, profile, last + 1))
    return raised, most, active, trained


def stolen_at_night(worker: Worker, day: int) -> list[Activity]:
    at = day * DAY + int((worker.start + 16) % 24 * HOUR)
    return [activity(at + n, "abroad/24", "stolen", "area:thing:read", privileged=False) for n in range(3)]


def read_all(worker: Worker, day: int) -> list[Activity]:
    at = day * DAY + int(worker.start * HOUR)
    return [activity(at + n * 20, worker.office, "s", "area:thing:read", privileged=False) for n in range(1000)]


def never_done(worker: Worker, day: int) -> list[Activity]:
    at = day * DAY + int(worker.start * HOUR)
    return [activity(at, worker.office, "s", "keys:keyset:destroy", privileged=True)]


def probing(worker: Worker, day: int) -> list[Activity]:
    at = day * DAY + int(worker.start * HOUR)
    return [activity(at + n * 30, "", "s", f"area:t{n}:read", privileged=False, allowed=False) for n in range(8)]


def in_two_places(worker: Worker, day: int) -> list[Activity]:
    at = day * DAY + int((worker.start + 4) * HOUR)
    places = ((worker.office, "theirs"), ("abroad/24", "copy")) * 2
    return [activity(at + n * 40, place, session, "area:thing:read", privileged=False)
            for n, (place, session) in enumerate(places)]  # fmt: skip


def revived(worker: Worker, day: int) -> list[Activity]:
    at = (day + 60) * DAY + int(worker.start * HOUR)
    signed_in = activity(at - 60, worker.office, "s", "identity:session:create", privileged=False)
    return [signed_in, activity(at, worker.office, "s", worker.tasks[0], privileged=True)]


ATTACKS: dict[str, tuple[Callable[[Worker, int], list[Activity]], str]] = {
    "a session stolen, used at night from abroad": (stolen_at_night, "new_place"),
    "a thousand reads in a day": (read_all, "volume"),
    "something privileged that the account never did": (never_done, "first_time"),
    "eight denials in four minutes": (probing, "denials"),
    "a copied session beside its owner": (in_two_places, "concurrency"),
    "a privilege used after 60 days of silence": (revived, "dormancy"),
}


def main() -> None:
    accounts, days = (int(text) for text in (*sys.argv[1:], "300", "180")[:2])
    began = perf_counter()
    raised, most, active, trained = ordinary(accounts, days)
    seconds = perf_counter() - began
    print(f"{accounts} accounts, {days} days, {active} active days, {seconds:.1f} s\n")
    print(f"{'detector':<15} {'per 1,000 active days':>22} {'most in 60':>11} {'budget':>7}")
    for name in DETECTORS:
        print(f"{name:<15} {1000 * raised[name] / active:>22.2f} {most[name]:>11} {BUDGETS[name]:>7}")
    print(f"{'all':<15} {1000 * raised.total() / active:>22.2f}\n")
    people = [one for one in trained if one[0].kind != "service" and len(one[1].days) >= 20]
    for title, (attack, meant) in ATTACKS.items():
        found = Counter[str]()
        for worker, profile, day in people:
            fresh = msgspec.json.decode(msgspec.json.encode(profile), type=Profile)
            seen = {name for one in attack(worker, day) for name in judge(fresh, one)}
            found["any"] += bool(seen)
            found["meant"] += meant in seen
        shares = (100 * found[name] / len(people) for name in ("any", "meant"))
        print(f"{title:<50} seen {next(shares):>5.1f} %   {meant} {next(shares):>5.1f} %")


if __name__ == "__main__":
    main()
