"""Write the generated references: the configuration from the settings type, the API from its routes, the command line
from its commands.

`--check` exits 1 when a file on disk differs, so that CI notices a reference that fell behind.
"""

import sys
from pathlib import Path

import click
import typer

from vallum.api import ROUTES
from vallum.cli.main import EXIT_CODES
from vallum.cli.tree import whole_tree
from vallum.settings import describe_settings

DOCS = Path(__file__).parent.parent / "docs"

CONFIGURATION = """# Configuration reference

Generated from the settings type by `make docs`; do not edit by hand. A file named by `--config` or
`VALLUM_CONFIG` holds the sections; an environment variable overrides a setting; a command-line option wins.
Unknown keys are errors, and every problem is reported together. Secrets are files' paths, never values.
"""

API = """# API reference

Generated from the routes by `make docs`; do not edit by hand. The same as OpenAPI 3.1 stands at
`/api/v1/openapi.json` on every server.

- Credentials: `Authorization: Bearer` with a session (`POST /sessions`) or an access token (`POST /tokens`). Routes
  marked *open* carry their own proof in the body.
- Every route passes the gate with the action shown, and its entry's id comes back as `x-vallum-entry`. A read that
  the same credential repeats within a minute is not recorded again; a refusal always is.
- Errors are problem details (RFC 9457) with a stable `code`: see `errors.md`.
- Times are RFC 3339 in UTC; ids carry their kind (`key_…`); unknown fields and parameters are errors.

| | path below `/api/v1` | what it does | action | access |
|---|---|---|---|---|
"""

CLI = """# Command line reference

Generated from the commands by `make docs`; do not edit by hand.

Data goes to standard output, talk to standard error; `--json` makes the data machine-readable. Secrets are read from a
terminal without echo or from standard input, never from arguments. A command asks the server that `vallum login` signed
in to, or with `--data DIR` administers that folder directly, as whoever holds its root key; both pass the same gate and
leave the same entries.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | something unforeseen, or a policy case failed |
"""


def render_configuration() -> str:
    lines = [CONFIGURATION]
    section = ""
    for dotted, variable, default, description in describe_settings():
        head, _, leaf = dotted.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"## `[{section}]`", ""]
        shown = "empty" if default == "" else str(default).lower() if isinstance(default, bool) else default
        lines.append(f"- **`{leaf}`** (default {shown}; `{variable}`): {description}")
    return "\n".join(lines) + "\n"


def render_api() -> str:
    rows = []
    for route in ROUTES:
        path = route.path.replace("...}", "}")
        rows.append(f"| {route.method} | `{path}` | {route.summary} | `{route.action}` | {route.access} |\n")
    return API + "".join(rows)


def render_cli() -> str:
    lines = []
    for family, code in sorted(EXIT_CODES, key=lambda pair: pair[1]):
        lines.append(f"| {code} | {(family.__doc__ or '').splitlines()[0]} |")
    for words, command in _commands(typer.main.get_command(whole_tree()), ("vallum",)):
        context = click.Context(command, info_name=" ".join(words), terminal_width=100, max_content_width=100)
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        lines += ["", f"## {' '.join(words)}", "", "```text", text, "```"]
    return CLI + "\n".join(lines) + "\n"


def _commands(command: click.Command, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [(words, command)]
    return [found for name, child in children.items() for found in _commands(child, (*words, name))]


def main() -> int:
    rendered = {"api.md": render_api(), "cli.md": render_cli(), "configuration.md": render_configuration()}
    stale = [name for name, text in rendered.items() if _read(DOCS / name) != text]
    if "--check" in sys.argv:
        for name in stale:
            print(f"docs/{name} is behind the code: run make docs", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(rendered[name])
        print(f"wrote docs/{name}")
    return 0


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
