"""A model card in Hugging Face's format: YAML front matter, then Markdown in sections.

Parsing keeps the author's bytes: what is rendered without a change is what was read, to the character.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vallum.models.cards.refused import CardRefused
from vallum.models.plain_yaml import NotPlainYaml, parse_yaml, render_yaml

__all__ = ["ModelCard", "Section", "parse_card", "render_markdown", "with_data"]

MAX_CARD_BYTES = 8 << 20
_MAX_HEADINGS = 5_000  # what comes after is read as part of the last
_MAX_TITLE = 1_000
# As huggingface_hub finds it, so that both read the same card.
_FRONT = re.compile(r"\A(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z))")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*\Z")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*\Z")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Section:
    """`title` without markup, lower case. `body` is all below the heading, sections of a deeper level included; `lead`
    is the part of it before the first of those."""

    level: int
    title: str
    body: str
    lead: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """`data` is the front matter's values, `front` its text as the author wrote it, `text` the Markdown after it."""

    data: Mapping[str, Any]
    text: str
    front: str = ""

    def sections(self) -> tuple[Section, ...]:
        """Every heading outside of code and comments, in order; what stands before the first is level 0."""
        return tuple(_sections(self.text))


def parse_card(raw: bytes) -> ModelCard:
    """Raises CardRefused, whatever the bytes are."""
    if len(raw) > MAX_CARD_BYTES:
        raise CardRefused(f"the card is larger than {MAX_CARD_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise CardRefused("the card is not UTF-8") from e
    found = _FRONT.search(text)
    if found is None:
        return ModelCard({}, text)
    try:
        return ModelCard(parse_yaml(found.group(2)), text[found.end() :], found.group(2))
    except NotPlainYaml as e:
        raise CardRefused(f"the card's front matter cannot be read: {e}") from e


def render_markdown(card: ModelCard) -> str:
    """The card as a README.md. `parse_card` reads it back as the same card."""
    front = card.front or render_yaml(card.data).rstrip("\n")
    return f"---\n{front}\n---\n{card.text}" if front.strip() else card.text


def with_data(card: ModelCard, added: Mapping[str, Any]) -> ModelCard:
    """The card with members that it does not have yet; its author's front matter stands as written.

    What is there already is never changed, not even when it is empty: silence is the author's, too.
    """
    fresh = {name: value for name, value in added.items() if name not in card.data}
    if not fresh:
        return card
    data = {**card.data, **fresh}
    front = "\n".join(filter(None, (card.front.rstrip("\r\n "), render_yaml(fresh).rstrip("\n"))))
    try:
        if parse_yaml(front) == data:  # a block mapping goes on below itself
            return ModelCard(data, card.text, front)
    except NotPlainYaml:
        pass  # a flow mapping does not: it is written anew
    return ModelCard(data, card.text, render_yaml(data).rstrip("\n"))


def _sections(text: str) -> Iterator[Section]:
    lines = without_comments(text).splitlines()
    heads: list[tuple[int, int, int, str]] = [(0, 0, 0, "")]  # first line, first line of the body, level, title
    fence = ""
    for number, line in enumerate(lines):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened.group(1).startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if opened:
            fence = opened.group(1)
            continue
        if len(heads) > _MAX_HEADINGS:
            break
        heading = _HEADING.match(line) if "#" in line[:10] and len(line) <= _MAX_TITLE else None
        if heading:
            heads.append((number, number + 1, len(heading.group(1)), _title(heading.group(2) or "")))
        elif number and (underline := _UNDERLINE.match(line)) and _is_paragraph(lines[number - 1]):
            level = 1 if underline.group(1)[0] == "=" else 2
            heads.append((number - 1, number + 1, level, _title(lines[number - 1][:_MAX_TITLE])))
    for place, (_, start, level, title) in enumerate(heads):
        ends = (head[0] for head in heads[place + 1 :] if head[2] <= level or level == 0)
        after = heads[place + 1][0] if place + 1 < len(heads) else len(lines)
        yield Section(level, title, "\n".join(lines[start : next(ends, len(lines))]), "\n".join(lines[start:after]))


def without_comments(text: str) -> str:
    """HTML comments are seen by nobody who reads the card, so they say nothing."""
    parts, place = [], 0
    while (start := text.find("<!--", place)) >= 0:
        parts.append(text[place:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(parts)
        place = end + 3
    return "".join([*parts, text[place:]])


def _is_paragraph(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("    ", "\t", "#", ">", "|", "-", "*", "+"))


def _title(text: str) -> str:
    """Words only: neither emphasis, links, emoji nor punctuation."""
    plain = re.sub(r"\[([^\[\]]{0,500})\]\([^()]{0,2000}\)", r"\1", text)
    kept = (char if unicodedata.category(char)[0] in "LNM" else " " for char in unicodedata.normalize("NFKC", plain))
    return " ".join("".join(kept).casefold().split())
