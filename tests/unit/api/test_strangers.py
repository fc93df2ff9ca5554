"""Somebody of another tenant: what is there answers as what is not, on every route of models, data and releases."""

import re
from dataclasses import replace

import msgspec
import pytest
from governed_data import contract, visits
from registered_models import person, tensors

from vallum.api import ROUTES, Call, RawBody
from vallum.api.problems import problem_of
from vallum.compose import Platform, prepare
from vallum.data.catalogue.private_statistics import Count
from vallum.kernel.errors import VallumError
from vallum.kernel.gate import AccessDenied
from vallum.releases import Declaration, Wanted
from vallum.settings import load_settings

ROUTE = {route.name: route for route in ROUTES}
EVERYTHING = ("ml_engineer", "security", "administrator", "approver", "data_steward", "auditor")
STRANGER = replace(person("mallory", *EVERYTHING), tenant="elsewhere")
FAMILIES = (
    "/registered-models/{",
    "/data-sets/{",
    "/data-quarantine/{",
    "/releases/{",
    "/promotions/{",
    "/environments/{",
)
NAMED = [route for route in ROUTES if route.path.startswith(FAMILIES)]


class Sent:
    """A body that says something under every name, for what a route asks of it before it is decided."""

    parents, query, size = {}, Count(), 1

    def __getattr__(self, name):
        return "said"


@pytest.fixture
def platform(migrated_url, tmp_path):
    settings = load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})
    prepare(settings)
    opened = Platform.open(settings)
    opened.writer.start()
    yield opened
    opened.close()


def perform(platform, route_name, subject, path, /, raw=None, **body):
    route = ROUTE[route_name]
    given = RawBody(iter([raw])) if raw is not None else msgspec.convert(body, route.body) if route.body else None
    return platform.control.perform(route, Call(path=path, body=given, subject=subject)).value


@pytest.fixture
def there(platform):
    """A name for every part of a path that leads to something."""
    dana, stella = person("dana", "ml_engineer"), person("stella", "data_steward")
    perform(platform, "register_model", dana, {}, name="churn")
    upload = perform(platform, "begin_model_upload", dana, {"name": "churn"}, source="a run")
    where = {"name": "churn", "upload": upload.id}
    perform(platform, "upload_model_file", dana, {**where, "path": "model.safetensors"}, raw=tensors())
    perform(platform, "complete_model_upload", dana, where)
    waiting = perform(platform, "begin_model_upload", dana, {"name": "churn"}, source="a run")

    perform(platform, "create_data_set", stella, {}, name="visits")
    asked = {"file_name": "visits.csv", "contract": contract().decode(), "purpose": "care"}
    intake = perform(platform, "begin_data_intake", stella, {"name": "visits"}, **asked)
    where = {"name": "visits", "intake": intake.id}
    perform(platform, "send_data_source", stella, where, raw=visits(spoil=(3,)))
    perform(platform, "complete_data_intake", stella, where)
    left = perform(platform, "begin_data_intake", stella, {"name": "visits"}, **asked)

    releases = platform.control.services.releases
    with platform.records.write() as conn:
        (case,) = platform.control.services.data.desk.cases(conn)
        wanted = msgspec.convert({"product": "desk", "models": [{"name": "churn", "version": 1}]}, Declaration)
        release = releases.catalogue.build(conn, wanted, dana)
        promotion = releases.promotions.request(
            conn, Wanted(release=release.id, environment="dev", reason="x" * 20), dana
        )
    return {
        "registered-models": {"name": "churn", "number": "1", "upload": waiting.id, "path": "model.safetensors"},
        "data-sets": {"name": "visits", "number": "1", "intake": left.id, "erasure": "era_any"},
        "data-quarantine": {"case": case.id},
        "releases": {"id": release.id},
        "promotions": {"id": promotion.id},
        "environments": {"environment": "dev", "product": "desk"},
    }


def answered(platform, route, path):
    body = Sent() if route.body is not None else None
    with pytest.raises(VallumError) as refused:
        platform.control.perform(route, Call(path=path, query=Sent(), body=body, subject=STRANGER))
    return msgspec.structs.replace(problem_of(refused.value), entry=None)


def test_what_is_there_answers_as_what_is_not(platform, there):
    said = set()
    for route in NAMED:
        names = re.findall(r"{([a-z]+)(?:\.\.\.)?}", route.path)
        present = {**{"begin": "0"}, **there[route.path.split("/")[1]]}
        first = names[0]
        nowhere = {**present, first: "rel_nowhere" if first in ("id", "case") else "nowhere"}
        here, absent = answered(platform, route, present), answered(platform, route, nowhere)
        assert here == absent, route.name
        said.add((here.status, here.code, here.detail, here.obligations))
    assert len(NAMED) > 60
    assert said == {(403, "denied", "there is no such asset", ())}


def test_nothing_is_led_to_by_a_second_name(platform, there):
    """A release of one's own, beside another tenant's that the query names."""
    (release,) = [there["releases"]["id"]]
    with platform.records.write() as conn:
        wanted = msgspec.convert({"product": "other", "models": [{"name": "churn", "version": 1}]}, Declaration)
        mine = platform.control.services.releases.catalogue.build(conn, wanted, STRANGER)
    route = ROUTE["diff_releases"]
    said = []
    for other in (release, "rel_nowhere"):
        query = msgspec.convert({"other": other}, route.query)
        with pytest.raises(VallumError) as refused:
            platform.control.perform(route, Call(path={"id": mine.id}, query=query, subject=STRANGER))
        problem = problem_of(refused.value)
        said.append((problem.status, problem.code, problem.detail.replace(other, "ID")))
    assert said[0] == said[1] == (404, "not_found", "there is no release ID")


def test_what_forbids_something_of_ones_own_tenant_is_named(platform, there):
    """Whoever asked for a promotion learns why they do not decide about it; a stranger learns nothing (above)."""
    dana = person("dana", "ml_engineer", "approver")
    with pytest.raises(AccessDenied, match=r"^forbidden by policy somebody-else-decides-promotions$"):
        perform(platform, "approve_promotion", dana, there["promotions"])
