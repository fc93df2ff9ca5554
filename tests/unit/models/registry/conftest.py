"""A platform on a real database with its blobs in a folder, people who act, and models to upload."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from registered_models import person, tensors
from sqlalchemy import text

from vallum.api import ROUTES, Call, RawBody
from vallum.compose import Platform, prepare
from vallum.kernel.errors import Conflict
from vallum.models.registry import service
from vallum.models.scan.forks import Scanner
from vallum.settings import load_settings


@dataclass(frozen=True)
class SharedScanner:
    """That of the session, which outlives the platform that closes it."""

    scanner: Scanner

    def scan(self, folder, starts_in):
        return self.scanner.scan(folder, starts_in)

    def close(self):
        pass


ROUTE = {route.name: route for route in ROUTES}


@pytest.fixture
def settings(migrated_url, tmp_path):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


@pytest.fixture(scope="session")
def scanner():
    """One for every platform here, as a server has one for every version: to start it costs more than most tests."""
    made = Scanner()
    yield made
    made.close()


@pytest.fixture
def platform(settings, scanner, monkeypatch):
    monkeypatch.setattr(service, "Scanner", lambda: SharedScanner(scanner))
    prepare(settings)
    opened = Platform.open(settings)
    opened.writer.start()
    yield opened
    opened.close()


@pytest.fixture
def registry(platform):
    return platform.control.services.models


@pytest.fixture
def dana():
    """Uploads."""
    return person("dana", "ml_engineer")


@pytest.fixture
def rita():
    """Reviews."""
    return person("rita", "approver")


@pytest.fixture
def person_of():
    return person


@pytest.fixture
def sequenced(platform):
    """Entries have their numbers: on PostgreSQL somebody else gives them out."""

    def _sequenced():
        with platform.records.write() as conn:
            platform.ledger.sequence(conn, 10_000)

    return _sequenced


@pytest.fixture
def perform(platform):
    def _perform(route_name, subject, path=None, /, raw=None, **body):
        route = ROUTE[route_name]
        given = None
        if raw is not None:
            given = RawBody(iter([raw]) if isinstance(raw, bytes) else raw)
        elif route.body:
            given = msgspec.convert(body, route.body)
        query = msgspec.convert(body, route.query) if route.query else None
        return platform.control.perform(route, Call(path=path or {}, query=query, body=given, subject=subject)).value

    return _perform


@pytest.fixture
def begin(perform, dana):
    def _begin(model="churn", subject=None):
        with suppress(Conflict):
            perform("register_model", subject or dana, name=model)
        return perform("begin_model_upload", subject or dana, {"name": model}, source="a training run")

    return _begin


@pytest.fixture
def send(perform, dana):
    def _send(upload, path, raw, subject=None):
        where = {"name": upload.model, "upload": upload.id, "path": path}
        return perform("upload_model_file", subject or dana, where, raw=raw)

    return _send


@pytest.fixture
def complete(perform, dana):
    def _complete(upload, subject=None):
        return perform("complete_model_upload", subject or dana, {"name": upload.model, "upload": upload.id})

    return _complete


@pytest.fixture
def uploaded(begin, send, complete):
    """A version of these files."""

    def _uploaded(files=None, model="churn"):
        upload = begin(model)
        for path, raw in (files or {"model.safetensors": tensors(), "nested/config.json": b'{"layers": 2}'}).items():
            send(upload, path, raw)
        return complete(upload)

    return _uploaded


@pytest.fixture
def entries(platform):
    """What the ledger has of an action, the oldest first."""

    def _entries(action):
        with platform.records.read() as conn:
            table = conn.execute(text("SELECT canonical FROM ledger_entries ORDER BY position")).scalars().all()
        found = [msgspec.json.decode(bytes(raw)) for raw in table]
        return [one for one in found if one["action"] == action]

    return _entries


@pytest.fixture
def blobs(settings):
    """The files that the blob store's folder holds of models."""

    def _blobs():
        folder = Path(settings.data) / "blobs" / "models"
        return sorted(path for path in folder.rglob("*") if path.is_file())

    return _blobs
