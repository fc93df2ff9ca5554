"""Where intake looks for poison in a table, how far, and what it says of it.

A column's role (text, label, source) is a custom property of the contract. Texts are read for floods, orders to a
model, triggers and wrong labels; tables for wrong labels, and values that decide a label against all others. What grows
faster than the rows is looked for in some of them, drawn anew each time so that nobody knows which: the report says of
how many.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

from vallum.data.contracts import ContractTable, Property
from vallum.data.poisoning import Suspect
from vallum.data.profile import Profiling
from vallum.data.table import Table
from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["Looked", "custom", "find_suspects", "long_texts"]

_MOST_TEXTS = 200_000  # of one column, read for poison; the report says how many were
_MOST_LABELLED_TEXTS = 5_000  # judged by their words: ten seconds; work grows with their number times the words
_FEWEST_LABELLED_TEXTS = 100  # of fewer, rare words alone tell the labels
_MOST_LABELS = 100  # different ones; a column of more is no label
_MOST_VALUES = 20_000  # rows that are read for values that decide a label: ten seconds with 24 columns
_MOST_COLUMNS = 24  # of those: pairs of values grow with their square
_LONG_TEXT = 40  # characters on average, from which a column is taken for texts and not for words
_MOST_WRONG = 0.1  # of rows with a wrong label; where more look like it, the numbers do not tell labels apart
_SEED = 20260101


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked for, and whether that could be done."""

    check: str
    passed: bool
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"check": self.check, "ran": self.passed, "passed": self.passed, "reason": self.reason}


def custom(p: Property, name: str) -> Any:
    """A custom property of the contract's, None without."""
    entries = p.carried.get("customProperties", ())
    return next((e.get("value") for e in entries if isinstance(e, dict) and e.get("property") == name), None)


def find_suspects(
    source: Table, of: ContractTable, allowed: Sequence[str], private: Collection[str], long: Sequence[str]
) -> tuple[list[Suspect], list[Looked]]:
    """Suspects of the columns `allowed`, `long` texts among them; reasons quote no value of the columns `private`."""
    import polars as pl

    roles: dict[str, list[str]] = defaultdict(list)
    for p in of.properties:
        if p.name in allowed:
            roles[str(custom(p, "role") or "")].append(p.name)
    texts = [n for n in roles["text"] if source.frame.collect_schema()[n] == pl.String]
    texts += [n for n in long if n not in texts]
    label = roles["label"][0] if roles["label"] else None
    origin = roles["source"][0] if roles["source"] else None
    found: list[Suspect] = []
    looked: list[Looked] = []
    try:
        for name in texts:
            found += _of_texts(source, name, label, looked)
        if label is not None and not texts:
            found += _of_labels(source, of, label, allowed, looked)
        if label is not None:
            others = [n for n in allowed if n not in (label, *texts) and not _is_key(of, n)]
            found += _of_values(source, label, others, looked)
        if origin is not None:
            from vallum.data.poisoning import find_outlier_sources

            frame = source.frame.select(list(dict.fromkeys([origin, *([label] if label else [])]))).collect()
            labels = frame.get_column(label).to_list() if label else None
            rows = {each.row for each in found}
            found += find_outlier_sources(frame.get_column(origin).to_list(), labels, rows)
            looked.append(Looked(f"{origin}: outlying sources", True, f"{frame.height} rows"))
    except (Unavailable, ImportError) as e:
        looked.append(Looked("poisoning", False, f"did not run: {e}"))
    if label is not None and label in private:
        found = [Suspect(s.row, s.score, s.kind, _UNQUOTED.get(s.kind, s.reason)) for s in found]
    return found, looked


_UNQUOTED = {
    "label": "rows like it are labelled otherwise",
    "trigger": "holds what decides the label of the rows that it is in against all else in them",
}


def long_texts(source: Table, allowed: Sequence[str], profiling: Profiling) -> list[str]:
    """Columns that hold texts, and not words."""
    import polars as pl

    schema = source.frame.collect_schema()
    return [n for n in allowed if schema[n] == pl.String and profiling.mean_chars(n) >= _LONG_TEXT]


def _of_texts(source: Table, name: str, label: str | None, looked: list[Looked]) -> list[Suspect]:
    from vallum.data.poisoning import find_instructions, find_token_triggers, near_duplicates
    from vallum.guards import Injection

    frame = source.frame.select(list(dict.fromkeys([name, *([label] if label else [])]))).head(_MOST_TEXTS).collect()
    texts = [value or "" for value in frame.get_column(name).to_list()]
    found = [*near_duplicates(texts), *find_instructions(texts, Injection())]
    labels = frame.get_column(label).to_list() if label is not None else None
    if labels is not None:
        found += find_token_triggers(texts, labels)
    what = "floods, orders to a model" + (", triggers" if label else "")
    looked.append(Looked(f"{name}: {what}", True, f"the first {frame.height} rows were read"))
    return found if labels is None else [*found, *_of_labelled_texts(name, texts, labels, looked)]


