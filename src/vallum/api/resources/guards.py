"""Reviews of what guards found: a person says right or wrong, and the text becomes a case to measure guards on.

A review is one change like any other, whose entry keeps the case sealed beside it: there is no second store of texts.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vallum.api.control import Call, Services
from vallum.api.routing import Prepared, Route
from vallum.gateway.document import decode_document, text_places
from vallum.gateway.guarding import guard_names
from vallum.guards import Channel
from vallum.guards.scan import SCANNERS, scanner
from vallum.inventory import Name
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.gate import Change
from vallum.kernel.ledger.entry import StoredEntry
from vallum.kernel.values import AssetRef

__all__ = ["ROUTES"]

_DAY_SECONDS = 86_400
_MAX_CASES = 20  # texts of one request that a guard finds something in; the first ones are enough
_MAX_PAGE_CHARS = 4_000_000  # a page ends behind the review that exceeds it
_CONTENT = "cases"


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says of a guard's judgement on one request: `right`, `wrong` (it was harmless) or `missed`.

    `text` is what was judged, as the reviewer says; the ledger does not hold it to the request. Without it the kept
    content of the request is taken, where the application keeps any, and the guard finds something in it.
    """

    guard: Name
    verdict: Literal["right", "wrong", "missed"]
    text: Annotated[str, Meta(min_length=1, max_length=1_000_000)] | None = None
    channel: Channel = Channel.USER
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 365


class Reviewed(msgspec.Struct, frozen=True):
    entry: str
    guard: str
    verdict: str
    review: str


class CaseQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reviews before this index of the ledger, newest first."""

    before: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Case(msgspec.Struct, frozen=True):
    """A labelled text: 1 where the guard should find something, 0 where it should not."""

    text: str
    label: int
    channel: Channel
    verdict: str
    entry: str
    review: str


class CasePage(msgspec.Struct, frozen=True):
    """`next` is the `before` of the page that follows; None at the end."""

    cases: list[Case]
    next: int | None


class _Kept(msgspec.Struct, frozen=True):
    text: str
    channel: Channel


def prepare_review(services: Services, call: Call) -> Prepared:
    """The case. Raises NotFound, Invalid: a review must be of what the entry says, and have a text."""
    review: Review = call.body
    with services.records.read() as conn:
        entry = services.ledger.entry(conn, call.path["id"])
    if entry.kind != "inference":
        raise Invalid("only an inference entry has something to review")
    found = any(finding.guard == review.guard for finding in entry.findings)
    if review.verdict != "missed" and not found:
        raise Invalid(f"that entry has no finding of the guard {review.guard}; a missed one is reviewed as missed")
    application = services.inventory.application(entry.subject.partition(":")[2])
    if not found and review.guard not in (known := guard_names(application)):
        raise Invalid(f"there is no guard {review.guard}; there are {', '.join(sorted(known))}")
    if review.text is not None:
        kept = [_Kept(review.text, review.channel)]
    elif review.verdict == "missed":
        raise Invalid("text: give what was missed; the guard cannot say which text that was")
    else:
        kept = _from_contents(services, entry, review.guard)
    return Prepared({_CONTENT: msgspec.json.encode(kept)}, review.keep_days * _DAY_SECONDS)


def _from_contents(services: Services, entry: StoredEntry, guard: str) -> list[_Kept]:
    """The texts of the kept request and answer in which the guard finds something."""
    if guard not in SCANNERS:
        raise Invalid(f"text: give the text that was judged; the guard {guard} cannot be run on the kept content")
    if not entry.contents:
        raise Invalid(
            "text: give the text that was judged; this entry's content was not kept (of what is blocked, none is)"
        )
    judge = scanner(guard)
    kept: list[_Kept] = []
    for name, channel in (("request", Channel.USER), ("answer", Channel.MODEL)):
        for place in _places(services, entry, name, channel):
            if len(kept) < _MAX_CASES and judge(place.text, place.channel).is_flagged:
                kept.append(_Kept(place.text, place.channel))
    if not kept:
        raise Invalid(
            "text: give the text that was judged; the guard finds nothing in the content that was kept, where what was "
            "found may have been redacted"
        )
    return kept


def _places(services: Services, entry: StoredEntry, name: str, channel: Channel) -> Iterator[Any]:
    if name not in entry.contents:
        return
    try:
        with services.records.read() as conn:
            document = decode_document(services.ledger.content(conn, entry.entry_id, name))
    except (NotFound, Invalid):  # its time is over, or it was a stream
        return
    yield from (place for place in text_places(document, channel) if place.channel is not Channel.SYSTEM)


def review_finding(services: Services, call: Call, change: Change) -> Reviewed:
    review: Review = call.body
    return Reviewed(call.path["id"], review.guard, review.verdict, change.receipt.entry_id)


def export_cases(services: Services, call: Call, change: Change) -> CasePage:
    query: CaseQuery = call.body
    asset = AssetRef("Guard", call.path["guard"]).render()
    with services.records.read() as conn:
        reviews = services.ledger.entries(
            conn, before=query.before, limit=query.limit, kind="change", asset=asset, newest_first=True
        )
        cases: list[Case] = []
        chars = 0
        for review in reviews:
            for kept in _opened(services, conn, review) if _CONTENT in review.contents else ():
                verdict = str(review.context["verdict"])
                label = int(verdict != "wrong")
                cases.append(
                    Case(kept.text, label, kept.channel, verdict, str(review.context["entry"]), review.entry_id)
                )
                chars += len(kept.text)
            if chars > _MAX_PAGE_CHARS:
                return CasePage(cases, review.index)
    return CasePage(cases, reviews[-1].index if len(reviews) == query.limit else None)


def _opened(services: Services, conn: Any, review: StoredEntry) -> list[_Kept]:
    try:
        content = services.ledger.content(conn, review.entry_id, _CONTENT)
    except NotFound:  # its time is over
        return []
    return msgspec.json.decode(content, type=list[_Kept])


def _context(path: Mapping[str, str], body: Review | None) -> Mapping[str, str | int]:
    named = {"entry": path["id"][:64]}
    return named if body is None else {**named, "verdict": body.verdict, "channel": str(body.channel)}


ROUTES = (
    Route(
        method="POST", path="/entries/{id}/reviews", name="review_finding",
        summary="Say whether a guard judged a request rightly; the text is kept as a sealed case",
        access="change", action=Action.FINDING_REVIEW,
        asset=lambda path, body: AssetRef("Guard", body.guard if body is not None else ""),
        prepare=prepare_review, perform=review_finding,
        body=Review, max_body_bytes=1 << 20, answer=Reviewed, status=201, context=_context,
    ),
    Route(
        method="POST", path="/guards/{guard}/cases", name="export_cases",
        summary="The reviewed cases of a guard, to measure it on; every reading is recorded",
        access="change", action=Action.CASE_READ,
        asset=lambda path, body: AssetRef("Guard", path["guard"][:128]), perform=export_cases,
        body=CaseQuery, answer=CasePage,
    ),
)  # fmt: skip
