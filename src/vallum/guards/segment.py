"""A piece of text and where it came from: what guards look at."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Channel", "Segment"]


class Channel(StrEnum):
    """How a text reached the exchange. Untrusted text cannot raise its own trust by what it says."""

    SYSTEM = "system"
    USER = "user"
    RETRIEVED = "retrieved"
    TOOL = "tool"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Segment:
    text: str
    channel: Channel
    source: str  # who gave it: an application, a provider, a tool
    trusted: bool = False
    is_field: bool = False  # a name, or the value of a field that names something: no part of what is said

    def __repr__(self) -> str:
        return f"Segment({len(self.text)} characters, {self.channel}, {self.source})"
