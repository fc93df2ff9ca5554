"""What a scan says: findings with a verdict each, and one verdict for the whole."""

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["TECHNIQUES", "FileReport", "Finding", "Report", "Technique", "Verdict", "worst"]


class Verdict(StrEnum):
    """`block`: shown harmful, or made to deceive. `review`: unknown, not shown harmful. `pass`: understood, and fit."""

    PASS = "pass"  # noqa: S105  a verdict
    REVIEW = "review"
    BLOCK = "block"


_ORDER = (Verdict.PASS, Verdict.REVIEW, Verdict.BLOCK)


def worst(verdicts: "list[Verdict] | tuple[Verdict, ...]") -> Verdict:
    """`pass` for none: whoever asks has made sure that something was looked at."""
    return max(verdicts, key=_ORDER.index, default=Verdict.PASS)


class Technique(NamedTuple):
    """`ids`: MITRE ATLAS and CWE."""

    title: str
    ids: tuple[str, ...]


_EXECUTES = ("AML.T0011.000", "CWE-502")
_CODE = ("AML.T0011.000", "CWE-94")

TECHNIQUES = MappingProxyType(
    {
        # Serialised objects.
        "pickle-dangerous-global": Technique("a pickle reaches code that runs, opens or imports", _EXECUTES),
        "pickle-unknown-global": Technique("a pickle reaches code that no policy knows", _EXECUTES),
        "pickle-malformed": Technique("a pickle that does not end as one, or hides what it does", _EXECUTES),
        "object-array": Technique("an array of Python objects, which are pickles", _EXECUTES),
        "serialised-objects": Technique("objects of another language, which name code", _EXECUTES),
        # Containers.
        "archive-deceptive": Technique("an archive that says different things to different readers", ("CWE-436",)),
        "archive-traversal": Technique("a member that would be written outside", ("CWE-22",)),
        "archive-link": Technique("a link in an archive or repository", ("CWE-59",)),
        "archive-bomb": Technique("far larger unpacked than packed", ("CWE-409",)),
        "hidden-payload": Technique("content in a place where the format has none", ("AML.T0018", "CWE-506")),
        # Formats with code in them.
        "keras-lambda": Technique("a Keras layer that carries code", _CODE),
        "keras-custom-object": Technique("a Keras object that is looked up in other modules", _CODE),
        "tensorflow-operator": Technique("an operator that reads or writes files, or runs code", _CODE),
        "onnx-external-data": Technique("tensor data outside of the model's folder", ("CWE-22",)),
        "onnx-custom-operator": Technique("an operator of a library that is not part of ONNX", _CODE),
        "template-injection": Technique("a template that reaches into Python", ("AML.T0051", "CWE-1336")),
        "config-executes": Technique("a configuration that names code to import and call", _CODE),
        "external-entity": Technique("mark-up that is completed from a file or an address", ("CWE-611",)),
        "remote-code": Technique("a repository that asks for its own code to be run", ("AML.T0010.001", "CWE-829")),
        "script": Technique("code beside the weights", ("AML.T0011.000", "CWE-94")),
        "malicious-script": Technique("code that fetches and runs, steals, or lets in", ("AML.T0011.000", "CWE-506")),
        "executable": Technique("a native program or library", ("AML.T0011.000", "CWE-506")),
        # What could not be judged.
        "malformed": Technique("not what its format says", ("CWE-20",)),
        "size-lie": Technique("a length that does not fit", ("CWE-131",)),
        "unknown-format": Technique("content of a format that nothing here knows", ()),
        "limit": Technique("more than is looked at: too deep, too large, or too slow", ("CWE-400",)),
        "scanner-error": Technique("the scanner failed on it", ()),
        "encrypted": Technique("content that only a password opens", ()),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """`place` is the file, `!` and a member for each container, and where it helps `@` and a byte offset or key."""

    verdict: Verdict
    technique: str
    place: str
    explanation: str

    @property
    def ids(self) -> tuple[str, ...]:
        return TECHNIQUES[self.technique].ids

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": str(self.verdict),
            "technique": self.technique,
            "place": self.place,
            "ids": list(self.ids),
            "explanation": self.explanation,
        }


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file: which formats it was read as. None of them, and it is not `pass`."""

    path: str
    size: int
    formats: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A file or repository. `verdict` is that of its worst finding. `vouched`: files that others say the content of."""

    path: str
    files: tuple[FileReport, ...]
    findings: tuple[Finding, ...] = field(default=())
    vouched: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        if not self.files:
            return Verdict.REVIEW  # nothing was looked at
        return worst([finding.verdict for finding in self.findings])

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "verdict": str(self.verdict),
            "findings": [finding.as_json() for finding in self.findings],
            "files": [{"path": f.path, "size": f.size, "formats": list(f.formats)} for f in self.files],
        }
