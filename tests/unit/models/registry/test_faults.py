"""Lost, cut, altered and swapped blobs, a full disk, a scanner that dies, a signer without key: closed, and clear."""

import os
import resource
import signal
import sys
import time
from datetime import timedelta

import pytest
from registered_models import tensors, unknown
from sqlalchemy import select, text, update

from vallum.background import expire_uploads
from vallum.kernel.errors import IntegrityError, Invalid, NotFound, Unavailable
from vallum.kernel.keys import DEFAULT_TENANT, KeyDestroyed, Purpose
from vallum.models.registry import UploadBusy, VersionDamaged
from vallum.models.registry import records as table
from vallum.models.registry.artifacts import sweep_spool
from vallum.models.signing import ModelDiffers, SignatureRefused

FILES = {"a.json": b'{"a": 1}', "model.safetensors": tensors(300_000)}


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path):
    os.truncate(path, path.stat().st_size - 20)


def add(path):
    with path.open("ab") as out:
        out.write(b"\0")


def empty(path):
    os.truncate(path, 0)


# What happens to blobs.


@pytest.mark.parametrize("damage", [flip, cut, add, empty, os.unlink])
def test_a_damaged_blob_is_loaded_by_nobody(uploaded, blobs, registry, perform, tmp_path, dana, damage):
    uploaded(FILES)
    damage(max(blobs(), key=lambda path: path.stat().st_size))
    with pytest.raises(VersionDamaged, match=r"model\.safetensors"):
        registry.checkout("churn", 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()  # not even the file that was whole
    answer = perform("download_model_file", dana, {"name": "churn", "number": "1", "path": "model.safetensors"})
    with pytest.raises(VersionDamaged):
        list(answer.chunks)


def test_two_blobs_that_were_swapped_open_in_neithers_place(uploaded, blobs, registry, tmp_path):
    uploaded({"a.json": b'{"a": 1}', "b.json": b'{"a": 2}'})
    one, other = blobs()
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(VersionDamaged):
        registry.checkout("churn", 1, tmp_path / "out")


def test_a_blob_of_another_version_does_not_open(uploaded, blobs, registry, platform, tmp_path):
    uploaded({"a.json": b'{"a": 1}'})
    (first,) = blobs()
    uploaded({"a.json": b'{"a": 2}'})
    second = next(path for path in blobs() if path != first)
    second.write_bytes(first.read_bytes())
    with pytest.raises(VersionDamaged):
        registry.checkout("churn", 2, tmp_path / "out")


# What somebody writes into the database.


@pytest.mark.parametrize("change", ["upload", "digest", "bundle", "signer", "path", "sha256", "key"])
def test_an_edited_database_loads_nothing(uploaded, registry, platform, tmp_path, change):
    uploaded({"a.json": b'{"a": 1}', "b.json": b'{"a": 2}'})
    uploaded({"a.json": b'{"a": 3}', "b.json": b'{"a": 4}'})
    v, f, u = table.versions, table.files, table.uploads
    with platform.records.write() as conn:
        one, two = conn.execute(select(v).order_by(v.c.number)).all()
        mine = update(v).where(v.c.number == 2)
        key = conn.execute(select(u.c.sealed_key).where(u.c.id == one.upload)).scalar_one()
        statement = {
            "upload": mine.values(upload=one.upload),
            "digest": mine.values(digest=one.digest),
            "bundle": mine.values(bundle=one.bundle),
            "signer": mine.values(signer="somebody"),
            "path": update(f).where(f.c.upload == two.upload, f.c.path == "b.json").values(path="c.json"),
            "sha256": update(f).where(f.c.upload == two.upload, f.c.path == "b.json").values(sha256="0" * 64),
            "key": update(u).where(u.c.id == two.upload).values(sealed_key=key),
        }[change]
        conn.execute(statement)
    with pytest.raises(IntegrityError) as refused:
        registry.checkout("churn", 2, tmp_path / "out")
    assert isinstance(refused.value, (ModelDiffers, SignatureRefused, IntegrityError))
    assert not (tmp_path / "out").exists()
    registry.checkout("churn", 1, tmp_path / "other")


def test_a_folder_of_somebody_elses_is_not_written_into(uploaded, registry, tmp_path, blobs):
    uploaded({"a.json": b"{}"})
    full, shared, link, private = (tmp_path / name for name in ("full", "shared", "link", "private"))
    full.mkdir(mode=0o700)
    (full / "kept").write_text("mine")
    shared.mkdir(mode=0o755)
    private.mkdir(mode=0o700)
    link.symlink_to(private)
    for refused in (full, shared, link):
        with pytest.raises(Invalid, match="checked out into"):
            registry.checkout("churn", 1, refused)
    assert (full / "kept").read_text() == "mine"
    registry.checkout("churn", 1, private)
    assert (private / "a.json").read_bytes() == b"{}"
    flip(blobs()[0])
    again = tmp_path / "again"
    again.mkdir(mode=0o700)
    with pytest.raises(VersionDamaged):
        registry.checkout("churn", 1, again)
    assert not list(again.iterdir())


# While a model arrives.


class Gone(Exception):
    pass


def breaking(count):
    for _ in range(count):
        yield os.urandom(1 << 20)
    raise Gone


@pytest.mark.parametrize("pieces", [0, 1, 12])
def test_a_sender_who_leaves_leaves_nothing(begin, perform, dana, blobs, settings, pieces):
    upload = begin()
    with pytest.raises(Gone):
        perform("upload_model_file", dana, {"name": "churn", "upload": upload.id, "path": "a"}, raw=breaking(pieces))
    assert blobs() == []
    assert not list(settings.spool_path.iterdir())
    assert perform("read_model_upload", dana, {"name": "churn", "upload": upload.id}).files == ()


def test_a_file_that_breaks_off_leaves_the_former_one(begin, send, perform, dana, complete, registry, tmp_path):
    upload = begin()
    send(upload, "a.json", b'{"a": 1}')
    with pytest.raises(Gone):
        perform("upload_model_file", dana, {"name": "churn", "upload": upload.id, "path": "a.json"}, raw=breaking(2))
    complete(upload)
    registry.checkout("churn", 1, tmp_path / "out")
    assert (tmp_path / "out" / "a.json").read_bytes() == b'{"a": 1}'


class FullStore:
    """The real store, whose disk fills up."""

    def __init__(self, blobs, writes=True):
        self._blobs = blobs
        self.is_full = writes

    def put_stream(self, name, chunks):
        if self.is_full:
            for number, _ in enumerate(chunks):
                if number == 2:
                    break
            raise Unavailable("the blob store did not write: check that it is there and writable")
        self._blobs.put_stream(name, chunks)

    def __getattr__(self, name):
        return getattr(self._blobs, name)


def test_a_full_store_refuses_and_the_upload_goes_on_later(begin, send, complete, registry, settings, blobs):
    upload = begin()
    artifacts = registry._artifacts
    store = artifacts._blobs = FullStore(artifacts._blobs)
    with pytest.raises(Unavailable):
        send(upload, "model.safetensors", tensors(5_000_000))
    assert blobs() == []
    assert not list(settings.spool_path.iterdir())
    store.is_full = False
    send(upload, "model.safetensors", tensors())
    assert complete(upload).state == "available"


@pytest.fixture
def small_files():
    """No file of this process grows past 100 000 bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, former)


def test_no_room_for_what_arrives_leaves_nothing(begin, registry, dana, blobs, request, settings):
    upload = begin()
    with registry._records.read() as conn:
        conn.execute(text("SELECT 1"))
    request.getfixturevalue("small_files")
    with pytest.raises(Unavailable, match="cannot be written"):
        registry.uploads.receive("churn", upload.id, dana, "a", iter([b"x" * (1 << 20)] * 3))
    assert blobs() == []
    assert not list(settings.spool_path.iterdir())


def test_no_room_to_check_out_leaves_nothing(uploaded, registry, tmp_path, request):
    uploaded(FILES)
    request.getfixturevalue("small_files")
    with pytest.raises(Unavailable, match="cannot be written"):
        registry.checkout("churn", 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# While it is scanned and signed.


def test_a_scanner_that_cannot_run_decides_nothing(begin, send, complete, monkeypatch, perform, dana, scanner):
    scanner.close()  # so that it starts anew
    upload = begin()
    send(upload, "model.safetensors", tensors())
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/nonexistent/python")
        with pytest.raises(Unavailable, match="scanner"):
            complete(upload)
    assert perform("list_model_versions", dana, {"name": "churn"}) == []
    assert complete(upload).state == "available"


def test_a_scanner_that_dies_passes_nothing(begin, send, complete, monkeypatch, scanner):
    scanner.close()  # so that it starts anew
    upload = begin()
    send(upload, "model.safetensors", tensors())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    version = complete(upload)
    assert (version.state, version.verdict) == ("quarantined", "review")
    assert {finding.technique for finding in version.findings} == {"scanner-error"}
    assert version.findings[0].place == "model.safetensors"


def test_a_signer_without_key_signs_nothing(begin, send, uploaded, platform, registry, dana):
    """Asked below the gate: the ledger's own key has the same purpose, and is gone with it."""
    uploaded({"a.json": b"{}"})
    upload = begin()
    send(upload, "a.json", b"{}")
    with platform.records.write() as conn:
        platform.keyring.destroy(conn, DEFAULT_TENANT, Purpose.SIGNING, current=True)
    platform.keyring.refresh()
    completion = registry.uploads.complete("churn", upload.id, dana)
    with pytest.raises(KeyDestroyed), platform.records.write() as conn:
        registry.finish(conn, completion)
    with platform.records.read() as conn:
        assert [version.number for version in registry.versions(conn, "churn")] == [1]


def test_what_is_scanned_is_what_was_hashed_and_not_what_lies_in_the_spool(begin, send, complete, registry, settings):
    """A process that did not spool it itself opens the sealed blobs."""
    upload = begin()
    send(upload, "model.bin", unknown())
    (spooled,) = settings.spool_path.iterdir()
    spooled.write_bytes(b"{}")
    registry._artifacts._spooled.clear()  # as another process, or this one started again
    assert complete(upload).verdict == "review"


def swap(path):
    """Another file in its place, of the same size."""
    other = path.with_name("other")
    other.write_bytes(b"{" + b" " * (path.stat().st_size - 2) + b"}")
    other.rename(path)


def overwrite(path):
    """The same file, of the same size and with the same time of its last change, as far as a user may set it."""
    before = path.stat()
    with path.open("r+b") as out:
        out.write(b"{" + b" " * (before.st_size - 2) + b"}")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def link(path):
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)


