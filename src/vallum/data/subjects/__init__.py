"""Erasing a person from everything that is kept: asked for by one, approved by another, carried out whatever is killed.

    asked = erasures.request(...)         # a preview of what would go; nothing has gone
    erasures.approve(conn, asked.id, ...) # by somebody else
    erasures.go_on()                      # in the background, until nothing is found any more; then the signed report

Where somebody's data lies is an `Eraser`'s to know: rows of data sets, and what the gateway's exchanges keep.
"""

from vallum.data.subjects.exchanges import ExchangeEraser
from vallum.data.subjects.identifiers import Identifiers
from vallum.data.subjects.model import ERASURE_REPORT, ErasureStep, FoundAt, SubjectErasure
from vallum.data.subjects.ports import Eraser, ErasingStep
from vallum.data.subjects.service import PreparedRequest, SubjectErasures, erasure_facts

__all__ = [
    "ERASURE_REPORT",
    "Eraser",
    "ErasingStep",
    "ErasureStep",
    "ExchangeEraser",
    "FoundAt",
    "Identifiers",
    "PreparedRequest",
    "SubjectErasure",
    "SubjectErasures",
    "erasure_facts",
]
