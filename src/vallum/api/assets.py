"""Which asset a route is about: the platform itself, its ledger, or the thing that the path names."""

from collections.abc import Callable, Mapping
from typing import Any

from vallum.kernel.values import AssetRef

__all__ = ["LEDGER", "SYSTEM", "ledger", "named", "system"]

SYSTEM = AssetRef("System", "vallum")
LEDGER = AssetRef("Ledger", "vallum")

Asset = Callable[[Mapping[str, str], Any], AssetRef]


def system(path: Mapping[str, str], body: Any) -> AssetRef:
    return SYSTEM


def ledger(path: Mapping[str, str], body: Any) -> AssetRef:
    return LEDGER


def named(kind: str, *parameters: str) -> Asset:
    """The asset of `kind` whose id the path gives."""

    def asset(path: Mapping[str, str], body: Any) -> AssetRef:
        return AssetRef(kind, "/".join(path[p] for p in parameters))

    return asset
