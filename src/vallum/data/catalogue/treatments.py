"""Which column gets which treatment before anything of it is stored: what the contract says, and what policy asks for.

A contract may come from whoever delivers the data: it may treat more than policy asks for, and never less. Where
policy requires a treatment (credentials, as shipped) and the contract says none that is enough, the column is redacted,
or, in a text, the spans alone; or the version is refused, as the setting says. No database, no key, no value.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from vallum.data.anonymise import Generalise, Hash, Keep, Mask, Redact, ShiftDate, Spans, Tokenise
from vallum.data.classify import Category, ColumnReport, Evidence
from vallum.data.contracts import BadContract, Contract, ContractTable
from vallum.data.contracts.model import Metric
from vallum.inventory.model import CLASSIFICATIONS, Classification
from vallum.kernel.errors import Invalid

__all__ = ["ColumnTreatment", "Drop", "TreatmentPolicy", "asked", "planned", "requires"]


class Drop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="drop"):
    """The column does not leave intake, whatever the purpose."""


Planned = Keep | Mask | Redact | Hash | Tokenise | Generalise | ShiftDate | Spans | Drop
_KINDS = (Keep, Mask, Redact, Hash, Tokenise, Generalise, ShiftDate, Spans, Drop)
_SHORT = {kind.__struct_config__.tag: kind for kind in _KINDS}
_ENOUGH = (Redact, Hash, Tokenise, Drop)  # a coarser credential is one still
_MOST_SHOWN = 4  # characters, of what policy wants treated
_DRIFT = (Metric.LABEL_DRIFT, Metric.FEATURE_DRIFT)
_HIDES = (Hash, Tokenise, Mask)  # what is left stands for a person, and tells no more of them


@dataclass(frozen=True, slots=True)
class TreatmentPolicy:
    """`must_treat` are categories (credential, health, …) and classes; `otherwise` what happens where nobody did;
    `erased` what becomes of rows of people who were erased: they are held, or the version is refused."""

    must_treat: tuple[str, ...] = ("credential",)
    otherwise: Literal["treat", "refuse"] = "treat"
    erased: Literal["hold", "refuse"] = "hold"


@dataclass(frozen=True, slots=True)
class ColumnTreatment:
    """`by` is who asked for it; `found` the column's class as it came, `left` as it is kept."""

    column: str
    treatment: Planned
    by: Literal["contract", "policy"]
    found: Classification
    left: Classification

    @property
    def name(self) -> str:
        return str(self.treatment.__struct_config__.tag)

    def as_json(self) -> dict[str, Any]:
        said = {k: v for k, v in msgspec.to_builtins(self.treatment).items() if k != "type" and v not in (None, [])}
        return {
            "column": self.column, "treatment": self.name, "parameters": said, "by": self.by,
            "classification_found": self.found, "classification_left": self.left,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What a contract asks for: by column, by class or category, whether all values are read to classify them, and
    whether people who were erased are reason to refuse it all."""

    columns: Mapping[str, Planned]
    classes: Mapping[str, Planned]
    reads_all: bool = False
    refuses_erased: bool = False


def asked(contract: Contract, of: ContractTable) -> Asked:
    """Custom properties: a column's `treatment`; a table's `treatments` by class or category, `classification` and
    `erased`.

    Raises BadContract, with every problem, for what is none of these or cannot be held to what the contract asks else.
    """
    problems, columns = list[str](), dict[str, Planned]()
    names = {p.name for p in of.properties}
    for p in of.properties:
        found = _custom(p.carried, "treatment")
        if found is None:
            continue
        treatment = _treatment(found, f"{p.name}: treatment", problems)
        if treatment is None:
            continue
        columns[p.name] = treatment
        if isinstance(treatment, ShiftDate) and (treatment.subject not in names or treatment.subject == p.name):
            problems.append(f"{p.name}: treatment: subject names another column of the table: whose date it is")
        if isinstance(treatment, ShiftDate) and p.kind not in ("date", "timestamp"):
            problems.append(f"{p.name}: treatment: shift_date is for dates and timestamps, and this is {p.kind}")
        if not isinstance(treatment, Keep) and any(rule.metric in _DRIFT for rule in p.quality):
            problems.append(f"{p.name}: treatment: what is stored of it cannot be compared: drop its drift rule")
    classes = dict[str, Planned]()
    said = _custom(of.carried, "treatments")
    if said is not None and not isinstance(said, dict):
        problems.append("treatments: a map of classes or categories to treatments is due")
    for name, found in said.items() if isinstance(said, dict) else ():
        if name not in (*CLASSIFICATIONS, *(c.value for c in Category)):
            problems.append(f"treatments: {str(name)[:80]!r} is no class and no category")
        treatment = _treatment(found, f"treatments: {str(name)[:80]}", problems)
        if isinstance(treatment, ShiftDate | Generalise):
            problems.append(f"treatments: {name}: say at each column how it is generalised or shifted")
        elif treatment is not None:
            classes[str(name)] = treatment
    reading = _custom(of.carried, "classification")
    if reading not in (None, "sample", "full"):
        problems.append("classification: sample or full is due: whether a sample of the rows is read, or all of them")
    erased = _custom(of.carried, "erased")
    if erased not in (None, "hold", "refuse"):
        problems.append("erased: hold or refuse is due: what becomes of rows of people who were erased")
    if problems:
        raise BadContract(problems)
    return Asked(columns, classes, reading == "full", erased == "refuse")


def requires(policy: TreatmentPolicy, found: Classification, evidence: Collection[Evidence]) -> tuple[str, ...]:
    """What of the policy a column falls under."""
    categories = {each.category.value for each in evidence}
    return tuple(name for name in policy.must_treat if name == found or name in categories)


def planned(
    wanted: Asked,
    of: ContractTable,
    reports: Mapping[str, ColumnReport],
    classes: Mapping[str, Classification],
    texts: Collection[str],
    policy: TreatmentPolicy,
) -> tuple[dict[str, ColumnTreatment], list[str]]:
    """The treatment of each column that gets one, and the columns that policy refuses without.

    `texts` are columns of prose, of which policy masks what it asks for and keeps the rest.
    """
    made, refused = dict[str, ColumnTreatment](), list[str]()
    said = {p.name: p.classification.lower() for p in of.properties}
    for name, report in reports.items():
        found, by = classes[name], "contract"
        treatment = wanted.columns.get(name) or _of_class(wanted, found, report.evidence, name in texts)
        due = requires(policy, found, report.evidence)
        if due and not _is_enough(treatment, due, report.evidence):
            if policy.otherwise == "refuse":
                refused.append(name)
                continue
            spans = Spans(due)
            by, treatment = "policy", spans if name in texts and _is_enough(spans, due, report.evidence) else Redact()
        if treatment is None or isinstance(treatment, Keep):
            continue
        left = _left(treatment, found, report.evidence)
        least = next((c for c in CLASSIFICATIONS if c == said.get(name)), left)  # what a steward wrote down
        left = max(left, least, key=CLASSIFICATIONS.index)
        made[name] = ColumnTreatment(name, treatment, by, found, left)  # type: ignore[arg-type]
    return made, refused


def _is_enough(treatment: Planned | None, due: Collection[str], evidence: Collection[Evidence]) -> bool:
    """Whether the treatment hides what policy asks for. Rules find no span in a column that is merely called
    `password`; and one that is merely called so, the contract may keep on purpose: `token` in a corpus of words."""
    why = [e for e in evidence if e.category.value in due or e.classification in due]
    match treatment:
        case Keep():
            return bool(why) and all(e.by == "name" for e in why)
        case Spans(of):
            return (not of or set(due) <= set(of)) and all(e.by == "values" for e in why)
        case Mask(keep_last):
            return keep_last <= _MOST_SHOWN
        case _:
            return isinstance(treatment, _ENOUGH)


def _of_class(wanted: Asked, found: Classification, evidence: Collection[Evidence], is_text: bool) -> Planned | None:
    for category in dict.fromkeys(e.category.value for e in evidence):
        if category in wanted.classes:
            treatment = wanted.classes[category]
            return Spans((category,)) if is_text and isinstance(treatment, Spans) and not treatment.of else treatment
    return wanted.classes.get(found)


def _left(treatment: Planned, found: Classification, evidence: Collection[Evidence]) -> Classification:
    """The class after it. Pseudonymous data is personal data still (GDPR, recital 26)."""
    if isinstance(treatment, Redact):
        return "internal"
    lower = isinstance(treatment, _HIDES)
    if isinstance(treatment, Spans):  # prose about a diagnosis tells of it without the word that was found
        kept = (Category.HEALTH, Category.SPECIAL)
        lower = not treatment.of and all(e.by == "values" and e.category not in kept for e in evidence)
    return "confidential" if lower and found == "restricted" else found


def _treatment(found: Any, where: str, problems: list[str]) -> Planned | None:
    if isinstance(found, str):
        found = {"type": found}
    try:
        converted: Planned = msgspec.convert(found, Planned)
        return converted
    except (msgspec.ValidationError, Invalid) as e:
        shown = ", ".join(str(tag) for tag in _SHORT)
        problems.append(f"{where}: one of {shown} is due, with its parameters: {str(e)[:200]}")
        return None


def _custom(carried: Mapping[str, Any], name: str) -> Any:
    entries = carried.get("customProperties", ())
    return next((e.get("value") for e in entries if isinstance(e, dict) and e.get("property") == name), None)
