"""What commands print: data on standard output, talk on standard error."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["print_json", "print_record", "print_table", "printable", "read_secret_line", "report", "say"]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else printable(str(cell)) for cell in row))
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=240)  # a pipe has no width to fit into
    console.print(table)


def print_record(fields: dict[str, Any]) -> None:
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        print(f"{name:<{width}}  {printable(str(value))}")


def printable(text: str) -> str:
    """Without line breaks, escapes and signs that turn text around: what others wrote must not move the cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def report(as_json: bool, value: Any, text: str) -> None:
    """What a change came to: data for machines, or a sentence for people."""
    print_json(value) if as_json else say(text)


def say(text: str) -> None:
    print(text, file=sys.stderr)


def read_secret_line(prompt: str) -> str:
    """From the terminal without echo, or the first line of standard input when that is a pipe."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")
