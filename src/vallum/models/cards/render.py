"""A card from what the platform knows, around what the author wrote.

The author's words are never changed: front matter only gains members that it does not have, and the platform's part of
the text stands between two marks of its own, where it is replaced each time. What is shown came from outside (names of
files, packages, signers), so it is written as text that makes no Markdown and no HTML.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from vallum.models.cards.card import ModelCard, with_data
from vallum.models.facts import ModelFacts

__all__ = ["render_card"]

_BEGIN = "<!-- vallum:record:begin -->"
_END = "<!-- vallum:record:end -->"
_MAX_ROWS = 200


def render_card(facts: ModelFacts, author: ModelCard | None = None) -> ModelCard:
    """The author's card with what is known added; the same facts give the same card, once or many times."""
    card = with_data(author if author is not None else ModelCard({}, f"\n# {_text(facts.name)}\n"), _data(facts))
    record = f"{_BEGIN}\n" + "\n".join(_record(facts)) + f"\n{_END}"
    return ModelCard(card.data, _placed(card.text, record), card.front)


def _placed(text: str, record: str) -> str:
    """Where the one before stood, else at the end. Marks that somebody wrote to have a second record are taken out."""
    before, begin, rest = text.partition(_BEGIN)
    inside, end, after = rest.partition(_END)
    if not (begin and end) or _END in before or _BEGIN in inside or "```" in before or "~~~" in before:
        # None, or one that the author's own words would show as something else.
        kept = _without_records(text).rstrip()
        return f"{kept}\n\n{record}\n"
    return before + record + _without_records(after)


def _without_records(text: str) -> str:
    """A line break stands for each, so that what was before and behind does not come together as another mark."""
    parts, place = [], 0
    while (start := text.find(_BEGIN, place)) >= 0 and (end := text.find(_END, start)) >= 0:
        parts.append(text[place:start])
        place = end + len(_END)
    return "\n".join([*parts, text[place:]]).replace(_BEGIN, "\n").replace(_END, "\n")


def _data(facts: ModelFacts) -> dict[str, Any]:
    """Front matter in Hugging Face's members, of what is known."""
    data: dict[str, Any] = {}
    if facts.licence:
        data["license"] = facts.licence
    if facts.frameworks:
        data["library_name"] = facts.frameworks[0]
    if facts.task:
        data["pipeline_tag"] = facts.task
    if facts.base_models:
        data["base_model"] = [one.name for one in facts.base_models]
    if facts.datasets:
        data["datasets"] = [one.name for one in facts.datasets]
    if facts.evaluations:
        data["metrics"] = list(dict.fromkeys(one.metric for one in facts.evaluations))
        data["model-index"] = [{"name": facts.name, "results": list(_results(facts))}]
    return data


def _results(facts: ModelFacts) -> Iterator[dict[str, Any]]:
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in facts.evaluations:
        where = (one.task or facts.task or "other", one.dataset or "unknown", one.slice)
        grouped.setdefault(where, []).append({"type": one.metric, "value": one.value})
    for (task, dataset, part), metrics in grouped.items():
        about = {"name": dataset, "type": dataset} | ({"split": part} if part else {})
        yield {"task": {"type": task}, "dataset": about, "metrics": metrics}


def _record(facts: ModelFacts) -> Iterator[str]:
    yield "## Recorded by the platform"
    yield ""
    yield from _table(
        ("fact", "value"),
        [
            (name, value)
            for name, value in (
                ("model", facts.name),
                ("version", facts.version),
                ("owner", facts.owner),
                ("risk class", facts.risk_class),
                ("digest (SHA-256)", facts.digest),
                ("signed by", facts.signature.signer if facts.signature is not None else "nobody"),
                ("scan", _scan(facts)),
                ("frameworks", ", ".join(facts.frameworks)),
            )
            if value
        ],
    )
    if facts.evaluations:
        rows = [(one.task, one.dataset, one.slice, one.metric, repr(one.value)) for one in facts.evaluations]
        yield from _titled("Measured", ("task", "data set", "part", "metric", "value"), rows)
    if facts.datasets:
        data = [(one.name, one.version, one.sha256) for one in facts.datasets]
        yield from _titled("Data sets", ("name", "version", "SHA-256"), data)
    if facts.dependencies:
        needed = [(one.name, one.version or one.specifier or "any", one.source) for one in facts.dependencies]
        yield from _titled("Dependencies", ("package", "version", "source"), needed)
    if facts.files:
        files = [(one.path, str(one.size), one.sha256) for one in facts.files]
        yield from _titled("Files", ("path", "bytes", "SHA-256"), files)


def _scan(facts: ModelFacts) -> str:
    if not facts.scan_verdict:
        return "not scanned"
    return facts.scan_verdict + (f", {facts.scan_findings} findings" if facts.scan_findings else "")


def _titled(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield ""
    yield f"### {title}"
    yield ""
    yield from _table(columns, rows[:_MAX_ROWS])
    if len(rows) > _MAX_ROWS:
        yield ""
        yield f"And {len(rows) - _MAX_ROWS} more."


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_text(cell) for cell in row) + " |"


def _text(text: str) -> str:
    """As Markdown shows it: every sign that Markdown or HTML reads as its own is a character reference."""
    return "".join(
        char if char.isalnum() or char in " .,-/:@+=%~^" else f"&#{ord(char)};" if char.isprintable() else "\ufffd"
        for char in text
    )
