"""Large files arrive in parts: who is cut off goes on, and nobody makes a file of others' or swapped parts."""

import hashlib
import resource
import signal
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from registered_models import harmful, tensors
from sqlalchemy import select, update

from vallum.background import expire_uploads
from vallum.client import models as client_models
from vallum.client.models import upload_model
from vallum.kernel.errors import Invalid, NotFound, Unavailable
from vallum.models.registry import PartOutOfStep, UploadBusy, UploadDigestDiffers, UploadTooLarge, VersionDamaged
from vallum.models.registry import records as table

PATH = "model-00001-of-00002.safetensors"
RAW = tensors(300_000)
CUTS = (0, 100_000, 200_001, len(RAW))


@pytest.fixture
def part(perform, dana):
    def _part(upload, begin, raw, path=PATH, subject=None):
        where = {"name": upload.model, "upload": upload.id, "begin": str(begin), "path": path}
        return perform("upload_model_part", subject or dana, where, raw=raw)

    return _part


@pytest.fixture
def join(perform, dana):
    def _join(upload, raw, path=PATH, subject=None, **said):
        where = {"name": upload.model, "upload": upload.id, "path": path}
        given = {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), **said}
        return perform("join_model_parts", subject or dana, where, **given)

    return _join


@pytest.fixture
def sent(part):
    def _sent(upload, raw=RAW, cuts=CUTS, path=PATH):
        return [part(upload, low, raw[low:high], path) for low, high in pairwise(cuts)]

    return _sent


class Gone(Exception):
    pass


def forget(registry):
    """As another process, or this one after a restart."""
    registry.parts._running.clear()
    registry._artifacts._spooled.clear()


@pytest.mark.parametrize("is_other", [False, True])
def test_parts_become_a_file_that_comes_back(begin, sent, join, complete, registry, tmp_path, is_other, blobs, part):
    upload = begin()
    part(upload, 0, RAW[:100_000])
    if is_other:
        forget(registry)
    told = part(upload, 100_000, RAW[100_000:])
    assert (told.begin, told.size, told.sha256) == (100_000, len(RAW) - 100_000, hashlib.sha256(RAW).hexdigest())
    if is_other:
        forget(registry)
    assert join(upload, RAW).sha256 == told.sha256
    version = complete(upload)
    assert (version.state, [one.sha256 for one in version.files]) == ("available", [told.sha256])
    registry.checkout("churn", 1, tmp_path / "out")
    assert (tmp_path / "out" / PATH).read_bytes() == RAW
    assert b"".join(registry.download("churn", 1, PATH)) == RAW
    assert len(blobs()) == 2
    assert all(RAW[5000:5100] not in path.read_bytes() for path in blobs())


def test_who_is_cut_off_goes_on_after_the_last_part(begin, part, perform, dana, join, complete, settings):
    upload = begin()
    part(upload, 0, RAW[:100_000])

    def torn():
        yield RAW[100_000:150_000]
        raise Gone

    with pytest.raises(Gone):
        part(upload, 100_000, torn())
    assert len(list(settings.spool_path.iterdir())) == 1  # nothing of the half part
    there = perform("read_model_upload", dana, {"name": "churn", "upload": upload.id})
    assert there.files == ()
    (partial,) = there.partial
    assert [(one.begin, one.size) for one in partial.parts] == [(0, 100_000)]
    assert partial.parts[0].sha256 == hashlib.sha256(RAW[:100_000]).hexdigest()
    with pytest.raises(Invalid, match="has not arrived whole"):
        complete(upload)
    part(upload, 100_000, RAW[100_000:])
    join(upload, RAW)
    assert complete(upload).state == "available"


@pytest.mark.parametrize("start", [0, 99_999, 100_001, 1 << 40])
def test_a_part_that_is_not_the_next_is_refused_and_told_which_is(begin, part, start):
    upload = begin()
    part(upload, 0, RAW[:100_000])
    with pytest.raises(PartOutOfStep, match="byte 100000"):
        part(upload, start, RAW)


@pytest.mark.parametrize("start", ["-1", "x", "1e3", "", "9" * 30, "\u0661"])
def test_a_part_begins_at_a_number(begin, part, start):
    upload = begin()
    with pytest.raises(Invalid):
        part(upload, start, RAW)


