"""Two pictures of a guard in one SVG file: how its scores lie, and what it finds at few false alarms."""

from collections.abc import Sequence
from html import escape

from vallum.guards.evaluation import evaluate

__all__ = ["render_plot"]

_WIDTH, _HEIGHT, _MARGIN = 420, 260, 40
_MAX_RATE = 0.1  # of false alarms: beyond it nobody would use a guard


def render_plot(scores: Sequence[float], labels: Sequence[int]) -> str:
    """Raises Invalid unless there are both harmless texts and attacks."""
    result = evaluate(scores, labels)
    left = _bars(result.histogram)
    right = _curve(sorted(zip(scores, labels, strict=True), reverse=True), result.harmless, result.attacks)
    total = 2 * (_WIDTH + _MARGIN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{_HEIGHT + 2 * _MARGIN}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<g transform="translate({_MARGIN},{_MARGIN})">{left}</g>'
        f'<g transform="translate({_WIDTH + 2 * _MARGIN},{_MARGIN})">{right}</g></svg>\n'
    )


def _bars(histogram: tuple[tuple[int, ...], tuple[int, ...]]) -> str:
    parts = [_title("share of texts by score: harmless (blue), attacks (red)")]
    for counts, colour, shift in zip(histogram, ("#3b6ea5", "#c0392b"), (0.0, 0.45), strict=True):
        most = max(1, sum(counts))
        step = (_WIDTH - _MARGIN) / len(counts)
        for number, count in enumerate(counts):
            height = _HEIGHT * count / most
            place = f'x="{(number + shift) * step:.1f}" y="{_HEIGHT - height:.1f}"'
            parts.append(f'<rect {place} width="{step * 0.45:.1f}" height="{height:.1f}" fill="{colour}"/>')
    return "".join(parts) + _axes("score", "share", "0", "1")


def _curve(ranked: Sequence[tuple[float, int]], harmless: int, attacks: int) -> str:
    found = alarms = 0
    points = [f"0,{_HEIGHT}"]
    for _, label in ranked:
        found, alarms = found + label, alarms + (1 - label)
        rate = alarms / harmless
        if rate > _MAX_RATE:
            break
        points.append(f"{rate / _MAX_RATE * (_WIDTH - _MARGIN):.1f},{_HEIGHT * (1 - found / attacks):.1f}")
    line = f'<polyline points="{" ".join(points)}" fill="none" stroke="#c0392b" stroke-width="2"/>'
    return (
        _title("attacks found by share of false alarms")
        + line
        + _axes("false alarms", "found", "0", f"{_MAX_RATE:.0%}")
    )


def _title(text: str) -> str:
    return f'<text x="0" y="-12">{escape(text)}</text>'


def _axes(x: str, y: str, low: str, high: str) -> str:
    right = _WIDTH - _MARGIN
    return (
        f'<path d="M0 0V{_HEIGHT}H{right}" fill="none" stroke="#444"/><text x="0" y="{_HEIGHT + 16}">{low}</text>'
        f'<text x="{right - 20}" y="{_HEIGHT + 16}">{high}</text>'
        f'<text x="{right / 2:.0f}" y="{_HEIGHT + 30}">{x}</text><text x="4" y="12">{y} 1</text>'
    )
