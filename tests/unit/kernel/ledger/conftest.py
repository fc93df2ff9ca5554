from pathlib import Path

import pytest

from vallum.kernel.clock import SystemClock
from vallum.kernel.errors import NotFound
from vallum.kernel.keys import FileRoot, Keyring
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.ledger.sequencer import Sequencer


class Files:
    """A folder as the publisher's port sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def get(self, key: str) -> bytes:
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError as e:
            raise NotFound(key) from e


def draft(number: int = 0, **changes) -> EntryDraft:
    fields = {
        "tenant": "default",
        "kind": "exchange",
        "subject": f"application:app{number % 3}",
        "action": "gateway:model:invoke",
        "asset": "Model:demo/extractive",
        "effect": "allow" if number % 4 else "deny",
        "outcome": "ok",
        "context": {"number": number},
    }
    return EntryDraft(**(fields | changes))


@pytest.fixture
def make_draft():
    return draft


@pytest.fixture
def keyring(records, tmp_path):
    return Keyring(records, FileRoot.create(tmp_path / "root.key", None), SystemClock())


@pytest.fixture
def ledger(keyring):
    return Ledger(keyring, SystemClock(), "test.example/ledger")


@pytest.fixture
def append(records, ledger):
    """Append drafts one commit each `batch`, then have the sequencer number them."""

    def _append(drafts, batch=1):
        drafts = list(drafts)
        receipts = []
        for at in range(0, len(drafts), batch):
            with records.write() as conn:
                receipts += ledger.append(conn, drafts[at : at + batch])
        Sequencer(ledger, records).run_once()
        return receipts

    return _append


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "published")
