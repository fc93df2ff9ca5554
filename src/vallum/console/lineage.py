"""Where a model version came from and where it went, drawn as SVG: source, version, releases, environments."""

from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Lineage", "draw_lineage"]

_COLUMN, _ROW, _WIDTH, _HEIGHT, _CHARS = 260, 58, 210, 40, 28


@dataclass(frozen=True, slots=True)
class Lineage:
    """`releases` are product, id and the environments that each runs in."""

    source: str
    version: str
    releases: tuple[tuple[str, str, tuple[str, ...]], ...]


def draw_lineage(lineage: Lineage) -> Markup:
    """Boxes in columns, a line from each to what was made of it; whoever cannot see it reads the title and texts."""
    rows = max(1, sum(max(1, len(names)) for _, _, names in lineage.releases))
    middle = (rows - 1) / 2
    parts = [_box(0, middle, lineage.source or "uploaded"), _box(1, middle, lineage.version), _line(0, middle, middle)]
    row = 0
    for product, release, environments in lineage.releases:
        height = max(1, len(environments))
        at = row + (height - 1) / 2
        parts += [_line(1, middle, at), _box(2, at, product, f"/console/releases/{release}")]
        for number, name in enumerate(environments):
            parts += [_line(2, at, row + number), _box(3, row + number, name, "/console/environments")]
        row += height
    size = f'viewBox="0 0 {3 * _COLUMN + _WIDTH + 4} {rows * _ROW}"'
    return Markup(  # noqa: S704  every text in it was escaped
        f'<svg class="lineage" role="img" aria-label="Lineage" {size}>{"".join(parts)}</svg>'
    )


def _box(column: int, row: float, text: str, link: str = "") -> str:
    x, y = column * _COLUMN + 2, row * _ROW + (_ROW - _HEIGHT) / 2
    shown = escape(text if len(text) <= _CHARS else text[: _CHARS - 1] + "…")
    box = (
        f'<rect x="{x}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"></rect>'
        f'<text x="{x + 10}" y="{y + 25:g}">{shown}</text>'
    )
    return f'<a href="{escape(link)}">{box}</a>' if link else f"<g>{box}</g>"


def _line(column: int, row: float, to: float) -> str:
    x, y, end = column * _COLUMN + _WIDTH + 2, row * _ROW + _ROW / 2, to * _ROW + _ROW / 2
    return f'<line x1="{x}" y1="{y:g}" x2="{x + _COLUMN - _WIDTH}" y2="{end:g}"></line>'
