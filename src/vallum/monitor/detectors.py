"""What is unusual for an account, judged against what that account did before; pure functions over a small profile.

Seven detectors. Each compares one activity with the account's last 60 active days, says why in a sentence, and has a
**budget**: the most alerts it may raise for one account in 60 active days, whatever the account does, and one a day.
An account that keeps doing something unusual has made it usual; whoever answers alerts has been told as often as the
budget says. The budget is a promise by construction; how much less ordinary work uses of it is measured
(`bench/accounts.py`, docs/benchmarks.md). Thresholds compare with the account's own extremes rather than with fitted
distributions: of exchangeable days, the newest is the most extreme of n+1 once in n+1, however they are distributed.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

__all__ = ["BUDGETS", "DETECTORS", "WINDOW_DAYS", "Activity", "Profile", "judge"]

WINDOW_DAYS = 60  # active ones: who works two days a week is known after as many days of work
_DAY, _HOUR = 86_400, 3600
_LEARNING_DAYS = 14  # before that, everything is new
_FAR_HOURS = 3  # from any hour at which the account was active before
_MIN_VOLUME = 100  # actions a day; below, three times as many is nothing
_VOLUME_TIMES = 3
_QUIET_SECONDS = 30 * _DAY
_TOGETHER_SECONDS = 300
_DENIED_SECONDS, _DENIED = 600, 5
_REFUSED = 50  # of sign-ins and tokens by nobody known: typing slips of a whole organisation are fewer
_MAX_KNOWN, _MAX_PLACES, _MAX_SESSIONS = 300, 50, 20
NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One entry, as far as watching is concerned. `place` is a network prefix, empty where none is known.

    `privileged`: it changed something, or opened contents. `weight`: how many attempts the entry stands for.
    """

    entry_id: str
    at_seconds: int
    subject: str
    action: str
    asset: str
    allowed: bool
    privileged: bool
    place: str = ""
    session: str = ""
    weight: int = 1