def test_of_two_who_send_the_same_part_one_does(begin, registry, dana, platform):
    upload = begin()
    received = [registry.parts.receive("churn", upload.id, dana, PATH, 0, [raw]) for raw in (b"one", b"other")]
    with platform.records.write() as conn:
        registry.parts.keep(conn, received[1])
    with pytest.raises(PartOutOfStep), platform.records.write() as conn:
        registry.parts.keep(conn, received[0])


def test_a_file_of_other_bytes_than_were_named_is_not_made(begin, sent, join, complete, perform, dana):
    upload = begin()
    sent(upload)
    for said in ({"sha256": "0" * 64}, {"size": len(RAW) - 1}, {"size": 0, "sha256": hashlib.sha256().hexdigest()}):
        with pytest.raises(UploadDigestDiffers):
            join(upload, RAW, **said)
    with pytest.raises(UploadDigestDiffers):
        join(upload, RAW, path="nothing.bin")
    with pytest.raises(Invalid):
        complete(upload)
    perform("remove_model_file", dana, {"name": "churn", "upload": upload.id, "path": PATH})
    sent(upload)
    join(upload, RAW)
    assert complete(upload).state == "available"


def test_an_upload_and_its_parts_are_its_beginners_alone(begin, part, join, sent, person_of):
    upload = begin()
    sent(upload)
    other = person_of("emil", "ml_engineer")
    theirs = begin("other", subject=other)
    for work in (
        lambda: part(upload, len(RAW), b"more", subject=other),
        lambda: join(upload, RAW, subject=other),
    ):
        with pytest.raises(NotFound):
            work()
    with pytest.raises(UploadDigestDiffers):  # an upload of one's own has none of them
        join(theirs, RAW, subject=other)


