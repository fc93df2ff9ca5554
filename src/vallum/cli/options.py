"""Options that many commands share."""

import re
from pathlib import Path
from typing import Annotated

import typer

from vallum.kernel.errors import Invalid

__all__ = ["AsJson", "Config", "Data", "Folder", "Url", "parse_duration"]

Data = Annotated[
    Path | None, typer.Option("--data", help="Administer this data folder directly, as who holds its root key.")
]
Folder = Annotated[Path | None, typer.Option("--data", help="The folder for the embedded database, keys and blobs.")]
Url = Annotated[str | None, typer.Option("--url", help="The server, where it is not the one signed in to.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Config = Annotated[Path | None, typer.Option("--config", envvar="VALLUM_CONFIG", help="Settings file (TOML).")]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: str) -> int:
    """Seconds. Raises Invalid for what is not as in 30m or 2h."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    if found is None:
        raise Invalid(f"{text}: write a number and s, m, h or d, as in 30m or 2h")
    return int(found.group(1)) * _UNITS[found.group(2)]
