"""A platform on a real database, without its threads: tests poll what would poll by itself."""

import msgspec
import pytest

from vallum.api import ROUTES, Call
from vallum.compose import Platform, prepare
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.ledger.sequencer import Sequencer
from vallum.settings import load_settings


@pytest.fixture
def platform(migrated_url, tmp_path):
    settings = load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})
    prepare(settings)
    opened = Platform.open(settings)
    opened.writer.start()
    yield opened
    opened.close()


@pytest.fixture
def integrate(platform):
    """On PostgreSQL an entry has its number when it was sequenced."""
    sequencer = Sequencer(platform.ledger, platform.records)

    def _integrate():
        if platform.records.dialect == "postgresql":
            while sequencer.run_once():
                pass

    return _integrate


@pytest.fixture
def record(platform, integrate):
    def _record(subject="person:per_1", action="ledger:entry:read", **changes):
        draft = {
            "tenant": "default", "kind": "decision", "subject": subject, "action": action, "asset": "System:vallum",
            "effect": "allow", "outcome": "ok", **changes,
        }  # fmt: skip
        with platform.records.write() as conn:
            (receipt,) = platform.ledger.append(conn, [EntryDraft(**draft)])
        integrate()
        return receipt.entry_id

    return _record


@pytest.fixture
def perform(platform):
    routes = {route.name: route for route in ROUTES}

    def _perform(name, subject=None, path=None, **body):
        route = routes[name]
        call = Call(
            path=path or {},
            query=msgspec.convert(body, route.query) if route.query else None,
            body=msgspec.convert(body, route.body) if route.body else None,
            subject=subject,
        )
        if subject is None:
            return platform.perform(route, call).value
        return platform.control.perform(route, call).value

    return _perform
