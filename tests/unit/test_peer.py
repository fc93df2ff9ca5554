"""Where a request came from, and what is believed of it."""

from ipaddress import ip_network

import pytest

from vallum.api import peer_of

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8:ff::/48"))


def network(client, *lines, trusted=PROXIES):
    headers = [(b"X-Forwarded-For", line.encode()) for line in lines]
    return peer_of({"client": (client, 1), "headers": headers}, trusted).network


@pytest.mark.parametrize(
    ("client", "lines", "found"),
    [
        ("198.51.100.7", (), "198.51.100.0/24"),
        ("198.51.100.7", ("6.6.6.6",), "198.51.100.0/24"),  # a stranger's words
        ("10.1.2.3", ("203.0.113.9",), "203.0.113.0/24"),
        ("10.1.2.3", ("6.6.6.6, 203.0.113.9",), "203.0.113.0/24"),  # what stands before it, its client wrote
        ("10.1.2.3", ("6.6.6.6", "203.0.113.9"), "203.0.113.0/24"),  # a proxy that adds a line of its own
        ("10.1.2.3", ("203.0.113.9, 10.9.9.9",), "203.0.113.0/24"),  # two proxies
        ("10.1.2.3", ("203.0.113.9:4711",), "203.0.113.0/24"),
        ("10.1.2.3", ("[2001:db8::1]:80",), "2001:db8::/64"),
        ("::ffff:10.1.2.3", ("203.0.113.9",), "203.0.113.0/24"),
        ("2001:db8:ff::1", ("203.0.113.9",), "203.0.113.0/24"),
        ("10.1.2.3", (), "10.1.2.0/24"),
        ("10.1.2.3", ("nonsense",), ""),
    ],
)
def test_the_last_address_before_a_trusted_proxy(client, lines, found):
    assert network(client, *lines) == found


def test_nobody_is_trusted_unless_named():
    assert network("10.1.2.3", "203.0.113.9", trusted=()) == "10.1.2.0/24"


def test_what_a_client_says_of_itself_is_kept_short_and_plain():
    scope = {"client": None, "headers": [(b"user-agent", "Mozilla\u00e9\x1b[31m".encode("latin-1") + b"x" * 500)]}
    peer = peer_of(scope)
    assert peer.network == ""
    assert peer.device.startswith("Mozilla[31mx")
    assert len(peer.device) <= 200
