"""Notices: what somebody should hear of, told where people look: a webhook, a mailbox.

Reads the ledger, as every watcher does, so that what is told is what was recorded, and a notice that could not be
delivered is delivered later: the place in the ledger moves on when every notice of a page has been taken. A notice may
come twice and carries its entry's id, by which a receiver knows. It says who did what to which asset and where to look,
and nothing that an entry does not say: no reason, no content, no secret.
"""

import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from types import MappingProxyType
from typing import Protocol

import msgspec

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.ledger.entry import Entry
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.store.records import Records
from vallum.monitor.follow import Follower

__all__ = ["Channel", "Notice", "NoticeRefused", "Notifier", "notice_of"]

_log = logging.getLogger("vallum.notices")

_TRIES = 5  # of a notice that its receiver will not have; the others wait for it that long
_LONGEST_WAIT_SECONDS = 300.0

# What is told of an action that was done, and the room to look at it in.
_TOLD: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "identity:grant:request": ("access was asked for: somebody decides", "access"),
        "identity:grant:approve": ("access was given", "access"),
        "identity:grant:deny": ("access was denied", "access"),
        "identity:grant:revoke": ("access was ended", "access"),
        "policy:change:propose": ("policies were proposed: somebody else decides", "policy"),
        "policy:change:approve": ("policies were changed", "policy"),
        "policy:set:apply": ("policies were changed by who holds the root key", "policy"),
        "identity:person:invite": ("somebody was invited", "people"),
        "identity:person:disable": ("somebody's access was ended", "people"),
        "identity:service:create": ("a service was created", "people"),
        "releases:promotion:request": (
            "a release was to run in an environment: somebody else may have to decide",
            "ledger",
        ),
        "releases:promotion:approve": ("a promotion was approved", "ledger"),
        "releases:promotion:deny": ("a promotion was denied", "ledger"),
        "releases:release:revoke": ("a release was revoked", "ledger"),
        "releases:environment:rollback": ("an environment was rolled back", "ledger"),
        "releases:environment:heal": ("what runs was put right", "ledger"),
        "keys:keyset:destroy": ("a key was destroyed", "ledger"),
    }
)
_KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"alert": ("something unusual was seen", "alerts"), "incident": ("an incident was opened", "ledger")}
)


class Notice(msgspec.Struct, frozen=True):
    """`id` is the entry's; `about` holds what the entry says beside who, what and when: ids and numbers."""

    id: str
    time: str
    what: str
    action: str
    subject: str
    asset: str
    url: str
    about: dict[str, str | int]

    @property
    def text(self) -> str:
        """For people, a line each."""
        about = "".join(f"\n{name}: {value}" for name, value in sorted(self.about.items()))
        return f"{self.what}\n\n{self.subject}, {self.action}, {self.asset}, {self.time}{about}\n\n{self.url}\n"


class NoticeRefused(Invalid):
    """The receiver answers, and will not have this one notice."""

    code = "notice_refused"


class Channel(Protocol):
    """Where notices go."""

    name: str

    def deliver(self, notice: Notice) -> None:
        """Return once it was taken. Raises Unavailable, and is asked again with the same notice until it is taken;
        NoticeRefused, and is asked some times more.
        """
        ...


class Notifier:
    """One channel's reader of the ledger: a mailbox that is full holds up no webhook."""

    def __init__(self, channel: Channel, records: Records, ledger: Ledger, url: str) -> None:
        self._channel = channel
        self._records = records
        self._url = url
        self._follower = Follower(f"notices:{channel.name}", records, ledger, but_kinds=("inference", "decision"))
        self._refused = ("", 0)  # which notice, and how often
        self._wait, self._not_before = 0.0, 0.0

    def poll(self) -> int:
        """Deliver what is new; returns how many. Raises Unavailable when the channel does not take one.

        After that, the channel is left alone for a while that grows to five minutes.
        """
        delivered = 0
        if monotonic() < self._not_before:
            return 0
        while True:
            at, entries, end = self._follower.next_page()
            if at == end:
                return delivered
            for entry in entries:
                notice = notice_of(entry, self._url)
                if notice is not None:
                    self._deliver(notice, at, entry.index or at)
                    at, delivered = max(at, entry.index or at), delivered + 1
            with self._records.write() as conn:
                self._follower.advance(conn, at, end)

    def _deliver(self, notice: Notice, at: int, index: int) -> None:
        """The place moves up to the notice before it is sent, so that only this one is sent again."""
        if index > at:
            with self._records.write() as conn:
                self._follower.advance(conn, at, index)
        try:
            self._channel.deliver(notice)
        except NoticeRefused as e:
            times = self._refused[1] + 1 if self._refused[0] == notice.id else 1
            self._refused = (notice.id, times)
            if times < _TRIES:
                self._leave_alone()
                raise Unavailable(f"{self._channel.name}: {notice.id} was refused: {e}") from e
            _log.error("%s: %s was refused %d times, and is left out: %s", self._channel.name, notice.id, times, e)
        except Unavailable:
            self._leave_alone()
            raise
        self._wait = 0.0

    def _leave_alone(self) -> None:
        self._wait = min(_LONGEST_WAIT_SECONDS, max(2.0, 2 * self._wait))
        self._not_before = monotonic() + self._wait


def notice_of(entry: Entry, url: str) -> Notice | None:
    """None for what nobody needs to be told."""
    told = _KINDS.get(entry.kind)
    if told is None and entry.kind == "change" and entry.outcome == "ok":
        told = _TOLD.get(entry.action)
    if told is None:
        return None
    what, room = told
    about = {k: v for k, v in entry.context.items() if k not in ("basis", "route")}
    return Notice(
        entry.entry_id, entry.time, what, entry.action, entry.subject, entry.asset, f"{url}/console/{room}", about
    )


def told_actions() -> Sequence[str]:
    """Those whose doing is told, in order; documented."""
    return tuple(sorted(_TOLD))
