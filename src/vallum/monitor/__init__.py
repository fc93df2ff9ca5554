"""Watching: follows the ledger, learns what is usual for each account, and says when something is not.

Floor 4: nothing on the request path calls it, and it keeps no second truth. What it raises is an entry of the ledger.
"""

from vallum.monitor.accounts import AccountWatch
from vallum.monitor.alerts import Alert, AlertDecided, Alerts, DetectorTally, Verdict
from vallum.monitor.detectors import BUDGETS, DETECTORS, Activity, Profile, judge
from vallum.monitor.exports import ExportAlerts
from vallum.monitor.follow import Follower, read_until
from vallum.monitor.notices import Channel, Notice, NoticeRefused, Notifier, notice_of

__all__ = [
    "BUDGETS",
    "DETECTORS",
    "AccountWatch",
    "Activity",
    "Alert",
    "AlertDecided",
    "Alerts",
    "Channel",
    "DetectorTally",
    "ExportAlerts",
    "Follower",
    "Notice",
    "NoticeRefused",
    "Notifier",
    "Profile",
    "Verdict",
    "judge",
    "notice_of",
    "read_until",
]
