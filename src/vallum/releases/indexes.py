"""Retrieval indexes of releases: versions of governed data sets, held to as models are.

What is bound is a version's digest. It is looked up when a release is built, asked for again whenever one is promoted
or deployed, and every part of the version is read through at promotions and while the release runs. Answers an index
whose rows were swapped, erased, or found to be poisoned after somebody had approved the release.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.values import Subject
from vallum.releases.errors import ManifestRefused, ReleaseBroken
from vallum.releases.manifest import DeclaredIndex, Manifest, ManifestIndex, index_version
from vallum.releases.ports import DataSets, DataVersion

__all__ = ["Indexes"]


@dataclass(frozen=True, slots=True)
class Indexes:
    """`data` is None where nothing here knows of data sets: then no index is bound, and none that is counts as good."""

    data: DataSets | None

    def bind(self, conn: Connection, declared: Sequence[DeclaredIndex]) -> list[tuple[ManifestIndex, str]]:
        """Each with the class of its rows, by name. Raises NotFound, Conflict, ManifestRefused."""
        found = []
        for index in sorted(declared, key=lambda one: one.name):
            try:
                version = self._version(conn, index.name)
            except NotFound as e:
                raise NotFound(f"indexes.{index.name}: {e}: vallum data list shows what there is") from e
            if version is None:
                raise ManifestRefused(f"indexes.{index.name}: nothing here knows of data sets")
            if index.digest not in (None, version.digest):
                raise ManifestRefused(f"indexes.{index.name}: its digest is {version.digest}, and not the one named")
            _require_available(index.name, version)
            found.append((ManifestIndex(index.name, version.digest), version.classification))
        return found

    def use(self, conn: Connection, manifest: Manifest, release: str, by: Subject) -> None:
        """Into the lineage of what a release retrieves from: who erases or retires it is told of the release."""
        for index, dataset, number in _versions(manifest):
            if self.data is None:
                raise ManifestRefused(f"indexes.{index.name}: nothing here knows of data sets")
            self.data.use(conn, dataset, number, release, by)

    def check(self, conn: Connection, manifest: Manifest) -> None:
        """Each is there and is the one that was signed. Raises ReleaseBroken; Conflict for one that was erased."""
        for index, _, _ in _versions(manifest):
            try:
                version = self._version(conn, index.name)
            except NotFound as e:
                raise ReleaseBroken(f"retrieval index {index.name} is there no more") from e
            if version is None:
                raise Conflict(f"retrieval index {index.name} cannot be held to: nothing here knows of data sets")
            if version.digest != index.digest:
                raise ReleaseBroken(f"retrieval index {index.name} is not the one that was signed")
            _require_available(index.name, version)

    def verify(self, manifest: Manifest) -> None:
        """Read every part. Raises of IntegrityError, Conflict, NotFound."""
        for _, dataset, number in _versions(manifest):
            if self.data is not None:
                self.data.verify(dataset, number)

    def unapproved(self, conn: Connection, manifest: Manifest) -> str | None:
        """The first that no data steward has approved."""
        for index, _, _ in _versions(manifest):
            version = self._version(conn, index.name)
            if version is None or version.approved_by is None:
                return index.name
        return None

    def held(self, conn: Connection, manifest: Manifest, release: str) -> Sequence[str]:
        """Quarantined versions of the same data sets, with rows that are retrieved from."""
        datasets = {dataset for _, dataset, _ in _versions(manifest)}
        return self.data.held(conn, release, datasets) if self.data is not None and datasets else ()

    def _version(self, conn: Connection, name: str) -> DataVersion | None:
        found = index_version(name)
        return None if self.data is None or found is None else self.data.version(conn, *found)


def _versions(manifest: Manifest) -> Iterator[tuple[ManifestIndex, str, int]]:
    """Of those that are versions of data sets: an earlier Vallum bound digests of stores that nobody here knows, which
    a data steward vouches for."""
    for index in manifest.indexes:
        found = index_version(index.name)
        if found is not None:
            yield index, *found


def _require_available(name: str, version: DataVersion) -> None:
    if version.state != "available":
        why = {"failed": "failed its gates", "erased": "was erased", "expired": "has expired"}
        what = why.get(version.state, f"is {version.state}")
        raise Conflict(f"retrieval index {name} {what}: build a release with another version")
