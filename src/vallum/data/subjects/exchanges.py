"""The erasure of what people and models wrote: contents that the ledger keeps sealed beside its entries.

A content is somebody's when it names them, or when the exchange was made on their behalf; then everything of that
exchange goes, the question with the answer. Its entry stays, with digests that nothing tests a guess against. What is
under legal hold stays until that ends.
"""

from collections.abc import Iterator, Sequence

from vallum.data.subjects.identifiers import Identifiers
from vallum.data.subjects.model import ErasureStep, FoundAt
from vallum.data.subjects.ports import ErasingStep
from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.gate import Gate
from vallum.kernel.ledger.entry import Entry
from vallum.kernel.ledger.erasing import ERASURE_KIND, MAX_ERASED_AT_ONCE, erase_contents, kept_contents
from vallum.kernel.ledger.holds import Holds, load_holds
from vallum.kernel.ledger.ports import Keys
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, Subject

__all__ = ["ExchangeEraser"]

_PLACE, _KIND, _PAGE = "exchanges", "exchange", 200


class ExchangeEraser:
    """See `Eraser`."""

    name = "contents of exchanges"

    def __init__(self, records: Records, keys: Keys, gate: Gate, clock: Clock, by: Subject) -> None:
        """`by` is who removes: the platform itself."""
        self._records = records
        self._keys = keys
        self._gate = gate
        self._clock = clock
        self._by = by

    def find(self, whom: Identifiers) -> list[FoundAt]:
        """What a legal hold keeps stands by itself, by the first hold that does."""
        holds, found, names = self._holds(), dict[str, set[str]](), dict[str, dict[str, int]]()
        why: dict[str, str] = {}
        for entry, name in self._theirs(whom):
            hold = holds.holding(entry)
            place = _PLACE if hold is None else f"{_PLACE}, hold {hold.id}"
            why[place] = "" if hold is None else hold.reason
            found.setdefault(place, set()).add(entry.entry_id)
            counts = names.setdefault(place, {})
            counts[name] = counts.get(name, 0) + 1
        return [FoundAt(place, _KIND, len(found[place]), names[place], why[place]) for place in sorted(found)]

    def unsearchable(self, whom: Identifiers) -> list[FoundAt]:
        """Nothing: contents are kept as they were said."""
        return []

    def under_way(self, before: str) -> list[str]:
        """Nothing: a content is kept with its entry, or not at all."""
        return []

    def is_held(self, found: Sequence[FoundAt]) -> bool:
        holds = self._holds()
        return all(holds.in_force(one.place.rpartition(" ")[2]) for one in found if one.kind == _KIND)

    def erase(self, whom: Identifiers, erasure: str, reference: str, keep: ErasingStep) -> Iterator[ErasureStep]:
        holds = self._holds()
        theirs = list(dict.fromkeys(e.entry_id for e, _ in self._theirs(whom) if holds.holding(e) is None))
        for first in range(0, len(theirs), MAX_ERASED_AT_ONCE):
            ids = theirs[first : first + MAX_ERASED_AT_ONCE]
            context: dict[str, str | int] = {
                "erasure": erasure, "reference": reference, "exchanges": len(ids), "contents": " ".join(ids)
            }  # fmt: skip
            ledger = AssetRef("Ledger", "vallum")
            with self._gate.change(self._by, Action.CONTENT_ERASE, ledger, context, kind=ERASURE_KIND) as change:
                gone = erase_contents(change.conn, ids)
                step = ErasureStep(
                    _PLACE, _KIND, len(ids), change.receipt.entry_id, format_time(self._clock.now()), {"contents": gone}
                )
                keep(change.conn, step)
            yield step

    def _holds(self) -> Holds:
        with self._records.read() as conn:
            return load_holds(conn)

    def _theirs(self, whom: Identifiers) -> Iterator[tuple[Entry, str]]:
        """A page is one short read: writers wait for none of it. Raises ContentMismatch for one that was altered."""
        after = ("", "")
        while True:
            with self._records.read() as conn:
                page = list(kept_contents(conn, self._keys, after, _PAGE))
            for entry, name, content in page:
                behalf = {entry.subject, str(entry.context.get("on_behalf_of", ""))} & whom.people
                if behalf or (content is not None and whom.in_content(content)):
                    yield entry, name
            if len(page) < _PAGE:
                return
            after = (page[-1][0].entry_id, page[-1][1])
