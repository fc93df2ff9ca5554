"""What a model's card has to say for its risk class, and how much of it does.

The rule: each class demands what the class below does, and more. A demand is met by a front-matter member that has a
value, or by a section whose title names it and which says something: eight different words or more outside comments,
headings and lines with a placeholder. The same words meet at most three demands, whatever headings they stand under
(the field's own template has "Bias, Risks, and Limitations"). What stands under the card's title is its summary. The
score is the share of demands met. For `high` they follow the EU AI Act (Regulation 2024/1689): Article 13(3), what
deployers are told, and Annex IV, the technical documentation. A score counts words and not their truth; whoever
approves reads the card.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vallum.kernel.errors import Invalid
from vallum.models.cards.card import ModelCard, Section

__all__ = ["COUNTS", "DEMANDS", "CardScore", "Demand", "RiskClass", "demands_of", "score_card"]

RiskClass = Literal["minimal", "limited", "high"]
_MIN_WORDS = 8
COUNTS = f"a section counts once it says something: {_MIN_WORDS} different words, and no placeholder"
_MAX_SERVED = 3
_PLACEHOLDER = re.compile(
    r"\bmore information (?:is )?needed\b|\bto be (?:done|determined|written|filled in|announced)\b"
    r"|\b(?:todo|tbd|tba|fixme|lorem ipsum)\b|\{\{|\bbase template for new models\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]{2,}")


@dataclass(frozen=True, slots=True)
class Demand:
    """`titles` match a section's title anywhere; `source` is the clause it comes from; `how` says how to meet it."""

    name: str
    risk_class: RiskClass
    titles: re.Pattern[str] | None
    how: str
    source: str = ""
    data: Callable[[Mapping[str, Any]], bool] | None = None


@dataclass(frozen=True, slots=True)
class CardScore:
    """`score` is from 0 to 1, the share of `demanded` that is met; `missing` are the others, in order."""

    risk_class: RiskClass
    score: float
    missing: tuple[str, ...]
    demanded: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.missing


def score_card(card: ModelCard, risk_class: str) -> CardScore:
    """Raises Invalid for a risk class that is none."""
    demands = demands_of(risk_class)
    met = _met(demands, card)
    missing = tuple(demand.name for demand in demands if demand not in met)
    return CardScore(
        risk_class,  # type: ignore[arg-type]  # demands_of has checked it
        (len(demands) - len(missing)) / len(demands),
        missing,
        tuple(demand.name for demand in demands),
    )


def demands_of(risk_class: str) -> tuple[Demand, ...]:
    """Those of the class and of every class below it. Raises Invalid."""
    classes = get_args(RiskClass)
    if risk_class not in classes:
        raise Invalid(f"a risk class is one of {', '.join(classes)}")
    included = classes[: classes.index(risk_class) + 1]
    return tuple(demand for demand in DEMANDS if demand.risk_class in included)


def _met(demands: Sequence[Demand], card: ModelCard) -> list[Demand]:
    said = list(_saying(card.sections()))
    uses = [sum(bool(demand.titles and demand.titles.search(title)) for demand in demands) for title, _ in said]
    # Sections that name few things are used first, so that those that name many are left for the rest.
    said = [one for _, one in sorted(zip(uses, said, strict=True), key=lambda pair: pair[0])]
    used: Counter[tuple[str, ...]] = Counter()
    met = []
    for demand in demands:
        if demand.data is not None and demand.data(card.data):
            met.append(demand)
            continue
        for title, words in said:
            if demand.titles is not None and demand.titles.search(title) and used[words] < _MAX_SERVED:
                used[words] += 1
                met.append(demand)
                break
    return met


