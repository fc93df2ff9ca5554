"""Whose rows go, in a data set whose columns lie treated: by the plain value, by its hash, by its token.

A hash is looked for by hashing how a value is likely to be spelled, a token by opening the vault: what stands in its
place is then looked for in the rows. A mask, a redaction, an interval, a moved date or a masked span leaves nothing to
know anybody by: such columns are named, so that nobody takes "nothing was found" for "nothing is there".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vallum.data.catalogue.model import VersionColumn
from vallum.data.catalogue.treating import KeptTreatments

if TYPE_CHECKING:
    import polars as pl

__all__ = ["InColumn", "Seeking", "Sought"]

_FOUND_BY = ("hash", "tokenise", "keep")


class Sought(Protocol):
    """Whose rows go."""

    def matching(self, schema: Mapping[str, Any]) -> "Mapping[str, pl.Expr]":
        """By column that has to be read, what is true where the row is theirs; never null."""
        ...

    def spellings(self, column: str) -> Sequence[str]:
        """What a whole cell of that column may have been before it was hashed; none for a column that says nothing."""
        ...


@dataclass(frozen=True, slots=True)
class InColumn:
    """Rows whose column is exactly this."""

    column: str
    value: str

    def matching(self, schema: Mapping[str, Any]) -> "Mapping[str, pl.Expr]":
        import polars as pl

        if self.column not in schema:
            return {}
        text = pl.col(self.column).cast(pl.String, strict=False)
        return {self.column: text.eq_missing(pl.lit(self.value)).alias(self.column)}

    def spellings(self, column: str) -> Sequence[str]:
        return (self.value,) if column == self.column else ()


class Seeking:
    """One look at one data set. `tokens` are theirs, by column: those of the vault whose value is theirs."""

    def __init__(self, treatments: KeptTreatments, dataset: str, sought: Sought) -> None:
        """Opens the data set's vault, a batch at a time. Raises SealBroken for one that was altered."""
        import polars as pl

        self._treatments = treatments
        self._dataset = dataset
        self._sought = sought
        self._hashes: dict[tuple[str, str], list[str]] = {}
        self.tokens: dict[str, set[str]] = {}
        for column in treatments.tokenised(dataset):
            matching = sought.matching({column: pl.String()})
            if column not in matching:
                continue
            for tokens, values in treatments.vault(dataset, column):
                hits = pl.DataFrame({column: values}, schema={column: pl.String}).select(matching[column])
                found = [tokens[at] for at in hits.to_series().arg_true()]
                if found:
                    self.tokens.setdefault(column, set()).update(found)

    def matching(
        self, schema: Mapping[str, Any], columns: Sequence[VersionColumn], purpose: str
    ) -> "Mapping[str, pl.Expr]":
        """As `Sought.matching`, for what is stored: of a version of this purpose."""
        import polars as pl

        hidden = {c.name: c.treatment for c in columns if c.treatment in ("hash", "tokenise") and c.name in schema}
        found = dict(self._sought.matching({n: t for n, t in schema.items() if n not in hidden}))
        for name, treatment in hidden.items():
            stored = self._hashed(purpose, name) if treatment == "hash" else sorted(self.tokens.get(name, ()))
            if stored:
                found[name] = pl.col(name).is_in(stored).fill_null(False).alias(name)
        return found

    def unsearchable(self, columns: Sequence[VersionColumn]) -> dict[str, str]:
        """Columns that may be theirs and cannot be looked through, with their treatment."""
        return {
            c.name: c.treatment
            for c in columns
            if c.treatment and c.treatment not in _FOUND_BY and self._sought.spellings(c.name)
        }

    def _hashed(self, purpose: str, column: str) -> list[str]:
        if (purpose, column) not in self._hashes:
            stored = self._treatments.stored_form
            forms = [stored(self._dataset, purpose, column, "hash", v) for v in self._sought.spellings(column)]
            self._hashes[purpose, column] = [form for form in forms if form is not None]
        return self._hashes[purpose, column]
