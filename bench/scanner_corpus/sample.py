"""One sample of the scanner's corpus: some files, and what they are. Nothing here is harmful: payloads run `true`."""

from dataclasses import dataclass

__all__ = ["Sample", "malicious"]


@dataclass(frozen=True, slots=True)
class Sample:
    """`group` is the technique's class, `benign` for none. `files` by their path; several are one repository."""

    group: str
    name: str
    files: dict[str, bytes]

    @property
    def is_benign(self) -> bool:
        return self.group.startswith("benign")


def malicious(group: str, name: str, content: bytes | str, file: str = "model.bin") -> Sample:
    return Sample(group, name, {file: content.encode() if isinstance(content, str) else content})