class Profile(msgspec.Struct):
    """What an account usually does. Days are days since 1970 in UTC."""

    days: dict[int, tuple[int, int]] = {}
    places: dict[str, int] = {}
    known: dict[str, int] = {}
    novel_days: list[int] = []
    novel_places: list[int] = []
    first_day: int = 0
    denied: list[tuple[int, int]] = []
    sessions: dict[str, tuple[str, int]] = {}
    switches: list[tuple[int, str]] = []
    last_seconds: int = 0
    last_privileged_seconds: int = 0
    longest_pause_seconds: int = 0  # between two privileged actions
    alarms: dict[str, list[int]] = {}

    def before(self, day: int) -> list[tuple[int, int]]:
        """The active days in the window, without `day` itself."""
        return [seen for at, seen in self.days.items() if at != day]

    def firsts(self, days: list[int]) -> int:
        """On how many of these days since the account was known, in the window."""
        since = max(min(self.days, default=0), self.first_day + _LEARNING_DAYS)
        return sum(day >= since for day in days)

    def learn(self, activity: Activity) -> None:
        day, hour = activity.at_seconds // _DAY, activity.at_seconds // _HOUR % 24
        self.first_day = self.first_day or day
        hours, count = self.days.get(day, (0, 0))
        self.days[day] = (hours | 1 << hour, count + 1)
        while len(self.days) > WINDOW_DAYS:
            del self.days[min(self.days)]
        if activity.place:
            self._learn_place(activity)
        if activity.privileged and activity.allowed:
            self._learn_privilege(activity, day)
        if not activity.allowed:
            recent = [(at, n) for at, n in self.denied if at > activity.at_seconds - _DENIED_SECONDS]
            self.denied = [*recent, (activity.at_seconds, activity.weight)][-2 * _REFUSED :]
        self.last_seconds = activity.at_seconds

    def _learn_place(self, activity: Activity) -> None:
        day = activity.at_seconds // _DAY
        if activity.place not in self.places and day not in self.novel_places:
            self.novel_places = [*self.novel_places, day][-WINDOW_DAYS:]
        _touch(self.places, activity.place, activity.at_seconds // _DAY, _MAX_PLACES)
        last = self.switches[-1][1] if self.switches else ""
        if activity.place != last:
            recent = [s for s in self.switches if s[0] > activity.at_seconds - _TOGETHER_SECONDS]
            self.switches = [*(recent or self.switches[-1:]), (activity.at_seconds, activity.place)][-4:]
        self.sessions[activity.session] = (activity.place, activity.at_seconds)
        while len(self.sessions) > _MAX_SESSIONS:
            del self.sessions[next(iter(self.sessions))]

    def _learn_privilege(self, activity: Activity, day: int) -> None:
        if self.last_privileged_seconds:
            pause = activity.at_seconds - self.last_privileged_seconds
            self.longest_pause_seconds = max(self.longest_pause_seconds, pause)
        self.last_privileged_seconds = activity.at_seconds
        if _what(activity) not in self.known and day not in self.novel_days:
            self.novel_days = [*self.novel_days, day][-WINDOW_DAYS:]
        _touch(self.known, _what(activity), day, _MAX_KNOWN)

    def has_budget(self, detector: str, day: int, subject: str) -> bool:
        if subject == NOBODY:  # strangers are no account, and would spend one's budget for it
            return day not in self.alarms.get(detector, [])
        since = min(self.days, default=day)
        spent = [at for at in self.alarms.get(detector, []) if at >= since]
        return day not in spent and len(spent) < BUDGETS[detector]

    def spend(self, detector: str, day: int) -> None:
        self.alarms[detector] = [*self.alarms.get(detector, []), day][-max(BUDGETS.values()) :]


def judge(profile: Profile, activity: Activity, standing: Collection[str] = ()) -> dict[str, str]:
    """What is unusual about this activity, by detector, with its explanation; then the profile has learnt it.

    What is over a detector's budget is not among it. `standing` are detectors whose alert about this account waits for
    somebody: what they see is one more time of the same, and costs no budget.
    """
    day = activity.at_seconds // _DAY
    found = {}
    for name, detector in DETECTORS.items():
        explanation = detector(profile, activity)
        if not explanation:
            continue
        if name in standing:
            found[name] = explanation
        elif profile.has_budget(name, day, activity.subject):
            profile.spend(name, day)
            found[name] = explanation
    profile.learn(activity)
    return found


def unusual_hours(profile: Profile, activity: Activity) -> str:
    if activity.subject == NOBODY:
        return ""
    past, hour = profile.before(activity.at_seconds // _DAY), activity.at_seconds // _HOUR % 24
    if len(past) < _LEARNING_DAYS or any(hours & _around(hour, _FAR_HOURS) for hours, _ in past):
        return ""
    return f"active at {hour:02}:00 UTC, {_FAR_HOURS} hours and more from any hour of {len(past)} active days before"


def volume(profile: Profile, activity: Activity) -> str:
    if activity.subject == NOBODY:
        return ""
    day = activity.at_seconds // _DAY
    past = profile.before(day)
    today = profile.days.get(day, (0, 0))[1] + 1
    most = max((count for _, count in past), default=0)
    if len(past) < _LEARNING_DAYS or today <= max(_MIN_VOLUME, _VOLUME_TIMES * most):
        return ""
    return f"{today} actions today; the busiest of {len(past)} active days before had {most}"


def new_place(profile: Profile, activity: Activity) -> str:
    """For whoever is seldom somewhere new; for others, at an hour that is a little unusual, too."""
    past = profile.before(activity.at_seconds // _DAY)
    if not activity.place or activity.place in profile.places or len(past) < _LEARNING_DAYS:
        return ""
    novel = profile.firsts(profile.novel_places)
    hour = activity.at_seconds // _HOUR % 24
    if novel and (novel * 8 > len(past) or any(hours & _around(hour, 1) for hours, _ in past)):
        return ""
    return (
        f"from {activity.place}, where this account was not in {len(past)} active days; it was new somewhere on {novel}"
    )


def concurrency(profile: Profile, activity: Activity) -> str:
    """Back where it was a moment ago: one person is not in two places in turns. One who moved does not return."""
    if not activity.place:
        return ""
    recent = [s for s in profile.switches if s[0] > activity.at_seconds - _TOGETHER_SECONDS]
    here = profile.switches[-1][1] if profile.switches else ""
    was = profile.sessions.get(activity.session, ("", 0))
    back = was[0] == activity.place and was[1] > activity.at_seconds - _TOGETHER_SECONDS
    if not recent or activity.place == here or not back:
        return ""
    return f"in turns from {activity.place} and {here} within {_TOGETHER_SECONDS // 60} minutes"


def first_time(profile: Profile, activity: Activity) -> str:
    """Only for accounts that do few new things: for the others it says nothing (Good and Turing's estimate)."""
    if not (activity.privileged and activity.allowed) or _what(activity) in profile.known:
        return ""
    past = len(profile.before(activity.at_seconds // _DAY))
    novel = profile.firsts(profile.novel_days)
    if past < 20 or novel * 30 > past:
        return ""
    return f"{_what(activity)} for the first time in {past} active days; such firsts were on {novel} of them"


def dormancy(profile: Profile, activity: Activity) -> str:
    if not (activity.privileged and activity.allowed) or not profile.last_seconds:
        return ""
    day = activity.at_seconds // _DAY
    silent = day - max((at for at in profile.days if at < day), default=day)  # signing in today is part of today
    if silent * _DAY >= _QUIET_SECONDS:
        return f"{activity.action} after {silent} days without any activity"
    unused = activity.at_seconds - profile.last_privileged_seconds
    if profile.last_privileged_seconds and unused >= max(_QUIET_SECONDS, 2 * profile.longest_pause_seconds):
        return f"{activity.action} after {unused // _DAY} days without anything privileged"
    return ""


def denials(profile: Profile, activity: Activity) -> str:
    if activity.allowed:
        return ""
    recent = [(at, n) for at, n in profile.denied if at > activity.at_seconds - _DENIED_SECONDS]
    total = sum(n for _, n in recent) + activity.weight
    if total < (_REFUSED if activity.subject == NOBODY else _DENIED):
        return ""
    return f"{total} refusals within {_DENIED_SECONDS // 60} minutes, the last of {activity.action} on {activity.asset}"


def _around(hour: int, hours: int) -> int:
    """The bits of an hour and of those near it, across midnight."""
    return sum(1 << (hour + offset) % 24 for offset in range(-hours, hours + 1))


def _what(activity: Activity) -> str:
    """Secrets, keys and people are told apart; of everything else, what was done."""
    kind = activity.asset.partition(":")[0]
    return f"{activity.action} on {activity.asset}" if kind in ("Secret", "Keyset", "Person") else activity.action


def _touch(kept: dict[str, int], name: str, day: int, most: int) -> None:
    """The newest last, and the oldest gone."""
    kept.pop(name, None)
    kept[name] = day
    while len(kept) > most:
        del kept[next(iter(kept))]


DETECTORS: Mapping[str, Callable[[Profile, Activity], str]] = MappingProxyType(
    {
        "unusual_hours": unusual_hours,
        "volume": volume,
        "new_place": new_place,
        "concurrency": concurrency,
        "first_time": first_time,
        "dormancy": dormancy,
        "denials": denials,
    }
)

# Alerts that each may raise for one account in 60 active days.
BUDGETS: Mapping[str, int] = MappingProxyType(
    {
        "unusual_hours": 2,
        "volume": 2,
        "new_place": 3,
        "concurrency": 2,
        "first_time": 3,
        "dormancy": 2,
        "denials": 10,
    }
)
