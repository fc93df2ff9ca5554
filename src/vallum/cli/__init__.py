"""The command line: noun then verb, data on standard output, `--json` everywhere, and one table of exit codes."""

from vallum.cli.main import main

__all__ = ["main"]
