"""pip-audit beside the offline database, where its service is reachable: what it knows of pinned packages, today.

It runs as a process of its own and is given names and versions that were read here, each on a line: what a requirements
file may say beside that (options, URLs, includes) never reaches it. Answers a service that is not there, or that skips
a package and calls the rest clean: both are "cannot tell". Sends names and versions of packages to the service.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from vallum.kernel.errors import Unavailable
from vallum.models.dependencies.declared import Declared
from vallum.models.dependencies.model import CannotTell, ScanReport, Severity, VulnerabilityFinding, merge_aliases
from vallum.models.dependencies.scan import never_told

__all__ = ["SERVICE", "with_pip_audit"]

SERVICE = "pip-audit"
"""What a report names as what cannot be told, where the service did not answer."""

_SECONDS = 300
_SUMMARY_CHARS = 200
_MAX_ANSWER_BYTES = 64 << 20
_NAME, _VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}"), re.compile(r"[0-9][A-Za-z0-9.!+_-]{0,100}")
_PASSED_ON = ("PATH", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
              "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # fmt: skip


class _Weakness(msgspec.Struct, frozen=True):
    id: str
    fix_versions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""


class _Package(msgspec.Struct, frozen=True):
    name: str
    version: str = ""
    vulns: tuple[_Weakness, ...] = ()
    skip_reason: str = ""


class _Answer(msgspec.Struct, frozen=True):
    dependencies: tuple[_Package, ...]


def with_pip_audit(report: ScanReport, declared: Declared, now: datetime, *, osv_url: str = "") -> ScanReport:
    """`report` with what pip-audit found of pinned packages of PyPI's; where it looked at all of them, that stands for
    a database that is old or absent. `osv_url` is an OSV service to ask in place of PyPI's own.

    Never raises for a service that does not answer: that is in the report, as something that cannot be told.
    """
    pinned: dict[tuple[str, str], list[str]] = {}
    for one in declared.dependencies:
        if one.version and not one.source and one.ecosystem == "pypi":
            pinned.setdefault((one.name, one.version), []).append(one.declared_in)
    found, unknown, seen = list(report.findings), list(report.cannot_tell), set()
    try:
        for asked in _rounds(pinned):
            for package in _ask(asked, osv_url):
                key = (package.name.lower().replace("_", "-"), package.version or asked.get(package.name, ""))
                if package.skip_reason:
                    unknown.append(CannotTell(package.name, f"pip-audit: {package.skip_reason[:_SUMMARY_CHARS]}"))
                    continue
                seen.add(key)
                found += _findings(package, tuple(dict.fromkeys(pinned.get(key, ()))))
    except Unavailable as e:
        unknown.append(CannotTell(SERVICE, str(e)))
        return _report(report, found, unknown)  # with what an earlier round found
    told = {one.about for one in unknown}
    unknown += [one for one in never_told(declared) if one.about not in told]
    unknown += [CannotTell(name, "pip-audit did not answer") for name, _ in pinned.keys() - seen if name not in told]
    if pinned and pinned.keys() <= seen:
        unknown = [one for one in unknown if one.about != "database"]
        report = msgspec.structs.replace(report, database_at=now)
    return _report(report, found, unknown)


def _report(report: ScanReport, found: list[VulnerabilityFinding], unknown: list[CannotTell]) -> ScanReport:
    return msgspec.structs.replace(
        report, findings=tuple(merge_aliases(found)), cannot_tell=tuple(sorted(set(unknown)))
    )


def _rounds(pinned: Iterable[tuple[str, str]]) -> Iterator[Mapping[str, str]]:
    """Each package once a round: two files may pin two versions of it. What is no name or version is not asked."""
    left = [pin for pin in pinned if _NAME.fullmatch(pin[0]) and _VERSION.fullmatch(pin[1])]
    while left:
        asked: dict[str, str] = {}
        others = []
        for name, version in left:
            if name in asked:
                others.append((name, version))
            else:
                asked[name] = version
        yield asked
        left = others


def _ask(asked: Mapping[str, str], osv_url: str) -> tuple[_Package, ...]:
    """Raises Unavailable."""
    if find_spec("pip_audit") is None:
        raise Unavailable("pip-audit is not installed: pip install 'vallum[audit]'")
    with TemporaryDirectory(prefix="vallum-audit-") as folder:
        listed = Path(folder) / "pinned.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in asked.items()))
        command = [
            sys.executable, "-I", "-m", "pip_audit", "--requirement", str(listed), "--no-deps", "--disable-pip",
            "--format", "json", "--progress-spinner", "off", "--cache-dir", str(Path(folder) / "cache"),
        ]  # fmt: skip
        if osv_url:
            command += ["--vulnerability-service", "osv", "--osv-url", osv_url]
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"HOME": folder}
        try:
            ran = subprocess.run(  # noqa: S603  this interpreter, and a file that was written here
                command, capture_output=True, timeout=_SECONDS, check=False, cwd=folder, env=env
            )
            if ran.returncode not in (0, 1) or len(ran.stdout) > _MAX_ANSWER_BYTES:  # 1: weaknesses were found
                raise Unavailable("pip-audit failed: its service is not reachable from here, or refused")
            return msgspec.convert(json.loads(ran.stdout), _Answer).dependencies
        except (subprocess.TimeoutExpired, OSError) as e:
            raise Unavailable("pip-audit did not end: its service does not answer") from e
        except (ValueError, RecursionError, msgspec.ValidationError) as e:
            raise Unavailable("pip-audit failed: its service is not reachable from here, or refused") from e


def _findings(package: _Package, files: tuple[str, ...]) -> Iterator[VulnerabilityFinding]:
    for one in package.vulns:
        summary = " ".join(one.description.split())[:_SUMMARY_CHARS]
        yield VulnerabilityFinding(
            package.name, package.version, one.id, tuple(sorted(set(one.aliases))), Severity(),
            f"=={package.version}", one.fix_versions, summary, files,
        )  # fmt: skip
