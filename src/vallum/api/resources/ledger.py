"""The ledger: entries, their proofs and contents, its head, and the whole as a file."""

import base64
import io
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vallum.api.assets import ledger, system
from vallum.api.control import Call, Services
from vallum.api.routing import Download, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Conflict
from vallum.kernel.ledger.entry import StoredEntry

__all__ = ["ROUTES", "NotYetIntegrated"]

_CHUNK_BYTES = 1 << 18
Text = Annotated[str, Meta(max_length=256)]
Index = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class NotYetIntegrated(Conflict):
    """The entry is durable and waits for its number: ask again in a moment."""

    code = "not_yet_integrated"


class EntryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries with `after < index < before`."""

    after: Index | None = None
    before: Index | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    order: Literal["oldest", "newest"] = "newest"
    kind: Text | None = None
    subject: Text | None = None
    asset: Text | None = None
    effect: Literal["allow", "deny"] | None = None


class EntryPage(msgspec.Struct, frozen=True):
    """`next` is the `before` (newest first) or `after` (oldest first) of the page that follows; None at the end."""

    entries: list[StoredEntry]
    next: int | None


class Proof(msgspec.Struct, frozen=True):
    """`leaf` is the canonical entry; `path` its inclusion path in the tree of `size`, base64, lowest level first.

    Source: RFC 9162, section 2.1.3; C2SP tlog-checkpoint and signed-note.
    """

    index: int
    size: int
    leaf: str
    path: list[str]
    checkpoint: str
    verifier_key: str


class OwnEntryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Newest first; `before` is the page's `next`."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Index | None = None


class LedgerHead(msgspec.Struct, frozen=True):
    origin: str
    size: int
    pending: int
    checkpoint: str
    verifier_key: str


class Content(msgspec.Struct, frozen=True):
    """One sealed content, opened. Each reading is an entry of its own."""

    name: str
    text: str


def list_entries(services: Services, call: Call) -> EntryPage:
    query = call.query
    with services.records.read() as conn:
        found = services.ledger.entries(
            conn, after=query.after, before=query.before, limit=query.limit, kind=query.kind, subject=query.subject,
            asset=query.asset, effect=query.effect, newest_first=query.order == "newest",
        )  # fmt: skip
    return EntryPage(found, found[-1].index if len(found) == query.limit else None)


def list_own_entries(services: Services, call: Call) -> EntryPage:
    query = call.query
    subject = call.subject.render() if call.subject is not None else "nobody"
    with services.records.read() as conn:
        found = services.ledger.entries(
            conn, before=query.before, limit=query.limit, subject=subject, newest_first=True
        )
    return EntryPage(found, found[-1].index if len(found) == query.limit else None)


def read_entry(services: Services, call: Call) -> StoredEntry:
    with services.records.read() as conn:
        return services.ledger.entry(conn, call.path["id"])


def prove_entry(services: Services, call: Call) -> Proof:
    with services.records.read() as conn:
        entry = services.ledger.entry(conn, call.path["id"])
        if entry.index is None:
            raise NotYetIntegrated("the entry is durable and waits for its number: ask again in a moment")
        checkpoint = services.ledger.head(conn)
        size = int(checkpoint.split("\n", 2)[1])
        path = services.ledger.prove_inclusion(conn, entry.index, size)
        leaf = services.ledger.canonical(conn, entry.entry_id).decode()
    encoded = [base64.b64encode(node).decode() for node in path]
    return Proof(entry.index, size, leaf, encoded, checkpoint, services.ledger.verifier_key)


def read_content(services: Services, call: Call) -> Content:
    name = call.path["name"]
    with services.records.read() as conn:
        content = services.ledger.content(conn, call.path["id"], name)
    return Content(name, content.decode("utf-8", "replace"))


def read_head(services: Services, call: Call) -> LedgerHead:
    ledger_ = services.ledger
    with services.records.read() as conn:
        checkpoint = ledger_.head(conn)
        return LedgerHead(ledger_.origin, ledger_.size(conn), ledger_.pending(conn), checkpoint, ledger_.verifier_key)


def export(services: Services, call: Call) -> Download:
    return Download("application/jsonl", "ledger.jsonl", _export(services))


def _export(services: Services) -> Iterator[bytes]:
    """As the ledger writes it, a piece at a time and in one snapshot."""
    out = _Pieces()
    with services.records.read() as conn:
        note = services.ledger.head(conn)
        size = int(note.split("\n", 2)[1])
        services.ledger.export_header(out, note)
        for canonical in services.ledger.canonical_entries(conn, 0, size):
            out.write(canonical + b"\n")
            if out.tell() >= _CHUNK_BYTES:
                yield out.take()
    yield out.take()


class _Pieces(io.BytesIO):
    def take(self) -> bytes:
        piece = self.getvalue()
        self.seek(0)
        self.truncate()
        return piece


ROUTES = (
    Route(
        method="GET", path="/entries", name="list_entries", summary="Entries of the ledger",
        access="read", action=Action.ENTRY_READ, asset=ledger, perform=list_entries,
        query=EntryQuery, answer=EntryPage,
    ),
    Route(
        method="GET", path="/entries/own", name="list_own_entries", summary="What you did yourself, newest first",
        access="read", action=Action.ACCOUNT_READ, asset=system, perform=list_own_entries, query=OwnEntryQuery,
        answer=EntryPage,
    ),
    Route(
        method="GET", path="/entries/{id}", name="read_entry", summary="One entry",
        access="read", action=Action.ENTRY_READ, asset=ledger, perform=read_entry, answer=StoredEntry,
    ),
    Route(
        method="GET", path="/entries/{id}/proof", name="prove_entry", summary="An entry's inclusion proof",
        access="read", action=Action.ENTRY_READ, asset=ledger, perform=prove_entry, answer=Proof,
    ),
    Route(
        method="POST", path="/entries/{id}/contents/{name}", name="read_content",
        summary="Open a sealed content; every reading is recorded",
        access="change", action=Action.CONTENT_READ, asset=ledger,
        perform=lambda services, call, change: read_content(services, call), answer=Content,
        context=lambda path, body: {"entry": path["id"][:64], "content": path["name"][:64]},
    ),
    Route(
        method="GET", path="/ledger", name="read_ledger", summary="The ledger's head and verifier key",
        access="read", action=Action.ENTRY_READ, asset=ledger, perform=read_head, answer=LedgerHead,
    ),
    Route(
        method="GET", path="/ledger/export", name="export_ledger", summary="The whole log, to verify offline",
        access="read", action=Action.LEDGER_EXPORT, asset=ledger, perform=export, answer=Download,
    ),
)  # fmt: skip
