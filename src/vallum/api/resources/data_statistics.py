"""Data sets: privacy budgets and the statistics released on them; the keys of fields."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from vallum.api.assets import named
from vallum.api.control import Call, Services
from vallum.api.routing import Prepared, Route
from vallum.data.catalogue.field_keys import RotatedKey
from vallum.data.catalogue.private_statistics import BudgetState, PreparedRelease, Query, Release, Spent, described
from vallum.inventory.model import Classification
from vallum.kernel.actions import Action
from vallum.kernel.errors import NotFound, Unauthenticated
from vallum.kernel.gate import Change
from vallum.kernel.values import Subject

__all__ = ["ROUTES"]

Epsilon = Annotated[float, Meta(gt=0, le=1000)]


class SetBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`epsilon` is for everything that will ever be released about the data set's people. `person_column` says whose a
    row is, so that of each at most `contributions` rows count; without, the bound is the steward's word alone."""

    epsilon: Epsilon
    person_column: Annotated[str, Meta(max_length=1000)] = ""
    contributions: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class AskStatistic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: Query
    epsilon: Epsilon


class RotateKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of one class, or of all; with `column`, that column's own key too."""

    classification: Classification | None = None
    column: Annotated[str, Meta(max_length=1000)] = ""


class Budget(msgspec.Struct, frozen=True):
    budget: BudgetState
    spent: list[Spent]


def set_budget(services: Services, call: Call, change: Change) -> BudgetState:
    asked = call.body
    return services.data.statistics.set_budget(
        change.conn, call.path["name"], asked.epsilon, _by(call), person_column=asked.person_column,
        contributions=asked.contributions,
    )  # fmt: skip


def read_budget(services: Services, call: Call) -> Budget:
    with services.records.read() as conn:
        state = services.data.statistics.budget(conn, call.path["name"])
        return Budget(state, services.data.statistics.spendings(conn, call.path["name"]))


def prepare_release(services: Services, call: Call) -> Prepared:
    """Before the transaction: a column is read through. What is asked is in the entry, and nothing of the answer."""
    dataset, number = call.path["name"], _number(call)
    prepared = services.data.statistics.prepare(dataset, number, call.body.query, call.body.epsilon)
    return Prepared(context={"micro_epsilon": prepared.charge}, value=prepared)


def release(services: Services, call: Call, change: Change) -> Release:
    prepared: PreparedRelease = call.prepared.value
    return services.data.statistics.release(change.conn, prepared, _by(call))


def rotate_keys(services: Services, call: Call, change: Change) -> list[RotatedKey]:
    asked = call.body
    return list(
        services.data.field_keys.rotate(
            change.conn, call.path["name"], classification=asked.classification or "", column=asked.column
        )
    )


def _number(call: Call) -> int:
    text = call.path["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound("a version is a number")
    return int(text)


def _by(call: Call) -> Subject:
    if call.subject is None:
        raise Unauthenticated("sign in first")
    return call.subject


def _budget_context(path: Any, body: Any) -> dict[str, str | int]:
    return {
        "epsilon": str(body.epsilon), "person_column": body.person_column[:200], "contributions": body.contributions,
    }  # fmt: skip


_SET = named("DataSet", "name")
_VERSION = named("DataSetVersion", "name", "number")
_ONE_SET = "/data-sets/{name}"

ROUTES = (
    Route(
        method="PUT", path=_ONE_SET + "/privacy-budget", name="set_privacy_budget",
        summary="Set what all statistics about a data set's people together may give away",
        access="change", action=Action.BUDGET_SET, asset=_SET, perform=set_budget, body=SetBudget, answer=BudgetState,
        context=_budget_context,
    ),
    Route(
        method="GET", path=_ONE_SET + "/privacy-budget", name="read_privacy_budget",
        summary="A data set's privacy budget, and what it was spent on",
        access="read", action=Action.DATA_SET_READ, asset=_SET, perform=read_budget, answer=Budget,
    ),
    Route(
        method="POST", path=_ONE_SET + "/versions/{number}/statistics", name="release_statistic",
        summary="A differentially private statistic, charged to the data set's budget before it is drawn",
        access="change", action=Action.STATISTICS_RELEASE, asset=_VERSION, prepare=prepare_release, perform=release,
        body=AskStatistic, answer=Release, takes_long=True,
        context=lambda path, body: {"query": described(body.query)[:500], "epsilon": str(body.epsilon)},
    ),
    Route(
        method="POST", path=_ONE_SET + "/key-rotations", name="rotate_data_keys",
        summary="Rotate the keys of restricted columns, without rewriting data",
        access="change", action=Action.DATA_KEY_ROTATE, asset=_SET, perform=rotate_keys, body=RotateKeys,
        answer=list[RotatedKey],
        context=lambda path, body: {"classification": body.classification or "", "column": body.column[:200]},
    ),
)  # fmt: skip
