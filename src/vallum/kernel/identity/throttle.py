"""Slowing down those who guess, without letting a stranger lock somebody out.

Refusals are counted under keys. From a network that somebody signed in from before, only refusals from that same
network count against them; everybody else's guesses at that name share one other count, and each network has one of
its own. So whoever guesses from elsewhere slows themselves down and nobody who is where they always are. Wrong codes
beside the right password are counted apart and wait far longer: only who knows the password can cause them.

The counts are rows, so that they are exact over all workers and outlive a restart.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from vallum.kernel.errors import LimitExceeded
from vallum.kernel.identity import records as table

__all__ = ["Peer", "Throttle", "network_of"]

_KEPT_SECONDS = 86_400  # of refusals; so that a stranger cannot fill the table for good
_KNOWN_SECONDS = 90 * 86_400  # that a network stays somebody's own


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a request came from: a network prefix, and what the client says of itself. Either may be empty."""

    network: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    """`free` refusals cost nothing; each further one doubles the wait, from `first_seconds` to `most_seconds`."""

    free: int
    first_seconds: int
    most_seconds: int


_RULES = {
    "name": _Rule(5, 1, 60),  # longer would let a stranger lock out who travels
    "own": _Rule(5, 1, 60),
    "network": _Rule(100, 1, 300),  # a company behind one address mistypes, too
    "code": _Rule(5, 60, 86_400),  # 1,000 guesses at six digits would take some years
    "client": _Rule(20, 1, 60),
}


class Throttle:
    """Stateless: everything is in the tables."""

    def keys_for(self, conn: Connection, name: str, peer: Peer, now: int) -> tuple[str, ...]:
        """What a refused sign-in as `name` from there counts against, and is checked against."""
        c = table.known_networks.c
        known = conn.execute(
            select(c.network)
            .join(table.persons, table.persons.c.id == c.person_id)
            .where(table.persons.c.name == name, c.network == peer.network, c.last_at_seconds > now - _KNOWN_SECONDS)
        ).first()
        if known is not None and peer.network:
            return (f"own {name} {peer.network}",)
        return (f"name {name}", f"network {peer.network}")

    def check(self, conn: Connection, keys: tuple[str, ...], now: int) -> None:
        """Raises LimitExceeded while one of them has to wait."""
        for key in keys:
            left = self.left(conn, key, now)
            if left > 0:
                raise LimitExceeded(f"too many refused attempts: wait {left} seconds", left)

    def left(self, conn: Connection, key: str, now: int) -> int:
        """Seconds until the next attempt; 0 when there is nothing to wait for."""
        row = conn.execute(select(table.failures).where(table.failures.c.name == key)).one_or_none()
        rule = _RULES[key.partition(" ")[0]]
        if row is None or row.refused < rule.free:
            return 0
        doublings = min(row.refused - rule.free, 30)
        return max(0, int(row.last_at_seconds + min(rule.first_seconds << doublings, rule.most_seconds) - now))

    def record(self, conn: Connection, keys: tuple[str, ...], now: int) -> None:
        """Count one refusal against each of them."""
        insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table.failures)
        for key in sorted(keys):  # in one order, so that two at once do not wait for each other
            conn.execute(
                insert.values(name=key[:200], refused=1, last_at_seconds=now).on_conflict_do_update(
                    index_elements=["name"], set_={"refused": table.failures.c.refused + 1, "last_at_seconds": now}
                )
            )
        conn.execute(delete(table.failures).where(table.failures.c.last_at_seconds < now - _KEPT_SECONDS))

    def forgive(self, conn: Connection, person_id: str, name: str, peer: Peer, now: int) -> None:
        """Somebody signed in: their own counts end, and where they are is known from now on."""
        keys = [f"own {name} {peer.network}", f"code {name}"]
        conn.execute(delete(table.failures).where(table.failures.c.name.in_(keys)))
        if peer.network:
            insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table.known_networks)
            conn.execute(
                insert.values(person_id=person_id, network=peer.network, last_at_seconds=now).on_conflict_do_update(
                    index_elements=["person_id", "network"], set_={"last_at_seconds": now}
                )
            )
            conn.execute(
                delete(table.known_networks).where(table.known_networks.c.last_at_seconds < now - _KNOWN_SECONDS)
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
