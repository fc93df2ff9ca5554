"""Guards: text in, findings out. A pure library with no I/O; `from vallum.guards import build_runner` works by itself.

Answers secrets and personal data on their way to a provider or back, orders hidden in what a model reads, answers
that carry data away or harm whoever runs them, and inputs made to exhaust. A finding says what kind and where, never
what.
"""

from vallum.guards.build import build_runner, kinds_of
from vallum.guards.deny import DenyList
from vallum.guards.exceptions import Exempt
from vallum.guards.groundedness import Groundedness
from vallum.guards.injection import Injection, Judge, Verdict
from vallum.guards.invisible import InvisibleText
from vallum.guards.leakage import Leakage
from vallum.guards.output import (
    Repetition,
    build_code_guard,
    build_links_guard,
    build_markup_guard,
    build_refusal_guard,
)
from vallum.guards.pii import build_pii_guard
from vallum.guards.port import WINDOW_CHARS, Counted, Cursor, Finding, Guard, Mode, SegmentGuard
from vallum.guards.replacement import Restorer, Tokens
from vallum.guards.runner import GuardRunner, Inspection
from vallum.guards.secrets import build_secrets_guard
from vallum.guards.segment import Channel, Segment
from vallum.guards.size import Size
from vallum.guards.stream import Released, StreamInspector
from vallum.guards.structure import Structure
from vallum.guards.topics import Topic, TopicGuard

__all__ = [
    "WINDOW_CHARS",
    "Channel",
    "Counted",
    "Cursor",
    "DenyList",
    "Exempt",
    "Finding",
    "Groundedness",
    "Guard",
    "GuardRunner",
    "Injection",
    "Inspection",
    "InvisibleText",
    "Judge",
    "Leakage",
    "Mode",
    "Released",
    "Repetition",
    "Restorer",
    "Segment",
    "SegmentGuard",
    "Size",
    "StreamInspector",
    "Structure",
    "Tokens",
    "Topic",
    "TopicGuard",
    "Verdict",
    "build_code_guard",
    "build_links_guard",
    "build_markup_guard",
    "build_pii_guard",
    "build_refusal_guard",
    "build_runner",
    "build_secrets_guard",
    "kinds_of",
]
