"""Dependencies held against a database: what is affected, and what cannot be told. Values in, a report out."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from vallum.models.dependencies.advisories import ECOSYSTEM
from vallum.models.dependencies.database import Known, KnownAdvisory
from vallum.models.dependencies.declared import Declared
from vallum.models.dependencies.model import CannotTell, ScanReport, VulnerabilityFinding, merge_aliases
from vallum.models.facts import Dependency

__all__ = ["DEFAULT_MAX_AGE", "never_told", "scan_dependencies"]

DEFAULT_MAX_AGE = timedelta(days=7)  # PyPI's advisories change every day
_LOCKED = ("pyproject.toml", ".in")
_INTERPRETER = frozenset({"python"})  # a package of conda's, none of an index's


def scan_dependencies(
    declared: Declared, known: Known | None, now: datetime, *, max_age: timedelta = DEFAULT_MAX_AGE
) -> ScanReport:
    """`known` None says that there is no database, and then nothing can be told of anything."""
    needed = _by_package(declared.dependencies)
    if known is None:
        reason = "there is no database of advisories here"
        return ScanReport((), (CannotTell("database", reason), *declared.cannot_tell), len(needed))
    findings: list[VulnerabilityFinding] = []
    unknown = list(declared.cannot_tell)
    as_of = known.facts.as_of
    if now - as_of > max_age:
        reason = f"its advisories end {(now - as_of).days} days ago, at {as_of:%Y-%m-%d}: update it"
        unknown.append(CannotTell("database", reason))
    if not declared.files:
        unknown.append(CannotTell("dependencies", "no file here says what is needed"))
    for dependency, files in needed.items():
        advisories = known.about(dependency.name)
        for advisory in advisories:
            outcome = _outcome(advisory, dependency)
            if outcome == "affected":
                findings.append(_finding(advisory, dependency, files))
            elif outcome == "unknown":
                about = f"{dependency.name} {dependency.version}".strip()
                reason = f"{advisory.id} does not say in a way that can be read whether it is affected"
                unknown.append(CannotTell(about, reason, files[0]))
        reason = _cannot_tell(dependency, len(advisories))
        if reason:
            unknown.append(CannotTell(dependency.name, reason, files[0]))
    return ScanReport(tuple(merge_aliases(findings)), tuple(sorted(set(unknown))), len(needed), as_of)


def never_told(declared: Declared) -> tuple[CannotTell, ...]:
    """What no advisories answer, whoever has them: what is not pinned, or comes from elsewhere."""
    found = []
    for dependency, files in _by_package(declared.dependencies).items():
        reason = _cannot_tell(dependency, 0)
        if reason:
            found.append(CannotTell(dependency.name, reason, files[0]))
    if not declared.files:
        found.append(CannotTell("dependencies", "no file here says what is needed"))
    return tuple(found)


def _by_package(dependencies: Iterable[Dependency]) -> Mapping[Dependency, tuple[str, ...]]:
    """The same package at the same version once, with all files that ask for it.

    What a lock answers (`pyproject.toml`, `*.in`) asks for nothing more where the lock is beside it.
    """
    found: dict[Dependency, list[str]] = {}
    dependencies = tuple(dependencies)
    locked = {(_folder(one), one.name) for one in dependencies if one.version and one.ecosystem == "pypi"}
    for one in dependencies:
        if (
            not one.version
            and not one.source
            and one.declared_in.endswith(_LOCKED)
            and (_folder(one), one.name) in locked
        ):
            continue
        if one.ecosystem == "conda" and one.name in _INTERPRETER:
            continue
        same = msgspec.structs.replace(one, declared_in="", licence="", specifier="" if one.version else one.specifier)
        found.setdefault(same, []).append(one.declared_in)
    return {one: tuple(dict.fromkeys(files)) for one, files in found.items()}


def _folder(dependency: Dependency) -> str:
    return dependency.declared_in.rpartition("/")[0]


def _outcome(advisory: KnownAdvisory, dependency: Dependency) -> str:
    if dependency.source and not dependency.version:
        return "not-affected"  # that nothing can be told of it is said once, and not for each advisory
    if not dependency.version:
        return "affected" if advisory.affected.all_versions else "not-affected"
    return advisory.affected.outcome(dependency.version)


def _cannot_tell(dependency: Dependency, advisories: int) -> str:
    if dependency.source:
        return f"it comes from {dependency.source[:200]}, and {ECOSYSTEM}'s advisories do not speak of that"
    if not dependency.version:
        asked = dependency.specifier or "any version"
        return f"it is not pinned ({asked}): {advisories} advisories are known for some version of it"
    if dependency.ecosystem != "pypi":
        return f"it is a package of {dependency.ecosystem}'s: only its name on {ECOSYSTEM} was looked up"
    return ""


def _finding(advisory: KnownAdvisory, dependency: Dependency, files: tuple[str, ...]) -> VulnerabilityFinding:
    return VulnerabilityFinding(
        package=dependency.name,
        version=dependency.version,
        id=advisory.id,
        aliases=advisory.aliases,
        severity=advisory.severity,
        affected=advisory.affected.describe(),
        fixed_in=advisory.affected.fixed_in,
        summary=advisory.summary,
        declared_in=files,
    )
