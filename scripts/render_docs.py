"""Write the generated references: `docs/configuration.md` from the settings type.

`--check` exits 1 when a file on disk differs, so that CI notices a reference that fell behind.
"""

import sys
from pathlib import Path

from vallum.settings import describe_settings

DOCS = Path(__file__).parent.parent / "docs"


def render_configuration() -> str:
    lines = [
        "# Configuration reference",
        "",
        "Generated from the settings type by `make docs`; do not edit by hand. A file named by `--config` or",
        "`VALLUM_CONFIG` holds the sections; an environment variable overrides a setting; a command-line option wins.",
        "Unknown keys are errors, and every problem is reported together. Secrets are files' paths, never values.",
        "",
    ]
    section = ""
    for dotted, variable, default, description in describe_settings():
        head, _, leaf = dotted.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"## `[{section}]`", ""]
        shown = "empty" if default == "" else str(default).lower() if isinstance(default, bool) else default
        lines.append(f"- **`{leaf}`** (default {shown}; `{variable}`): {description}")
    return "\n".join(lines) + "\n"


def main() -> int:
    rendered = {"configuration.md": render_configuration()}
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
