"""What a route is, and finding the one that a request names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid
from vallum.kernel.values import AssetRef

__all__ = [
    "EVIDENCE_SECONDS",
    "BodyTimeout",
    "BodyTooLarge",
    "Download",
    "MethodNotAllowed",
    "Prepared",
    "RawBody",
    "Route",
    "match_route",
]

PREFIX = "/api/v1"
EVIDENCE_SECONDS = 7 * 366 * 86_400  # how long reasons are kept: what auditors commonly ask of evidence


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that is a file: streamed, never held whole."""

    media_type: str
    file_name: str
    chunks: Iterator[bytes]
    size: int | None = None  # where it is known: then whoever gets less knows that it is not all


class BodyTooLarge(Invalid):
    """More than this route takes."""

    code = "body_too_large"


class BodyTimeout(Invalid):
    """The body did not arrive in time."""

    code = "body_timeout"


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body that is a file: given on as it arrives, never held whole. Reading it raises BodyTooLarge, BodyTimeout."""

    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` found for the entry: more of its context, and for a change contents to keep, how long.

    `value` is what it found for `perform`.
    """

    contents: Mapping[str, bytes] = field(default_factory=dict)
    retention_seconds: int = 0
    context: Mapping[str, str | int] = field(default_factory=dict)
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing the control plane does.

    `access` is `read` or `change`, both asked of the gate, or `open`: the request itself carries what proves its
    sender (a password, an enrolment link, a client secret), and what came of it is recorded. `prepare` does what
    takes time or must not hold the database, once the gate allows it and before `perform`'s transaction; where it
    returns `Prepared`, that is kept with the entry. An open route that is not `recorded` hands out a challenge: it
    writes nothing, so that strangers cannot fill the ledger, and its answer is recorded where it is used.

    With `body` RawBody the body is a file, for `prepare` to take: it arrives while nothing holds the database. What
    `takes_long` waits in threads of its own. A read `recorded_each` time is not left out when it was just recorded.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    name: str
    summary: str
    access: Literal["read", "change", "open"]
    action: Action | str
    asset: Callable[[Mapping[str, str], Any], AssetRef]
    perform: Callable[..., Any]
    prepare: Callable[..., Any] | None = None
    body: Any = None
    query: Any = None
    answer: Any = None
    status: int = 200
    context: Callable[[Mapping[str, str], Any], Mapping[str, str | int]] = lambda path, body: {}
    recorded: bool = True
    recorded_each: bool = False
    takes_long: bool = False
    media_type: str = "application/jsonl"  # of a Download
    max_body_bytes: int = 65_536  # of what is decoded before anybody is asked who they are

    @property
    def template(self) -> str:
        return PREFIX + self.path


class MethodNotAllowed(Exception):
    """The path exists; `allowed` are the methods it has."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"use {' or '.join(allowed)}")
        self.allowed = allowed


def match_route(routes: Sequence[Route], method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
    """The route and its path parameters, decoded. Raises MethodNotAllowed; None when no route has that path."""
    parts = raw_path.split("/")
    allowed: list[str] = []
    for route in routes:
        path = _parameters(route.template.split("/"), parts)
        if path is None:
            continue
        if route.method == method:
            return route, path
        allowed.append(route.method)
    if allowed:
        raise MethodNotAllowed(sorted(allowed))
    return None


def _parameters(template: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    """A last `{name...}` takes the rest, slashes included."""
    if template[-1].endswith("...}"):
        if len(parts) < len(template):
            return None
        parts = [*parts[: len(template) - 1], "/".join(parts[len(template) - 1 :])]
    if len(template) != len(parts):
        return None
    found: dict[str, str] = {}
    for expected, part in zip(template, parts, strict=True):
        if expected.startswith("{"):
            if not part:
                return None
            found[expected.strip("{.}")] = unquote(part, errors="strict") if "%" in part else part
        elif expected != part:
            return None
    return found
