"""`vallum data`, the local part: what a table holds, what is poisoned in it, what a purpose may have. Needs no server.

Tables are CSV or JSON Lines, read whole. `register` adds the commands to a group.
"""

import csv
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson
from vallum.cli.output import print_json, print_table, report, say
from vallum.cli.registry import command
from vallum.kernel.errors import Invalid

__all__ = ["register"]

_LOCAL = "reads files of this machine, and asks no server"
_MAX_BYTES = 1 << 30
_MOST_ROWS = 20_000  # read for values that decide a label: ten seconds
_MOST_TEXTS = 5_000  # judged by their words: ten seconds
_MOST_WRONG = 0.1  # of labels: where more look wrong, the words do not tell them apart
_SEED = 20260101
_Table = Annotated[Path, typer.Argument(help="A table: .csv with a header, or .jsonl.")]


def register(to: typer.Typer) -> None:
    """Add these commands to the group `data`."""

    @command(to, "classify", local=_LOCAL, example="vallum data classify customers.csv --full")
    def classify(
        table: _Table,
        full: Annotated[bool, typer.Option("--full", help="Read every value, not a sample of 10,000.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """What each column holds, by its name and its values, its class, and what the class must have done to it."""
        from random import SystemRandom

        from vallum.data.classify import ColumnClassifier, SpanClassifier

        classifier = ColumnClassifier(SpanClassifier(), SystemRandom())
        columns = _read(table)
        reports = [classifier.classify(n, values, mode="full" if full else "sample") for n, values in columns.items()]
        if as_json:
            print_json([_as_json(each) for each in reports])
            return
        rows = [
            (r.column, r.classification, ", ".join(f"{e.kind} ({e.by}, {e.share:.1%})" for e in r.evidence),
             f"{r.missed_at_most:.2%}")
            for r in reports
        ]  # fmt: skip
        print_table(("COLUMN", "CLASS", "HOLDS", "MAY HAVE MISSED"), rows)

    @command(to, "risk", local=_LOCAL, example="vallum data risk visits.csv --by age --by zip --sensitive diagnosis")
    def risk(
        table: _Table,
        by: Annotated[list[str], typer.Option("--by", help="A column others may know of a person; several times.")],
        sensitive: Annotated[str | None, typer.Option("--sensitive", help="The column they want to learn.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """How likely somebody is found in a table: k-anonymity, l-diversity, t-closeness, and three attackers."""
        import msgspec

        from vallum.data.anonymise import assess

        found = assess(_read(table), by, sensitive=sensitive)
        text = (
            f"{table}: {found.rows} rows in {found.groups} groups, the smallest of {found.k}; {found.unique_rows} rows"
            f" stand alone; prosecutor {found.prosecutor_highest:.3g}, journalist {found.journalist_highest:.3g},"
            f" marketer {found.marketer:.3g}"
        )
        report(as_json, msgspec.to_builtins(found), text)

    @command(
        to, "minimise", local=_LOCAL,
        example="vallum data minimise visits.csv --plan research.json --key-file purpose.key --out visits-research.csv",
    )  # fmt: skip
    def minimise(
        table: _Table,
        plan: Annotated[Path, typer.Option("--plan", help="The purpose's plan (JSON): docs/data-privacy.md.")],
        key_file: Annotated[Path, typer.Option("--key-file", help="The purpose's key: 16 bytes or more.")],
        out: Annotated[Path, typer.Option("--out", help="A new CSV file; one that exists is not overwritten.")],
        as_json: AsJson = False,
    ) -> None:
        """Write what a purpose may have, treated as its plan says. Tokens need a vault and are refused here."""
        import msgspec

        from vallum.data.anonymise import PurposePlan, Treatments

        try:
            purpose = msgspec.json.decode(_bytes(plan), type=PurposePlan)
        except msgspec.DecodeError as e:
            raise Invalid(f"{plan} is no plan: {e}") from e
        treated = purpose.apply(_read(table), Treatments(_bytes(key_file).rstrip(b"\r\n")))
        _write(out, treated)
        said = {"purpose": purpose.purpose, "columns": list(treated), "out": str(out)}
        report(as_json, said, f"{out}: {len(treated)} columns for purpose {purpose.purpose}")

    @command(to, "suspects", local=_LOCAL, example="vallum data suspects reviews.csv --text review --label stars")
    def suspects(
        table: _Table,
        text: Annotated[str | None, typer.Option("--text", help="The column of texts.")] = None,
        label: Annotated[str | None, typer.Option("--label", help="The column of labels.")] = None,
        source: Annotated[str | None, typer.Option("--source", help="The column of where a row is from.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Rows that may be poisoned: triggers, wrong labels, floods, outlying sources, orders to a model.

        With --text, texts are read; without, the other columns for values that decide the label. Of more than 20,000
        rows (5,000 texts, for wrong labels) the first are judged: intake draws. Exit 0: none. 1: some. Needs the
        extra `poisoning` for texts.
        """
        import msgspec

        from vallum.data.poisoning import Suspect, find_outlier_sources, find_value_triggers, merge

        columns = _read(table)
        missing = [name for name in (text, label, source) if name is not None and name not in columns]
        if missing:
            raise Invalid(f"{table} has no column {missing[0]!r}")
        if text is None and label is None:
            raise Invalid("name a column of texts (--text), or one of labels (--label)")
        labels = columns[label] if label is not None else None
        found: list[list[Suspect]] = []
        if text is not None:
            found += _suspect_texts(table, [value or "" for value in columns[text]], labels)
        if labels is not None:
            if len(labels) > _MOST_ROWS:
                say(f"{table}: values that decide a label: the first {_MOST_ROWS} of {len(labels)} rows were read")
            others = {name: _numbers(v[:_MOST_ROWS]) for name, v in columns.items() if name not in (text, label)}
            found.append(find_value_triggers(others, labels[:_MOST_ROWS]))
        if source is not None:
            found.append(find_outlier_sources(columns[source], labels, {s.row for each in found for s in each}))
        merged = merge(*found)
        if as_json:
            print_json([msgspec.to_builtins(each) for each in merged])
        elif merged:
            print_table(("ROW", "SCORE", "KIND", "WHY"), [(s.row, f"{s.score:.3f}", s.kind, s.reason) for s in merged])
        else:
            say(f"{table}: no row is suspect")
        raise typer.Exit(1 if merged else 0)


def _suspect_texts(table: Path, texts: list[str], labels: list[str | None] | None) -> list[Any]:
    from vallum.data.poisoning import find_instructions, find_mislabelled_texts, find_token_triggers, near_duplicates
    from vallum.guards import Injection

    found: list[Any] = [near_duplicates(texts), find_instructions(texts, Injection())]
    if labels is None:
        return found
    found.append(find_token_triggers(texts, labels))
    read = min(len(texts), _MOST_TEXTS)
    if read < len(texts):
        say(f"{table}: wrong labels: the first {read} of {len(texts)} texts were read")
    try:
        wrong = find_mislabelled_texts(texts[:read], labels[:read], seed=_SEED)
    except Invalid as e:
        say(f"{table}: wrong labels cannot be told: {e}")
        return found
    if len(wrong) > _MOST_WRONG * read:
        say(f"{table}: wrong labels cannot be told: words do not tell labels")
        return found
    return [*found, wrong]


def _numbers(values: list[str | None]) -> list[float | str | None]:
    """A column of numbers is read as such, so that their order counts."""
    try:
        return [None if value in (None, "") else float(value) for value in values]
    except ValueError:
        return list(values)


def _as_json(each: Any) -> dict[str, Any]:
    return {
        "column": each.column, "classification": each.classification, "mode": each.mode, "read": each.read,
        "total": each.total, "missed_at_most": each.missed_at_most, "controls": sorted(each.controls),
        "evidence": [
            {"kind": e.kind, "category": e.category, "by": e.by, "values": e.values, "share": e.share,
             "share_at_least": e.share_at_least}
            for e in each.evidence
        ],
    }  # fmt: skip


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise Invalid(f"{file} is larger than {_MAX_BYTES >> 20} MiB: take it in instead")
        return file.read_bytes()
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e


def _read(table: Path) -> dict[str, list[str | None]]:
    try:
        text = _bytes(table).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Invalid(f"{table} is not UTF-8 at byte {e.start}") from e
    rows = _json_rows(table, text) if table.suffix in (".jsonl", ".ndjson") else _csv_rows(table, text)
    columns: dict[str, list[str | None]] = {}
    for number, row in enumerate(rows):
        for name in row:
            if name not in columns:
                columns[name] = [None] * number
        for name, values in columns.items():
            values.append(row.get(name))
    return columns


def _csv_rows(table: Path, text: str) -> list[dict[str, str | None]]:
    try:
        lines = list(csv.reader(text.splitlines(keepends=True), strict=True))
    except csv.Error as e:
        raise Invalid(f"{table} is no CSV: {e}") from e
    if not lines or len(set(lines[0])) != len(lines[0]):
        raise Invalid(f"{table} has no header, or one that names a column twice")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            raise Invalid(f"{table}: row {number} has {len(line)} fields, the header {len(lines[0])}")
    return [{name: value or None for name, value in zip(lines[0], line, strict=True)} for line in lines[1:]]


def _json_rows(table: Path, text: str) -> list[dict[str, str | None]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise Invalid(f"{table}: line {number} is no JSON") from e
        if not isinstance(row, dict):
            raise Invalid(f"{table}: line {number} is no object")
        rows.append(
            {name: None if v is None else v if isinstance(v, str) else json.dumps(v) for name, v in row.items()}
        )
    return rows


def _write(out: Path, columns: dict[str, list[str | None]]) -> None:
    """Only the owner may read it. A value that a spreadsheet would run gets an apostrophe in front (CWE-1236)."""
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise Invalid(f"{out} cannot be written: {e.strerror}") from e
    with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([_inert(name) for name in columns])
        writer.writerows([_inert(value or "") for value in row] for row in zip(*columns.values(), strict=True))


def _inert(value: str) -> str:
    return "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(value) else value


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
