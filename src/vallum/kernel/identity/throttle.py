"""Slowing down those who guess, without letting a stranger lock somebody out.

Attempts are counted before they are judged, by the name as tried from one network (a /24 or /64), and by that network
over all names; what succeeds is taken back. A name that nobody has counts like any other, so that no answer tells which
names there are; and guesses from elsewhere count nowhere that matters to somebody who is where they always are. What
stops guessing from many networks is the second factor: wrong codes beside the right password are counted by
themselves, and come back every two hours. Only who knows the password, or holds a
session, can cause that.

Limits are the generic cell rate algorithm's (ITU-T I.371, annex A): one row and one conditional statement each, exact
over all workers, and forgotten by time alone.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from sqlalchemy import Connection, case, delete, select, update

from vallum.kernel.errors import LimitExceeded
from vallum.kernel.identity import records as table
from vallum.kernel.store.upsert import upsert

__all__ = ["Peer", "Throttle", "network_of"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a request came from: a network prefix, and what the client says of itself. Either may be empty."""

    network: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    """`burst` attempts at once, and one more every `seconds`."""

    burst: int
    seconds: float


_RULES = {
    "pair": _Rule(5, 12),  # longer would let whoever sits in the same office lock a colleague out
    "network": _Rule(100, 3),  # a company behind one address mistypes, too
    "code": _Rule(5, 7200),  # a year of guessing at six digits finds them with one chance in seventy
    "client": _Rule(20, 3),
}


class Throttle:
    """Stateless: everything is in the table."""

    def take(self, conn: Connection, name: str, peer: Peer, now: float) -> None:
        """Count an attempt at `name` from there. Raises LimitExceeded, and counts nothing, while it has to wait."""
        self._take_all(conn, (f"network {peer.network}", f"pair {peer.network} {name}"), now)

    def take_client(self, conn: Connection, client_id: str, peer: Peer, now: float) -> None:
        """The same for a service that proves itself. Raises LimitExceeded."""
        self._take_all(conn, (f"network {peer.network}", f"client {peer.network} {client_id}"), now)

    def succeeded(self, conn: Connection, name: str, peer: Peer) -> None:
        """Take back what `take` counted: who signs in guessed nothing."""
        keys = [_key(f"pair {peer.network} {name}"), _key(f"code {name}")]
        conn.execute(delete(table.attempts).where(table.attempts.c.key.in_(keys)))
        self._give_back(conn, f"network {peer.network}")

    def client_succeeded(self, conn: Connection, client_id: str, peer: Peer) -> None:
        conn.execute(delete(table.attempts).where(table.attempts.c.key == _key(f"client {peer.network} {client_id}")))
        self._give_back(conn, f"network {peer.network}")

    def not_judged(self, conn: Connection, name: str, peer: Peer) -> None:
        """Take back an attempt that nobody had the time to look at."""
        for key in (f"network {peer.network}", f"pair {peer.network} {name}"):
            self._give_back(conn, key)

    def take_code(self, conn: Connection, name: str, now: float) -> bool:
        """Count a code that is about to be judged; `unlock` forgets it. False while codes wait, and nothing counted."""
        return self._take(conn, f"code {name}", now)

    def code_waits(self, conn: Connection, name: str, now: float) -> int:
        """Seconds until a code of this person is judged again; 0 when it is."""
        return self._left(conn, f"code {name}", now)

    def unlock(self, conn: Connection, name: str) -> None:
        conn.execute(delete(table.attempts).where(table.attempts.c.key == _key(f"code {name}")))

    def sweep(self, conn: Connection, now: float) -> None:
        """Forget what has come back whole. A thing for now and then, by itself: beside `take` it would wait for others'
        rows in another order than theirs.
        """
        c = table.attempts.c
        over = select(c.key).where(c.until < now).limit(1000).with_for_update(skip_locked=True)
        conn.execute(delete(table.attempts).where(c.key.in_(over.scalar_subquery())))

    def _take_all(self, conn: Connection, keys: tuple[str, ...], now: float) -> None:
        for key in keys:
            if not self._take(conn, key, now):
                left = max(1, self._left(conn, key, now))
                raise LimitExceeded(f"too many refused attempts: wait {left} seconds", left)

    def _take(self, conn: Connection, key: str, now: float) -> bool:
        rule, until = _RULES[key.partition(" ")[0]], table.attempts.c.until
        insert = upsert(conn, table.attempts)
        later = case((until > now, until), else_=now) + rule.seconds
        counted = insert.values(key=_key(key), until=now + rule.seconds).on_conflict_do_update(
            index_elements=["key"], set_={"until": later}, where=until <= now + (rule.burst - 1) * rule.seconds
        )
        return conn.execute(counted.returning(table.attempts.c.key)).first() is not None

    def _left(self, conn: Connection, key: str, now: float) -> int:
        until = conn.execute(select(table.attempts.c.until).where(table.attempts.c.key == _key(key))).scalar()
        rule = _RULES[key.partition(" ")[0]]
        wait = 0.0 if until is None else until - now - (rule.burst - 1) * rule.seconds
        return max(0, int(wait + 0.999))

    def _give_back(self, conn: Connection, key: str) -> None:
        c = table.attempts.c
        rule = _RULES[key.partition(" ")[0]]
        conn.execute(update(table.attempts).where(c.key == _key(key)).values(until=c.until - rule.seconds))


def _key(text: str) -> str:
    return text[:200]


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
