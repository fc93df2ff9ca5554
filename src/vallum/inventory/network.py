"""Where a provider may be: answers a URL pointed at the machine's own metadata service or sent in the clear."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from unicodedata import normalize
from urllib.parse import urlsplit

__all__ = ["problem_with_url"]

# Cloud metadata services outside the link-local range, by what they answer to.
_METADATA_HOSTS = frozenset({"metadata.google.internal", "metadata.goog", "metadata", "instance-data"})
_METADATA_ADDRESSES = frozenset({"fd00:ec2::254", "100.100.100.200", "192.0.0.192"})
_MAX_URL_CHARS = 2048
_NAT64 = IPv6Address("64:ff9b::").packed[:12]


def problem_with_url(url: str, *, plain_http: bool) -> str | None:
    """What is wrong with a provider's URL, or None. A name is judged as written: resolving it is the network's."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not host or len(url) > _MAX_URL_CHARS or parts.scheme not in ("http", "https"):
        return "write https://HOST/PATH"
    if parts.username or parts.password:
        return "holds credentials: put them in the vault and name them in `secret`"
    if parts.query or parts.fragment:
        return "holds a query or fragment: give the base address alone"
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):
        return "holds spaces or control characters"
    host = normalize("NFKC", host).replace("\u3002", ".")  # as resolvers read it
    address = _address(host)
    if host.lower().rstrip(".") in _METADATA_HOSTS or (address is not None and _is_metadata(address)):
        return f"{host} is a link-local or metadata address, which no provider has"
    loopback = host == "localhost" or (address is not None and address.is_loopback)
    if parts.scheme == "http" and not loopback and not plain_http:
        return "prompts and keys would travel in the clear: use https, or set unsafe_plain_http on a trusted network"
    return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return _loose_address(host)
    return address if isinstance(address, IPv4Address) else _embedded(address) or address


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to: mapped, by 6to4, by NAT64 (RFC 6052), or the old compatible form."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.packed[:12] in (_NAT64, bytes(12)) and int(address) > 1:
        return IPv4Address(address.packed[12:])
    return None


def _loose_address(host: str) -> IPv4Address | None:
    """The spellings that resolvers accept and `ipaddress` does not: 2852039166, 0xA9FEA9FE, 169.254.43518."""
    fields = host.rstrip(".").split(".")
    try:
        numbers = [int(f, 0 if f.lower().startswith("0x") else 8 if len(f) > 1 and f[0] == "0" else 10) for f in fields]
    except ValueError:
        return None
    if not 1 <= len(numbers) <= 4 or any(n < 0 for n in numbers) or any(n > 255 for n in numbers[:-1]):
        return None
    rest = 256 ** (5 - len(numbers))
    if numbers[-1] >= rest:
        return None
    return IPv4Address(sum(n << 8 * (3 - at) for at, n in enumerate(numbers[:-1])) + numbers[-1])


def _is_metadata(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_link_local or address.is_multicast or address.is_unspecified or str(address) in _METADATA_ADDRESSES
    )