def _of_labelled_texts(
    name: str, texts: Sequence[str], labels: Sequence[object], looked: list[Looked]
) -> list[Suspect]:
    """Wrong labels, by the words of the text. Too few texts to tell is said, and no failure."""
    from vallum.data.poisoning import find_mislabelled_texts

    what = f"{name}: wrong labels"
    if len(texts) < _FEWEST_LABELLED_TEXTS or not 2 <= len(set(labels)) <= _MOST_LABELS:
        few = f"it takes {_FEWEST_LABELLED_TEXTS} texts or more, and 2 to {_MOST_LABELS} labels"
        looked.append(Looked(what, True, f"cannot be told here: {few}"))
        return []
    rows = _drawn(len(texts), _MOST_LABELLED_TEXTS)
    try:
        found = find_mislabelled_texts([texts[row] for row in rows], [labels[row] for row in rows], seed=_SEED)
    except Invalid as e:
        looked.append(Looked(what, True, f"cannot be told here: {e}"))
        return []
    if len(found) > _MOST_WRONG * len(rows):
        looked.append(Looked(what, True, "cannot be told here: words do not tell labels"))
        return []
    looked.append(Looked(what, True, _read_of(len(rows), len(texts))))
    return [Suspect(rows[s.row], s.score, s.kind, s.reason) for s in found]


def _of_values(source: Table, label: str, names: Sequence[str], looked: list[Looked]) -> list[Suspect]:
    """Values, and pairs of them, that decide the label of every row they are in."""
    import polars as pl

    from vallum.data.poisoning import find_value_triggers

    schema = source.frame.collect_schema()
    names = [n for n in names if not schema[n].is_nested() and schema[n] not in (pl.Binary, pl.Null)]
    if not names or schema[label].is_nested():
        return []
    total = source.frame.select(pl.len()).collect(engine="streaming").item()
    rows = _drawn(total, _MOST_VALUES)
    read, held = names[:_MOST_COLUMNS], source.frame.select([*names[:_MOST_COLUMNS], label])
    if len(rows) < total:
        at = pl.Series(rows, dtype=pl.UInt32).implode()
        held = held.with_row_index("__vallum_at").filter(pl.col("__vallum_at").is_in(at)).drop("__vallum_at")
    frame = held.collect(engine="streaming")
    found = find_value_triggers({n: frame.get_column(n).to_list() for n in read}, frame.get_column(label).to_list())
    columns = "" if len(read) == len(names) else f", in the first {len(read)} of {len(names)} columns"
    looked.append(Looked(f"{label}: values that decide it", True, _read_of(len(rows), total) + columns))
    return [Suspect(rows[s.row], s.score, s.kind, s.reason) for s in found]


def _of_labels(
    source: Table, of: ContractTable, label: str, allowed: Sequence[str], looked: list[Looked]
) -> list[Suspect]:
    """Wrong labels, by the numbers that stand beside them. Too few rows or labels to tell is said, and no failure."""
    import polars as pl

    from vallum.data.poisoning import find_mislabelled

    schema = source.frame.collect_schema()
    features = [n for n in allowed if n != label and schema[n].is_numeric() and not _is_key(of, n)]
    if not features:
        return []
    numbers = [((pl.col(n).cast(pl.Float64) - pl.col(n).mean()) / pl.col(n).std()).alias(n) for n in features]
    frame = source.frame.select(*[n.fill_nan(0).fill_null(0) for n in numbers], pl.col(label).alias("__vallum_label"))
    held = frame.head(_MOST_TEXTS).collect()
    try:
        matrix = held.select(features).to_numpy()
        found = find_mislabelled(matrix, held.get_column("__vallum_label").to_list(), seed=_SEED)
    except Invalid as e:
        looked.append(Looked(f"{label}: wrong labels", True, f"cannot be told here: {e}"))
        return []
    if len(found) > _MOST_WRONG * held.height:
        looked.append(Looked(f"{label}: wrong labels", True, "cannot be told here: other columns do not tell labels"))
        return []
    looked.append(Looked(f"{label}: wrong labels", True, f"the first {held.height} rows were judged"))
    return found


def _drawn(total: int, most: int) -> list[int]:
    """Rows, ascending: all where there are no more. What comes first, or in which order, is the deliverer's choice."""
    return list(range(total)) if total <= most else sorted(SystemRandom().sample(range(total), most))


def _read_of(read: int, total: int) -> str:
    return f"all {total} rows were read" if read == total else f"{read} of {total} rows, drawn evenly, were read"


def _is_key(of: ContractTable, name: str) -> bool:
    return any(p.name == name and (p.primary_key or p.unique) for p in of.properties)
