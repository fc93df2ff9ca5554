"""What importing advisories and asking them costs, as JSON.

    .venv/bin/python bench/dependencies.py [ADVISORIES]

The export is made up in the shape of OSV's for PyPI: about 3 kB a document, 40 listed versions, 9 000 packages.
"""

import json
import resource
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from vallum.models.dependencies import Declared, import_advisories, open_database, scan_dependencies
from vallum.models.facts import Dependency

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PACKAGES = 9_000


def document(number: int) -> dict:
    return {
        "schema_version": "1.7.3",
        "id": f"PYSEC-2026-{number}",
        "modified": "2026-01-01T00:00:00Z",
        "aliases": [f"CVE-2026-{number}", f"GHSA-{number:04x}-aaaa-bbbb"],
        "summary": "A weakness in a package",
        "details": "It does what it should not. " * 70,
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": f"package-{number % PACKAGES}"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.30"}]}],
                "versions": [f"1.{minor}" for minor in range(40)],
            }
        ],
    }


def main(advisories: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export, database = Path(folder) / "all.zip", Path(folder) / "advisories.sqlite"
        with zipfile.ZipFile(export, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for number in range(advisories):
                archive.writestr(f"PYSEC-2026-{number}.json", json.dumps(document(number)))
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        import_advisories(export, database, NOW)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        needed = tuple(Dependency(f"package-{n}", "1.35", declared_in="uv.lock") for n in range(300))
        started = time.perf_counter()
        with open_database(database) as known:
            report = scan_dependencies(Declared(needed, (), ("uv.lock",)), known, NOW)
        asked = time.perf_counter() - started
        print(
            json.dumps(
                {
                    "advisories": advisories,
                    "import_cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
                    "import_seconds": round(seconds, 2),
                    "advisories_per_second": round(advisories / seconds),
                    "database_mb": round(database.stat().st_size / 1e6, 1),
                    "peak_memory_growth_mb": round((after.ru_maxrss - before.ru_maxrss) / 1e3, 1),
                    "scan_of_300_packages_ms": round(asked * 1e3, 1),
                    "findings": len(report.findings),
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25_000)
