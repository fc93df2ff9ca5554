"""What one sample is: a file, or a repository of files, with what is known of it by how it was made.

Every payload is harmless: it makes an empty file named MARKER in the working folder, or names an address that is
reserved for documentation (RFC 5737, RFC 2606), where nothing answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CODE", "COMMAND", "HOST", "MARKER", "URL", "Sample"]

MARKER = "vallum-marker"
COMMAND = f"touch {MARKER}"
CODE = f"open('{MARKER}', 'w').close()"
HOST = "192.0.2.77"
URL = f"http://{HOST}/stage"


@dataclass(frozen=True, slots=True)
class Sample:
    group: str
    name: str
    files: Mapping[str, bytes]
    links: Mapping[str, str] | None = None  # symbolic links of the repository: path to target
    proof: str = ""  # what, given the first file, makes the marker: "pickle", "joblib", "torch" or nothing
    wave: int = 1  # each wave is drawn by itself, so that a later one moves no sample between the halves
    is_doubtful: bool = False  # what a scanner should say is arguable: keeps its place in the draw, is not written

    @property
    def is_benign(self) -> bool:
        return self.group.startswith("benign")
