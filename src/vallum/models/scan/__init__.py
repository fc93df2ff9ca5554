"""Scanning models: nothing is executed, the content decides, and what is not understood does not pass.

    from vallum.models.scan import scan
    report = scan(Path("some/repository"))

Depends on the standard library alone.
"""

from pathlib import Path

from vallum.models.scan.model import TECHNIQUES, FileReport, Finding, Report, Technique, Verdict

__all__ = ["TECHNIQUES", "FileReport", "Finding", "Report", "Technique", "Verdict", "scan"]


def scan(path: Path) -> Report:
    """A file or a folder, in this process. Raises OSError for a path that cannot be read at all."""
    # Some forty modules of formats, which whoever only needs the words does not load.
    from vallum.models.scan.catalogue import inspectors, repository_inspectors
    from vallum.models.scan.engine import scan_path

    return scan_path(path, inspectors(), repository_inspectors())
