"""A platform on a real database with its blobs in a folder, stewards and readers, and sources to take in."""

import io
from contextlib import suppress
from pathlib import Path

import msgspec
import polars as pl
import pytest
from governed_data import contract, visits
from registered_models import person
from sqlalchemy import text

from vallum.api import ROUTES, Call, RawBody
from vallum.compose import Platform, prepare
from vallum.kernel.errors import Conflict
from vallum.settings import load_settings

ROUTE = {route.name: route for route in ROUTES}


@pytest.fixture
def settings(migrated_url, tmp_path):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


@pytest.fixture
def platform(settings):
    prepare(settings)
    opened = Platform.open(settings)
    opened.writer.start()
    yield opened
    opened.close()


@pytest.fixture
def catalogue(platform):
    return platform.control.services.data


@pytest.fixture
def stella():
    """Takes in."""
    return person("stella", "data_steward")


@pytest.fixture
def stan():
    """Another steward."""
    return person("stan", "data_steward")


@pytest.fixture
def mel():
    """Trains."""
    return person("mel", "ml_engineer")


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
def begin(perform, stella):
    def _begin(agreed=None, *, name="visits", file_name="visits.csv", purpose="", by=None):
        with suppress(Conflict):
            perform("create_data_set", by or stella, name=name)
        agreed = (agreed or contract()).decode()
        body = {"file_name": file_name, "contract": agreed, "purpose": purpose}
        return perform("begin_data_intake", by or stella, {"name": name}, **body)

    return _begin


@pytest.fixture
def send(perform, stella):
    def _send(intake, raw, by=None):
        perform("send_data_source", by or stella, {"name": intake.dataset, "intake": intake.id}, raw=raw)

    return _send


@pytest.fixture
def complete(perform, stella):
    def _complete(intake, by=None):
        return perform("complete_data_intake", by or stella, {"name": intake.dataset, "intake": intake.id})

    return _complete


@pytest.fixture
def taken_in(begin, send, complete):
    """A version of this source."""

    def _taken_in(raw=None, agreed=None, **options):
        intake = begin(agreed, **options)
        send(intake, raw if raw is not None else visits(), options.get("by"))
        return complete(intake, options.get("by"))

    return _taken_in


@pytest.fixture
def rows(perform):
    """What somebody gets of a version, as a Polars frame."""

    def _rows(subject, version, route="read_data_rows", **query):
        path = {"name": version.dataset, "number": str(version.number)}
        got = perform(route, subject, path, **query)
        return pl.read_ipc_stream(io.BytesIO(b"".join(got.chunks)))

    return _rows


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
    """The files that the blob store's folder holds of data sets."""

    def _blobs():
        folder = Path(settings.data) / "blobs" / "data"
        return sorted(path for path in folder.rglob("*") if path.is_file())

    return _blobs
