"""The command line: noun then verb, data on standard output, `--json` everywhere, and one table of exit codes."""

__all__ = ["main"]


def main() -> None:
    """The console script. Imports when called: each serving worker imports this module, and needs no commands."""
    from vallum.cli.main import main as run

    run()
