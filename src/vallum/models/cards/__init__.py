"""Model cards: in Hugging Face's format in and out, scored for completeness, generated around what the author wrote.

    card = parse_card(Path("README.md").read_bytes())
    score_card(card, "high").missing

A pure library: bytes in, values out.
"""

from vallum.models.cards.card import ModelCard, Section, parse_card, render_markdown
from vallum.models.cards.completeness import COUNTS, DEMANDS, CardScore, Demand, RiskClass, demands_of, score_card
from vallum.models.cards.refused import CardRefused
from vallum.models.cards.render import render_card

__all__ = [
    "COUNTS",
    "DEMANDS",
    "CardRefused",
    "CardScore",
    "Demand",
    "ModelCard",
    "RiskClass",
    "Section",
    "demands_of",
    "parse_card",
    "render_card",
    "render_markdown",
    "score_card",
]
