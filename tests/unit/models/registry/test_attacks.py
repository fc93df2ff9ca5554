"""Whoever writes into the database or the blob store, or guesses names, gets not a byte, and an alert is there."""

import json

import pytest
from registered_models import harmful, person, tensors, unknown
from sqlalchemy import delete, insert, select, update

from vallum.kernel.errors import Denied, IntegrityError, NotFound
from vallum.kernel.values import Subject, SubjectKind, TenantId
from vallum.models.registry import VerdictUnproven
from vallum.models.registry import records as table
from vallum.models.signing import ModelDiffers

FILES = {"a.json": b'{"a": 1}', "model.safetensors": tensors(5_000)}
NOTE = "read byte by byte, it is the tokenizer's table"


@pytest.fixture
def write(platform):
    """Behind the registry's back."""

    def _write(*statements):
        with platform.records.write() as conn:
            for statement in statements:
                conn.execute(statement)

    return _write


@pytest.fixture
def refused(registry, perform, dana, tmp_path, entries):
    """Neither loaded nor downloaded, with an alert about it."""

    def _refused(number, path, error=IntegrityError):
        with pytest.raises(error):
            registry.checkout("churn", number, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        with pytest.raises(error):
            perform("download_model_file", dana, {"name": "churn", "number": str(number), "path": path})
        alerts = [one for one in entries("models:version:damaged") if one["asset"] == f"ModelVersion:churn/{number}"]
        assert alerts
        assert {one["kind"] for one in alerts} == {"alert"}
        assert len({one["context"]["error"] for one in alerts}) == len(alerts)  # once for each thing that is wrong

    return _refused


def of(number):
    return update(table.versions).where(table.versions.c.number == number)


# A verdict, a state or a review that nobody gave.


@pytest.mark.parametrize("extra", [harmful(), unknown()], ids=["block", "review"])
@pytest.mark.parametrize("verdict", ["pass", "review", "block"])
def test_a_version_that_the_database_lets_out_of_quarantine_is_not_loaded(uploaded, write, refused, extra, verdict):
    assert uploaded({**FILES, "extra.pkl": extra}).state == "quarantined"
    write(of(1).values(state="available", verdict=verdict, findings=b"[]", reviewed_by="person:per_rita"))
    refused(1, "a.json", VerdictUnproven)


def test_a_review_of_another_version_lets_nothing_out(uploaded, write, refused, perform, rita, platform):
    for _ in range(2):
        uploaded({"odd.bin": unknown()})
    perform("review_model_version", rita, {"name": "churn", "number": "1"}, decision="release", note=NOTE)
    a = table.attestations
    with platform.records.read() as conn:
        theirs = conn.execute(select(a).where(a.c.number == 1).order_by(a.c.id.desc()).limit(1)).one()._mapping
    write(
        insert(a).values({**theirs, "id": "att_x", "number": 2}),
        of(2).values(state="available", reviewed_by="person:per_rita"),
    )
    refused(2, "odd.bin", VerdictUnproven)


def test_a_version_that_was_reviewed_is_loaded(uploaded, perform, registry, rita, tmp_path):
    uploaded({"odd.bin": unknown()})
    perform("review_model_version", rita, {"name": "churn", "number": "1"}, decision="release", note=NOTE)
    registry.checkout("churn", 1, tmp_path / "out")


@pytest.mark.parametrize("change", ["gone", "edited", "another's"])
def test_a_scan_that_is_not_attested_passed_nothing(uploaded, write, refused, platform, change):
    uploaded(FILES)
    uploaded({"a.json": b"{}"})
    a = table.attestations
    with platform.records.read() as conn:
        one, other = (bytes(row.envelope) for row in conn.execute(select(a).order_by(a.c.number)))
    forged = json.loads(one)
    forged["payload"] = json.loads(other)["payload"]
    first = a.c.number == 1
    write(
        {
            "gone": delete(a).where(first),
            "edited": update(a).where(first).values(envelope=json.dumps(forged).encode()),
            "another's": update(a).where(first).values(envelope=other),
        }[change]
    )
    refused(1, "a.json", VerdictUnproven)


@pytest.mark.parametrize("how", ["revoked", "rejected"])
def test_what_was_revoked_comes_back_by_no_row(uploaded, write, refused, perform, dana, rita, sequenced, how):
    where = {"name": "churn", "number": "1"}
    if how == "revoked":
        uploaded(FILES)
        perform("download_model_file", dana, {**where, "path": "a.json"})  # found to be as it was signed
        perform("revoke_model_version", rita, where, reason=NOTE)
    else:
        uploaded({"a.json": b"{}", "odd.bin": unknown()})
        perform("review_model_version", rita, where, decision="reject", note=NOTE)
    sequenced()
    write(of(1).values(state="available", revoked_by=None, revoked_reason=""))
    refused(1, "a.json", VerdictUnproven)


# A file, a digest or a signature that was put in another's place.


@pytest.mark.parametrize("change", ["digest", "bundle", "signer", "sha256", "size", "blob", "extra", "upload"])
def test_an_edited_row_gives_nobody_a_byte(
    uploaded, write, refused, platform, registry, perform, dana, change, tmp_path
):
    uploaded(FILES)
    uploaded({"a.json": b'{"a": 2}', "b.json": b"{}"})
    v, f = table.versions, table.files
    with platform.records.read() as conn:
        one, two = conn.execute(select(v).order_by(v.c.number)).all()
        theirs = conn.execute(select(f).where(f.c.upload == two.upload, f.c.path == "a.json")).one()
    mine = update(f).where(f.c.upload == one.upload, f.c.path == "a.json")
    write(
        {
            "digest": of(1).values(digest=two.digest),
            "bundle": of(1).values(bundle=two.bundle),
            "signer": of(1).values(signer="ci"),
            "sha256": mine.values(sha256=theirs.sha256),
            "size": mine.values(size=3),
            "blob": mine.values(blob=theirs.blob),
            "extra": insert(f).values(upload=one.upload, path="x.json", sha256="0" * 64, size=2, blob=theirs.blob),
            "upload": of(1).values(upload=two.upload),
        }[change]
    )
    if change in ("size", "blob"):  # seen when it is opened
        answer = perform("download_model_file", dana, {"name": "churn", "number": "1", "path": "a.json"})
        with pytest.raises(IntegrityError):
            list(answer.chunks)
        with pytest.raises(IntegrityError):
            registry.checkout("churn", 1, tmp_path / "out")
        return
    refused(1, "x.json" if change == "extra" else "a.json")


def test_what_was_verified_once_is_verified_again_when_it_changed(uploaded, write, registry, tmp_path):
    uploaded(FILES)
    registry.checkout("churn", 1, tmp_path / "before")
    f = table.files
    write(update(f).where(f.c.path == "a.json").values(path="b.json"))
    with pytest.raises(ModelDiffers):
        registry.checkout("churn", 1, tmp_path / "after")


# Somebody of another tenant.


def test_another_tenants_people_find_nothing_by_name(uploaded, begin, perform, registry):
    uploaded(FILES)
    upload = begin()
    mallory = person("mallory", "ml_engineer", "security", "administrator", "approver")
    stranger = Subject(SubjectKind.PERSON, mallory.id, TenantId("elsewhere"), mallory.roles,
                       holder=mallory.holder, mfa_at_seconds=mallory.mfa_at_seconds)  # fmt: skip
    version, model = {"name": "churn", "number": "1"}, {"name": "churn"}
    mine = {"name": "churn", "upload": upload.id}
    said = set()
    for route, path, body in (
        ("read_registered_model", model, {}), ("list_model_versions", model, {}), ("read_model_version", version, {}),
        ("download_model_file", {**version, "path": "a.json"}, {}), ("read_model_signature", version, {}),
        ("read_model_card", version, {}), ("read_model_bom", version, {}), ("read_model_dependencies", version, {}),
        ("list_model_attestations", version, {}), ("attest_model_version", version, {"envelope": "e30="}),
        ("revoke_model_version", version, {"reason": NOTE}), ("begin_model_upload", model, {}),
        ("review_model_version", version, {"decision": "reject", "note": NOTE}),
        ("read_model_upload", mine, {}), ("complete_model_upload", mine, {}), ("abandon_model_upload", mine, {}),
        ("remove_model_file", {**mine, "path": "a.json"}, {}),
    ):  # fmt: skip
        with pytest.raises((Denied, NotFound)) as refused:
            perform(route, stranger, path, **body)
        there = str(refused.value)
        with pytest.raises((Denied, NotFound)) as absent:
            perform(route, stranger, {**path, "name": "nowhere"}, **body)
        said.add((there, str(absent.value)))
    assert said == {("there is no such asset",) * 2}  # what is there sounds like what is not: no name, and no state
