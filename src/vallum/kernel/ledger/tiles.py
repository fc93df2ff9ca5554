"""Paths and bundles of the C2SP tlog-tiles layout, which other tools read. Source: C2SP tlog-tiles."""

from collections.abc import Sequence

from vallum.kernel.errors import IntegrityError

__all__ = ["parse_bundle", "render_bundle", "tile_path"]

_LENGTH_BYTES = 2
FULL_WIDTH = 256


class BundleMalformed(IntegrityError):
    """An entry bundle is cut off."""

    code = "bundle_malformed"


def tile_path(level: int | str, number: int, width: int) -> str:
    """`tile/0/x001/x234/067`, with `.p/W` for a partial tile of `width` below 256; `level` may be "entries"."""
    digits = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        digits = f"x{number % 1000:03d}/{digits}"
    partial = "" if width == FULL_WIDTH else f".p/{width}"
    return f"tile/{level}/{digits}{partial}"


def render_bundle(entries: Sequence[bytes]) -> bytes:
    """Each entry after its length in two big-endian bytes."""
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def parse_bundle(raw: bytes) -> list[bytes]:
    """Raises BundleMalformed when the last entry is cut off."""
    entries, at = [], 0
    while at < len(raw):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start], "big")
        if start > len(raw) or at > len(raw):
            raise BundleMalformed("an entry bundle is cut off")
        entries.append(raw[start:at])
    return entries