SPOOL_ATTACKS = [swap, overwrite, link, cut, add, empty, os.unlink]


@pytest.mark.parametrize("attack", SPOOL_ATTACKS)
def test_a_spool_that_was_changed_is_not_what_is_scanned(begin, send, complete, settings, attack):
    """The bytes that are stored are no pass, and another file that would be one is put into the scanner's way."""
    upload = begin()
    send(upload, "model.bin", unknown())
    (spooled,) = settings.spool_path.iterdir()
    time.sleep(0.02)  # the clock of files has ticks
    attack(spooled)
    version = complete(upload)
    assert (version.state, version.verdict) == ("quarantined", "review")
    assert {finding.technique for finding in version.findings} == {"unknown-format"}


@pytest.mark.parametrize("attack", SPOOL_ATTACKS)
def test_a_file_that_is_changed_while_it_is_scanned_is_no_verdict(
    begin, send, complete, registry, monkeypatch, perform, dana, attack
):
    upload = begin()
    send(upload, "model.bin", unknown())
    scan = registry.uploads._scan

    def attacked(folder, starts_in):
        time.sleep(0.02)
        attack(folder / "model.bin")
        return scan(folder, starts_in)

    with monkeypatch.context() as patched:
        patched.setattr(registry.uploads, "_scan", attacked)
        with pytest.raises(Unavailable, match="nothing was decided"):
            complete(upload)
    assert perform("list_model_versions", dana, {"name": "churn"}) == []
    assert complete(upload).verdict == "review"  # from its blob, which nobody touched


