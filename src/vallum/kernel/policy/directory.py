"""What policy is told about assets. The composition root gives a directory that asks each asset's owner."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from vallum.kernel.values import AssetRef

__all__ = ["AssetDirectory", "AssetFacts", "Directory", "Value"]

Value = str | bool | int | list[str]


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """An asset's attributes as the schema declares them. `version` changes whenever they do."""

    attributes: Mapping[str, Value] = field(default_factory=dict)
    version: int = 0


class AssetDirectory(Protocol):
    def facts(self, ref: AssetRef) -> AssetFacts | None:
        """What is known of an asset, from memory; None when there is no such asset."""
        ...


class Directory:
    """Asks, by kind of asset, whoever owns that kind. A kind nobody owns is unknown, and what is unknown is denied."""

    def __init__(self, owners: Mapping[str, Callable[[AssetRef], AssetFacts | None]]) -> None:
        self._owners = dict(owners)

    def kinds(self) -> Collection[str]:
        return self._owners.keys()

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        owner = self._owners.get(ref.kind)
        return owner(ref) if owner is not None else None