@pytest.mark.parametrize("is_other", [False, True])
@pytest.mark.parametrize("change", ["swapped", "another upload's", "cut off", "lost", "made whole"])
def test_parts_that_were_moved_behind_the_back_make_nothing(
    begin, sent, join, complete, registry, platform, tmp_path, change, is_other
):
    upload, other = begin(), begin()
    sent(other, tensors(300_000))
    sent(upload)
    join(upload, RAW)
    p, f = table.parts, table.files
    with platform.records.write() as conn:
        rows = conn.execute(select(p).where(p.c.upload == upload.id).order_by(p.c.begin)).all()
        theirs = conn.execute(select(p.c.blob).where(p.c.upload == other.id).order_by(p.c.begin)).scalars().first()

        def put(begin, **values):
            conn.execute(update(p).where(p.c.upload == upload.id, p.c.begin == begin).values(**values))

        if change == "swapped":
            put(rows[0].begin, blob=rows[1].blob)
            put(rows[1].begin, blob=rows[0].blob)
        elif change == "another upload's":
            put(0, blob=theirs)
        elif change == "cut off":
            conn.execute(p.delete().where(p.c.upload == upload.id, p.c.begin == rows[2].begin))
        elif change == "made whole":
            conn.execute(update(f).where(f.c.upload == upload.id).values(blob=rows[0].blob))
        if is_other or change == "lost":
            forget(registry)
        if change == "lost":
            registry._artifacts._blobs.delete(rows[1].blob)
    if is_other or change == "lost":
        with pytest.raises(Invalid if change == "made whole" else VersionDamaged):
            complete(upload)
        return
    with pytest.raises((VersionDamaged, Invalid, Unavailable)):  # or seen when anything of it is loaded
        version = complete(upload)
        registry.checkout("churn", version.number, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_harm_that_is_spread_over_parts_is_found(begin, sent, join, complete):
    upload = begin()
    raw = harmful()
    sent(upload, raw, (0, 3, 7, len(raw)), "extra.pkl")
    join(upload, raw, "extra.pkl")
    assert complete(upload).state == "quarantined"


def test_too_much_is_refused_part_by_part(begin, part, registry, dana):
    upload = begin()
    registry.parts._max_upload_bytes = registry.uploads._max_upload_bytes = 150_000
    part(upload, 0, RAW[:100_000])
    with pytest.raises(UploadTooLarge):
        part(upload, 100_000, RAW[100_000:])
    with pytest.raises(UploadTooLarge):
        registry.uploads.receive("churn", upload.id, dana, "b.bin", [RAW[:60_000]])
    with pytest.raises(Invalid, match="at least one byte"):
        part(upload, 100_000, b"")


def test_of_tiny_parts_there_are_not_many(begin, part, registry, monkeypatch):
    from vallum.models.registry import parts

    monkeypatch.setattr(parts, "_MAX_PARTS", 2)
    registry.parts._max_upload_bytes = 1000
    upload = begin()
    part(upload, 0, b"a")
    part(upload, 1, b"b")
    with pytest.raises(UploadTooLarge, match="2 parts"):
        part(upload, 2, b"c")


def test_a_full_disk_keeps_what_was_acknowledged(begin, part, join, complete, registry, dana):
    upload = begin()
    part(upload, 0, RAW[:100_000])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(Unavailable):
            registry.parts.receive("churn", upload.id, dana, PATH, 100_000, [RAW[100_000:]])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    part(upload, 100_000, RAW[100_000:])
    join(upload, RAW)
    assert complete(upload).state == "available"


def test_what_is_never_finished_vanishes(begin, sent, platform, registry, perform, dana, blobs, monkeypatch):
    upload = begin()
    sent(upload)
    assert len(blobs()) == 3
    later = platform.clock.now() + timedelta(days=2)
    monkeypatch.setattr(registry.uploads, "_clock", type("Later", (), {"now": lambda self: later})())
    expire_uploads(platform)
    registry.uploads.tidy()
    assert blobs() == []
    with platform.records.read() as conn:
        assert conn.execute(select(table.parts)).all() == []
    with pytest.raises(NotFound):
        perform("read_model_upload", dana, {"name": "churn", "upload": upload.id})


def test_a_whole_file_and_parts_take_each_others_place(begin, sent, send, join, complete, perform, dana, part):
    upload = begin()
    sent(upload)
    send(upload, PATH, RAW)
    join_path = {"name": "churn", "upload": upload.id}
    assert perform("read_model_upload", dana, join_path).partial == ()
    other = tensors(9_000)
    part(upload, 0, other)
    join(upload, other)
    version = complete(upload)
    assert version.files[0].sha256 == hashlib.sha256(other).hexdigest()
    with pytest.raises(UploadBusy):
        part(upload, 0, other, "late.bin")


class Api:
    """What the client sends, done here; cut off after some parts."""

    def __init__(self, perform, subject, breaks_after=None):
        self._perform, self._subject, self.left, self.parts = perform, subject, breaks_after, []

    def perform(self, name, *, path=None, query=None, body=None):
        if name == "upload_model_part":
            if self.left == 0:
                raise ConnectionError
            self.left = None if self.left is None else self.left - 1
            self.parts.append(int(path["begin"]))
        raw = {"raw": body} if name in ("upload_model_file", "upload_model_part") else dict(body or {})
        return msgspec.to_builtins(self._perform(name, self._subject, path or {}, **raw))


def test_the_client_goes_on_inside_a_file(perform, dana, begin, tmp_path, monkeypatch, registry):
    monkeypatch.setattr(client_models, "PART_BYTES", 1 << 16)
    upload = begin()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / PATH).write_bytes(RAW)
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    cut = Api(perform, dana, breaks_after=2)
    with pytest.raises(ConnectionError):
        upload_model(cut, "churn", tmp_path / "model", resume=upload.id)
    forget(registry)
    again, done = Api(perform, dana), []
    version = upload_model(again, "churn", tmp_path / "model", resume=upload.id, progress=done.append)
    assert again.parts == [2 << 16, 3 << 16, 4 << 16]
    assert (version["state"], sum(done)) == ("available", len(RAW) + 2)


def test_the_client_begins_a_file_anew_that_is_another_now(perform, dana, begin, tmp_path, monkeypatch):
    monkeypatch.setattr(client_models, "PART_BYTES", 1 << 16)
    upload = begin()
    file = tmp_path / PATH
    file.write_bytes(RAW)
    with pytest.raises(ConnectionError):
        upload_model(Api(perform, dana, breaks_after=2), "churn", file, resume=upload.id)
    other = tensors(200_000)
    file.write_bytes(other)
    version = upload_model(Api(perform, dana), "churn", file, resume=upload.id)
    assert version["files"][0]["sha256"] == hashlib.sha256(other).hexdigest()