def test_an_upload_outlives_its_spool_and_its_process(begin, send, complete, registry, settings):
    upload = begin()
    send(upload, "model.safetensors", tensors())
    for path in settings.spool_path.iterdir():
        os.utime(path, (0, 0))
    sweep_spool(settings.spool_path)
    assert not list(settings.spool_path.iterdir())
    assert complete(upload).state == "available"


def test_a_completion_whose_process_died_is_taken_over(begin, send, complete, registry, platform):
    upload = begin()
    send(upload, "a.json", b"{}")
    u = table.uploads
    with platform.records.write() as conn:
        conn.execute(update(u).values(state="completing", claim="clm_dead"))
    with pytest.raises(UploadBusy):
        complete(upload)
    with platform.records.write() as conn:
        conn.execute(update(u).values(touched_at_seconds=u.c.touched_at_seconds - 301))
    assert complete(upload).state == "available"


def test_who_lost_the_claim_makes_no_version(begin, send, registry, platform, dana, complete):
    upload = begin()
    send(upload, "a.json", b"{}")
    slow = registry.uploads.complete("churn", upload.id, dana)
    with platform.records.write() as conn:
        conn.execute(update(table.uploads).values(touched_at_seconds=table.uploads.c.touched_at_seconds - 301))
    assert complete(upload).id == "churn/1"
    with pytest.raises(UploadBusy), platform.records.write() as conn:
        registry.finish(conn, slow)


# Vanishing.


def test_what_is_left_for_a_day_vanishes_with_its_key(begin, send, platform, registry, perform, dana, blobs, entries):
    upload, other = begin(), begin()
    send(upload, "a.json", b"{}")
    send(other, "a.json", b"{}")
    u = table.uploads
    day = int(timedelta(days=1).total_seconds()) + 1
    with platform.records.write() as conn:
        conn.execute(update(u).where(u.c.id == upload.id).values(touched_at_seconds=u.c.touched_at_seconds - day))
    expire_uploads(platform)
    with pytest.raises(NotFound):
        perform("read_model_upload", dana, {"name": "churn", "upload": upload.id})
    with platform.records.read() as conn:
        assert conn.execute(select(u.c.sealed_key).where(u.c.id == upload.id)).scalar_one() == b""
    registry.uploads.tidy()
    assert len(blobs()) == 1
    with platform.records.read() as conn:
        assert list(conn.execute(select(u.c.id)).scalars()) == [other.id]
        assert set(conn.execute(select(table.files.c.upload)).scalars()) == {other.id}
    (told,) = entries("models:upload:expire")
    assert (told["subject"], told["context"]["uploads"]) == ("system:vallum", 1)
    expire_uploads(platform)
    assert len(entries("models:upload:expire")) == 1


def test_a_version_is_no_upload_that_vanishes(uploaded, platform, registry, tmp_path):
    uploaded({"a.json": b"{}"})
    with platform.records.write() as conn:
        conn.execute(update(table.uploads).values(touched_at_seconds=0))
    expire_uploads(platform)
    registry.uploads.tidy()
    registry.checkout("churn", 1, tmp_path / "out")
