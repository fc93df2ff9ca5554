"""Where a field belongs: a data set, a class, a column. It goes into every key and every wrapping."""

from dataclasses import dataclass

from vallum.kernel.errors import Invalid

__all__ = ["ColumnPlace", "bound"]

_MAX_NAME_BYTES = 1024


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """A column of a data set, and the class that it has there. Raises Invalid for a name that cannot be bound."""

    dataset: str
    classification: str
    column: str

    def __post_init__(self) -> None:
        bound(self.dataset, self.classification, self.column)

    @property
    def binding(self) -> bytes:
        return bound(self.dataset, self.classification, self.column)


def bound(*names: str) -> bytes:
    """The names, each after its length, so that no two lists of them read alike."""
    parts = []
    for name in names:
        try:
            raw = name.encode()
        except UnicodeEncodeError as e:
            raise Invalid("the name of a data set, class or column is text that UTF-8 can hold") from e
        if not 1 <= len(raw) <= _MAX_NAME_BYTES:
            raise Invalid(f"the name of a data set, class or column is 1 to {_MAX_NAME_BYTES} bytes long")
        parts.append(len(raw).to_bytes(2, "big") + raw)
    return b"".join(parts)
