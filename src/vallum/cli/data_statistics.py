"""`vallum data budget`, `statistic`, `keys`: private statistics on a kept budget, and keys of restricted columns."""

from typing import Annotated, Any

import typer

from vallum.cli.data import app
from vallum.cli.data_sets import DataSetName, Version, version_path
from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, report
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

budget = group("The privacy budget: what all statistics about a data set's people together may give away.")
app.add_typer(budget, name="budget")
keys = group("The keys of restricted columns.")
app.add_typer(keys, name="keys")

_MICRO = 1_000_000


@command(
    budget, "set", performs=("set_privacy_budget",),
    example="vallum data budget set visits --epsilon 2 --person patient --contributions 3",
)  # fmt: skip
def set_budget(
    name: DataSetName,
    epsilon: Annotated[float, typer.Option("--epsilon", help="In all, for ever.")],
    person: Annotated[str, typer.Option("--person", help="The column that says whose a row is.")] = "",
    contributions: Annotated[int, typer.Option("--contributions", help="The most rows of one person that count.")] = 1,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Set a data set's privacy budget. What was spent stays spent. Wants a fresh second factor: vallum step-up."""
    body = {"epsilon": epsilon, "person_column": person, "contributions": contributions}
    with opened(data, url, config) as transport:
        made = transport.perform("set_privacy_budget", path={"name": name}, body=body)
    left = (made["total_micro_epsilon"] - made["spent_micro_epsilon"]) / _MICRO
    report(as_json, made, f"{name} has epsilon {left:g} left of {made['total_micro_epsilon'] / _MICRO:g}")


@command(budget, "show", performs=("read_privacy_budget",), example="vallum data budget show visits")
def show_budget(
    name: DataSetName, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Show a data set's privacy budget, and what it was spent on."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_privacy_budget", path={"name": name})
    if as_json:
        print_json(found)
        return
    print_record(found["budget"])
    rows = [
        (s["at"][:19], s["by"], f"{name}/{s['number']}", s["query"], s["micro_epsilon"] / _MICRO)
        for s in found["spent"]
    ]
    print_table(("AT", "BY", "VERSION", "ASKED", "EPSILON"), rows)


@command(
    app, "statistic", performs=("release_statistic",),
    example="vallum data statistic visits/3 mean --column age --low 0 --high 120 --epsilon 0.1",
)  # fmt: skip
def statistic(
    version: Version,
    kind: Annotated[str, typer.Argument(help="count, sum, mean or histogram.")],
    epsilon: Annotated[float, typer.Option("--epsilon", help="What it may cost of the budget.")],
    column: Annotated[str, typer.Option("--column", help="Of which column; none for count.")] = "",
    low: Annotated[float | None, typer.Option("--low", help="Lower values count as this; not from the data.")] = None,
    high: Annotated[float | None, typer.Option("--high", help="Higher values count as this.")] = None,
    step: Annotated[float, typer.Option("--step", help="Values are rounded to multiples of this.")] = 1.0,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="A category of a histogram; several times.")
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Ask for a differentially private statistic of a version: no row is shown, and the budget is charged first."""
    query: dict[str, Any] = {"type": kind}
    match kind:
        case "count":
            pass
        case "sum" | "mean":
            if low is None or high is None or not column:
                raise Invalid(f"a {kind} is of a --column, from --low to --high: bounds that do not come from the data")
            query |= {"column": column, "low": low, "high": high, "step": step}
        case "histogram":
            if not column or not category:
                raise Invalid("a histogram is of a --column, with each --category: which there are tells of the data")
            query |= {"column": column, "categories": category}
        case _:
            raise Invalid("ask for count, sum, mean or histogram")
    with opened(data, url, config) as transport:
        found = transport.perform(
            "release_statistic", path=version_path(version), body={"query": query, "epsilon": epsilon}
        )
    said = f"{found['query']}: {found['answer']}; epsilon {found['left_micro_epsilon'] / _MICRO:g} is left"
    report(as_json, found, said)


@command(
    keys, "rotate", performs=("rotate_data_keys",),
    example="vallum data keys rotate visits --class restricted --column iban",
)  # fmt: skip
def rotate(
    name: DataSetName,
    classification: Annotated[str | None, typer.Option("--class", help="Of this class alone.")] = None,
    column: Annotated[str, typer.Option("--column", help="A new key of this column too.")] = "",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Rotate the keys of a data set's restricted columns. No data is rewritten; what is sealed opens as before."""
    body = {"classification": classification, "column": column}
    with opened(data, url, config) as transport:
        made = transport.perform("rotate_data_keys", path={"name": name}, body=body)
    if as_json:
        print_json(made)
        return
    rows = [(m["classification"], m["version"], ", ".join(f"{c} {v}" for c, v in m["columns"].items())) for m in made]
    print_table(("CLASS", "KEY VERSION", "COLUMNS"), rows)