def _saying(sections: Sequence[Section]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Titles and the words below them, where there are enough."""
    tops = [section for section in sections if section.level == 1]
    for section in sections:
        parts = [(section.title, section.body)]
        if section.level == 0 or (tops and section is tops[0]):
            # The first top heading is the model's name, whatever words are in it, unless all headings are such.
            parts = [("summary", section.lead)] + (parts if section.level and len(tops) > 1 else [])
        for title, body in parts:
            words = _words(body)
            if len(set(words)) >= _MIN_WORDS:
                yield title, tuple(words)


def _words(body: str) -> list[str]:
    said = (line for line in body.splitlines() if not line.lstrip().startswith("#") and not _PLACEHOLDER.search(line))
    text = re.sub(r"<[^<>]{1,1000}>", " ", "\n".join(said))
    return [word.casefold() for word in _WORD.findall(text)]


def _has(name: str) -> Callable[[Mapping[str, Any]], bool]:
    def has(data: Mapping[str, Any]) -> bool:
        value = data.get(name)
        values = value if isinstance(value, list) else [value]
        return any(isinstance(one, str) and one.strip() and not _PLACEHOLDER.search(one) for one in values)

    return has


def _has_licence(data: Mapping[str, Any]) -> bool:
    """`other` says where the licence is, or nothing."""
    if data.get("license") == "other":
        return _has("license_name")(data) or _has("license_link")(data)
    return _has("license")(data) and data.get("license") != "unknown"


def _has_results(data: Mapping[str, Any]) -> bool:
    index = data.get("model-index")
    for model in index if isinstance(index, list) else ():
        results = model.get("results") if isinstance(model, dict) else None
        for result in results if isinstance(results, list) else ():
            metrics = result.get("metrics") if isinstance(result, dict) else None
            for metric in metrics if isinstance(metrics, list) else ():
                value = metric.get("value") if isinstance(metric, dict) else None
                if isinstance(value, int | float) and not isinstance(value, bool):
                    return True
    return False


def _titles(*words: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(words) + r")\b")


DEMANDS: tuple[Demand, ...] = (
    Demand("licence", "minimal", _titles("licen[cs](?:e|es|ing)"), "`license` in the front matter", "", _has_licence),
    Demand(
        "description",
        "minimal",
        _titles("summary", "description", "model details", "overview", "introduction", "about", "general information"),
        "say what the model is",
        "Annex IV 1(a)",
    ),
    Demand(
        "intended-use",
        "minimal",
        _titles(
            "intended",
            "direct uses?",
            r"(?<!scope )(?<!prohibited )uses?",
            "usage",
            "use cases?",
            "purpose",
            "applications?",
        ),
        "a section on what it is for, and for whom",
        "Art. 13(3)(b)(i)",
    ),
    Demand(
        "limitations",
        "minimal",
        _titles("limitations?", "known issues", "caveats", "weaknesses"),
        "a section on what it does not do well",
        "Art. 13(3)(b)(iii)",
    ),
    Demand(
        "training-data",
        "limited",
        _titles("training data(?: ?sets?)?", "training details", "data ?sets?", r"^data$"),
        "a section on what it was trained on",
        "Annex IV 2(d)",
    ),
    Demand(
        "evaluation",
        "limited",
        _titles("evaluations?", "results", "performance", "benchmarks?", "testing", "accuracy"),
        "a section with figures, or `model-index`",
        "Art. 13(3)(b)(ii)",
        _has_results,
    ),
    Demand(
        "contact",
        "limited",
        _titles("contacts?", "support", "authors?", "maintainers?", "provider", "developed by", "feedback"),
        "a section on who answers for it, and how they are reached",
        "Art. 13(3)(a)",
    ),
    Demand(
        "transparency",
        "limited",
        _titles("transparency", "disclosures?", "informing (?:users|people)", "explainability", "interpretability"),
        "a section on how people learn that it is an AI, and what its answers mean",
        "Art. 50, 13(3)(b)(iv)",
    ),
    Demand(
        "out-of-scope-use",
        "high",
        _titles("out of scope", "misuses?", "prohibited", "unintended", "not intended"),
        "a section on what it must not be used for",
        "Art. 13(3)(b)(iii)",
    ),
    Demand(
        "bias",
        "high",
        _titles("bias(?:es)?", "fairness", "discrimination", "subgroups?", "disparit(?:y|ies)"),
        "a section on whom it serves worse, with figures",
        "Art. 10(2)(f), 13(3)(b)(v)",
    ),
    Demand(
        "risks",
        "high",
        _titles("risks?", "risk management", "harms?", "safety", "ethical considerations"),
        "a section on known and foreseeable risks, and what is done about them",
        "Art. 9, Annex IV 5",
    ),
    Demand(
        "human-oversight",
        "high",
        _titles("human oversight", "oversight", "human in the loop", "human review", "human control"),
        "a section on who watches it, and how they stop or overrule it",
        "Art. 14, 13(3)(d)",
    ),
    Demand(
        "robustness",
        "high",
        _titles("robustness", "security", "cybersecurity", "adversarial", "attacks?"),
        "a section on errors, drift and attacks, with figures",
        "Art. 15",
    ),
    Demand(
        "data-governance",
        "high",
        _titles(
            "data governance",
            "preprocessing",
            "pre processing",
            "data (?:collection|preparation|provenance|quality|processing)",
            "annotations?",
            "label+ing",
        ),
        "a section on where the data came from, how it was cleaned and labelled, and who allowed it",
        "Art. 10",
    ),
    Demand(
        "technical-details",
        "high",
        _titles(
            "technical", "architecture", "training procedure", "model specifications?", "compute", "hyperparameters"
        ),
        "a section on how it is built, and what it needs to run",
        "Annex IV 2(b), 2(c); Art. 13(3)(e)",
    ),
    Demand(
        "maintenance",
        "high",
        _titles(
            "maintenance", "monitoring", "updates?", "post market", "lifecycle", "life cycle", "changes", "changelog"
        ),
        "a section on how it is watched and kept up",
        "Art. 13(3)(e), 72; Annex IV 6, 9",
    ),
)
