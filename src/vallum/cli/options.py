"""Options that many commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Config", "Data", "Folder", "Url"]

Data = Annotated[
    Path | None, typer.Option("--data", help="Administer this data folder directly, as who holds its root key.")
]
Folder = Annotated[Path | None, typer.Option("--data", help="The folder for the embedded database, keys and blobs.")]
Url = Annotated[str | None, typer.Option("--url", help="The server, where it is not the one signed in to.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Config = Annotated[Path | None, typer.Option("--config", envvar="VALLUM_CONFIG", help="Settings file (TOML).")]
