"""Every inspector, in the order in which they look. Explicit, so that none is left out by an import that failed."""

from collections.abc import Sequence

from vallum.models.scan.port import Inspector, RepositoryInspector

__all__ = ["inspectors", "repository_inspectors"]


def inspectors() -> Sequence[Inspector]:
    return ()


def repository_inspectors() -> Sequence[RepositoryInspector]:
    return ()
