"""Guards: text in, findings out. A pure library with no I/O; `from vallum.guards import build_runner` works by itself.

Answers secrets and personal data on their way to a provider or back, instructions hidden in characters nobody
sees, and inputs made to exhaust. A finding says what kind and where, never what.
"""

from vallum.guards.build import build_runner
from vallum.guards.deny import DenyList
from vallum.guards.invisible import InvisibleText
from vallum.guards.pii import build_pii_guard
from vallum.guards.port import WINDOW_CHARS, Counted, Cursor, Finding, Guard, Mode
from vallum.guards.runner import GuardRunner, Inspection
from vallum.guards.secrets import build_secrets_guard
from vallum.guards.segment import Channel, Segment
from vallum.guards.size import Size
from vallum.guards.stream import Released, StreamInspector

__all__ = [
    "WINDOW_CHARS",
    "Channel",
    "Counted",
    "Cursor",
    "DenyList",
    "Finding",
    "Guard",
    "GuardRunner",
    "Inspection",
    "InvisibleText",
    "Mode",
    "Released",
    "Segment",
    "Size",
    "StreamInspector",
    "build_pii_guard",
    "build_runner",
    "build_secrets_guard",
]
