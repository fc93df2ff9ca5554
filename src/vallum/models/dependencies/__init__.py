"""Dependencies: what a model and its training code need, held against an offline database of OSV advisories.

    import_advisories(Path("all.zip"), Path("advisories.sqlite"), now)
    with open_database(Path("advisories.sqlite")) as known:
        scan_dependencies(declared_at(Path("model")), known, now).verdict

"Cannot tell" is not a pass. Needs no network: an export is imported, and asked.
"""

from vallum.models.dependencies.database import (
    AdvisoryDatabase,
    DatabaseFacts,
    Known,
    KnownAdvisory,
    import_advisories,
    open_database,
)
from vallum.models.dependencies.declared import Declared, declared_at
from vallum.models.dependencies.model import (
    AdvisoriesRefused,
    CannotTell,
    DependencyVerdict,
    Level,
    ScanReport,
    Severity,
    VulnerabilityFinding,
    new_findings,
)
from vallum.models.dependencies.scan import DEFAULT_MAX_AGE, scan_dependencies

__all__ = [
    "DEFAULT_MAX_AGE",
    "AdvisoriesRefused",
    "AdvisoryDatabase",
    "CannotTell",
    "DatabaseFacts",
    "Declared",
    "DependencyVerdict",
    "Known",
    "KnownAdvisory",
    "Level",
    "ScanReport",
    "Severity",
    "VulnerabilityFinding",
    "declared_at",
    "import_advisories",
    "new_findings",
    "open_database",
    "scan_dependencies",
]
