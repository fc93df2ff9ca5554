"""Slowing down those who guess, without letting a stranger lock somebody out.

Attempts are counted before they are judged, by the name as tried from one network (a /24 or /64), and by that network
over all names; what succeeds is taken back. A name that nobody has counts like any other, so that no answer tells which
names there are; and guesses from elsewhere count nowhere that matters to somebody who is where they always are. What
stops guessing from many networks is the second factor: wrong codes beside the right password are counted by
themselves and wait up to a day. Only who knows the password can cause that.

The counts are rows, taken by one conditional statement each: exact over all workers, and a restart forgets nothing.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from sqlalchemy import ColumnElement, Connection, Integer, case, cast, delete, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vallum.kernel.errors import LimitExceeded
from vallum.kernel.identity import records as table

__all__ = ["Peer", "Throttle", "network_of"]

_KEPT_SECONDS = 86_400  # so that a stranger cannot fill the table for good
_MAX_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a request came from: a network prefix, and what the client says of itself. Either may be empty."""

    network: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    """`free` attempts cost nothing; each further one doubles the wait, from `first_seconds` to `most_seconds`."""

    free: int
    first_seconds: int
    most_seconds: int


_RULES = {
    "pair": _Rule(5, 1, 60),  # longer would let whoever sits in the same office lock a colleague out
    "network": _Rule(100, 1, 300),  # a company behind one address mistypes, too
    "code": _Rule(5, 60, 86_400),  # 1,000 guesses at six digits would take some years
    "client": _Rule(20, 1, 60),
}


class Throttle:
    """Stateless: everything is in the table."""

    def take(self, conn: Connection, name: str, peer: Peer, now: int) -> None:
        """Count an attempt at `name` from there. Raises LimitExceeded, and counts nothing, while it has to wait."""
        for key in (f"network {peer.network}", f"pair {peer.network} {name}"):
            if not self._take(conn, key, now):
                left = max(1, self.left(conn, key, now))
                raise LimitExceeded(f"too many refused attempts: wait {left} seconds", left)
        conn.execute(delete(table.failures).where(table.failures.c.last_at_seconds < now - _KEPT_SECONDS))

    def take_client(self, conn: Connection, client_id: str, peer: Peer, now: int) -> None:
        """The same for a service that proves itself. Raises LimitExceeded."""
        key = f"client {peer.network} {client_id}"[:200]
        if not self._take(conn, key, now):
            left = max(1, self.left(conn, key, now))
            raise LimitExceeded(f"too many refused attempts: wait {left} seconds", left)

    def succeeded(self, conn: Connection, name: str, peer: Peer) -> None:
        """Take back what `take` counted: who signs in guessed nothing."""
        c = table.failures.c
        keys = [f"pair {peer.network} {name}"[:200], f"code {name}"[:200]]
        conn.execute(delete(table.failures).where(c.name.in_(keys)))
        self._give_back(conn, f"network {peer.network}")

    def client_succeeded(self, conn: Connection, client_id: str, peer: Peer) -> None:
        self._give_back(conn, f"client {peer.network} {client_id}"[:200])

    def code_refused(self, conn: Connection, name: str, now: int) -> None:
        """A wrong code beside the right password. While codes wait, further ones change nothing."""
        self._take(conn, f"code {name}", now)

    def code_waits(self, conn: Connection, name: str, now: int) -> int:
        """Seconds until a code of this person is judged again; 0 when it is."""
        return self.left(conn, f"code {name}", now)

    def unlock(self, conn: Connection, name: str) -> None:
        conn.execute(delete(table.failures).where(table.failures.c.name == f"code {name}"[:200]))

    def left(self, conn: Connection, key: str, now: int) -> int:
        row = conn.execute(select(table.failures).where(table.failures.c.name == key[:200])).one_or_none()
        rule = _RULES[key.partition(" ")[0]]
        if row is None or row.refused < rule.free:
            return 0
        doublings = min(row.refused - rule.free, _MAX_DOUBLINGS)
        return max(0, int(row.last_at_seconds + min(rule.first_seconds << doublings, rule.most_seconds) - now))

    def _take(self, conn: Connection, key: str, now: int) -> bool:
        rule, c = _RULES[key.partition(" ")[0]], table.failures.c
        insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table.failures)
        counted = insert.values(name=key[:200], refused=1, last_at_seconds=now).on_conflict_do_update(
            index_elements=["name"],
            set_={"refused": c.refused + 1, "last_at_seconds": now},
            where=or_(c.refused < rule.free, c.last_at_seconds + _wait(rule) <= now),
        )
        return conn.execute(counted.returning(c.name)).first() is not None

    def _give_back(self, conn: Connection, key: str) -> None:
        c = table.failures.c
        conn.execute(update(table.failures).where(c.name == key[:200], c.refused > 0).values(refused=c.refused - 1))


def _wait(rule: _Rule) -> ColumnElement[int]:
    over = table.failures.c.refused - rule.free
    doubled = cast(literal(rule.first_seconds), Integer).op("<<")(cast(over, Integer))
    return case(
        (over > _MAX_DOUBLINGS, rule.most_seconds), (doubled > rule.most_seconds, rule.most_seconds), else_=doubled
    )


def network_of(address: str) -> str:
    """The /24 or /64 that an address is in, as text; empty for what is no address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(parsed, IPv4Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if isinstance(parsed, IPv4Address):
        return f"{IPv4Address(int(parsed) & 0xFFFFFF00)}/24"
    return f"{type(parsed)(int(parsed) >> 64 << 64)}/64"
