"""Gates: what a table must be like before anything learns from it, judged in one pass, the same on every engine.

report = run_checks(table, checks, PolarsEngine(), now=clock.now())
report.passed
"""

from vallum.data.gates.contracted import checks_of
from vallum.data.gates.model import Check, GateReport, Outcome
from vallum.data.gates.run import run_checks

__all__ = ["Check", "GateReport", "Outcome", "checks_of", "run_checks"]
