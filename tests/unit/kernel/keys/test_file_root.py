import base64
import json
import logging
import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import Conflict, Unavailable
from vallum.kernel.keys import FileRoot, RootKeyRefused, SealBroken

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "root.key"


def test_create_makes_a_private_file_and_no_others(path):
    FileRoot.create(path, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["root.key"]


def test_create_makes_a_private_folder(tmp_path):
    FileRoot.create(tmp_path / "data" / "root.key", None)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_create_is_private_whatever_the_umask(path):
    former = os.umask(0)
    try:
        FileRoot.create(path, None)
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_wrapped_unwraps_after_a_restart(path):
    wrapped = FileRoot.create(path, None).wrap(b"k" * 32, b"context")
    assert FileRoot.open(path, None).unwrap(wrapped, b"context") == b"k" * 32


def test_an_existing_file_is_never_overwritten(path):
    FileRoot.create(path, None)
    before = path.read_bytes()
    with pytest.raises(Conflict):
        FileRoot.create(path, None)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["root.key"]


def test_a_dangling_link_is_not_followed_when_creating(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict):
        FileRoot.create(path, None)
    assert not (tmp_path / "elsewhere").exists()


def test_of_many_creators_one_wins_and_all_see_its_key(path):
    def attempt(_):
        try:
            return FileRoot.create(path, None)
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [root for root in pool.map(attempt, range(16)) if root is not None]
    assert len(made) == 1
    assert FileRoot.open(path, None).unwrap(made[0].wrap(b"k", b""), b"") == b"k"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o602, 0o610, 0o601, 0o777])
def test_a_file_open_to_others_is_refused(path, mode):
    FileRoot.create(path, None)
    path.chmod(mode)
    with pytest.raises(RootKeyRefused, match="chmod 600"):
        FileRoot.open(path, None)


def test_a_link_is_judged_by_what_it_points_to(path, tmp_path):
    FileRoot.create(path, None)
    link = tmp_path / "link"
    link.symlink_to(path)
    FileRoot.open(link, None)
    path.chmod(0o644)
    with pytest.raises(RootKeyRefused):
        FileRoot.open(link, None)


def test_a_link_to_nothing_a_folder_and_a_pipe_are_refused(path, tmp_path):
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(RootKeyRefused):
        FileRoot.open(path, None)
    with pytest.raises(RootKeyRefused):
        FileRoot.open(tmp_path, None)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(RootKeyRefused, match="not a file"):
        FileRoot.open(pipe, None)


def test_an_absent_file_is_refused_and_not_made(path):
    with pytest.raises(RootKeyRefused, match="no root key file"):
        FileRoot.open(path, None)
    assert not path.exists()


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_every_truncation_is_refused(path, passphrase):
    FileRoot.create(path, passphrase)
    whole = path.read_bytes()
    for length in range(len(whole) - 2) if passphrase is None else (0, 1, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(RootKeyRefused):
            FileRoot.open(path, passphrase)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"format":"vallum-root-open/2","keys":["AAAA"]}',
        b'{"format":"vallum-root-open/1","keys":[]}',
        b'{"format":"vallum-root-open/1","keys":["AAAA"]}',
        b'{"format":"vallum-root-open/1","keys":["%s"],"also":1}' % base64.b64encode(bytes(32)),
        b'{"format":"vallum-root-open/1","keys":["%s"]}' % base64.b64encode(bytes(33)),
        b"[" * 40_000,
        b" " * 70_000,
    ],
)
def test_what_is_no_root_key_file_is_refused(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(RootKeyRefused):
        FileRoot.open(path, None)


def test_the_passphrase_opens_and_no_other_does(path):
    wrapped = FileRoot.create(path, PASSPHRASE).wrap(b"k", b"")
    assert FileRoot.open(path, PASSPHRASE).unwrap(wrapped, b"") == b"k"
    for wrong in (b"correct horse battery stapl", PASSPHRASE + b"\n", PASSPHRASE.upper()):
        with pytest.raises(RootKeyRefused, match="passphrase does not open"):
            FileRoot.open(path, wrong)
    with pytest.raises(RootKeyRefused, match="sealed; give its passphrase"):
        FileRoot.open(path, None)
    with pytest.raises(RootKeyRefused, match="empty passphrase"):
        FileRoot.open(path, b"")


def test_a_sealed_file_holds_no_key_in_the_clear(path):
    FileRoot.create(path, PASSPHRASE)
    document = json.loads(path.read_bytes())
    assert document.keys() == {"format", "kdf", "salt", "iterations", "lanes", "memory_kib", "sealed"}
    assert (document["iterations"], document["lanes"], document["memory_kib"]) == (3, 4, 64 * 1024)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 2),
        ("lanes", 2),
        ("memory_kib", 32 * 1024),
        ("salt", base64.b64encode(bytes(16)).decode()),
        ("sealed", ""),
    ],
)
def test_an_edited_sealed_file_is_refused(path, field, value):
    FileRoot.create(path, PASSPHRASE)
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {field: value}))
    with pytest.raises(RootKeyRefused):
        FileRoot.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [("iterations", 10**9), ("iterations", 0), ("memory_kib", 1 << 30), ("lanes", 255), ("kdf", "argon2i")],
)
def test_a_file_with_ruinous_costs_is_refused_before_paying_them(path, field, value):
    FileRoot.create(path, PASSPHRASE)
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {field: value}))
    with pytest.raises(RootKeyRefused, match="known format"):
        FileRoot.open(path, PASSPHRASE)


def test_more_lanes_than_the_memory_can_feed_is_refused(path):
    FileRoot.create(path, PASSPHRASE)
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {"lanes": 16, "memory_kib": 128}))
    with pytest.raises(RootKeyRefused):
        FileRoot.open(path, PASSPHRASE)


def test_an_open_file_in_place_of_a_sealed_one_is_refused(path, tmp_path):
    FileRoot.create(path, PASSPHRASE)
    FileRoot.create(tmp_path / "theirs", None)
    os.replace(tmp_path / "theirs", path)
    with pytest.raises(RootKeyRefused, match="may have been replaced"):
        FileRoot.open(path, PASSPHRASE)


def test_an_open_file_swapped_in_while_running_is_refused(path, tmp_path):
    root = FileRoot.create(path, PASSPHRASE)
    FileRoot.create(tmp_path / "theirs", None)
    os.replace(tmp_path / "theirs", path)
    with pytest.raises(RootKeyRefused):
        root.wrap(b"k", b"")


def test_no_key_in_what_is_printed_or_logged(path, caplog):
    with caplog.at_level(logging.DEBUG):
        root = FileRoot.create(path, None)
    (key,) = json.loads(path.read_bytes())["keys"]
    raw = base64.b64decode(key)
    shown = f"{root!r} {root} {vars(root)!r} {caplog.text}"
    assert "IS NOT SEALED" in caplog.text
    for form in (key, raw.hex(), repr(raw)[2:-1]):
        assert form not in shown


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_root_cannot_be_pickled(path, passphrase):
    with pytest.raises(TypeError):
        pickle.dumps(FileRoot.create(path, passphrase))


def test_a_sealed_file_warns_of_nothing(path, caplog):
    FileRoot.create(path, PASSPHRASE)
    assert caplog.text == ""


def test_rotation_reaches_other_processes_and_former_keys_unwrap_until_dropped(path):
    here = FileRoot.create(path, None)
    there = FileRoot.open(path, None)
    before = here.wrap(b"k", b"")
    there.rotate()
    after = here.wrap(b"k", b"")
    assert before[1:9] != after[1:9]
    assert here.unwrap(before, b"") == there.unwrap(after, b"") == b"k"
    here.drop_former()
    assert FileRoot.open(path, None).unwrap(after, b"") == b"k"
    with pytest.raises(SealBroken):
        FileRoot.open(path, None).unwrap(before, b"")
    with pytest.raises(SealBroken):
        here.unwrap(before, b"")


def test_concurrent_rotations_lose_no_key(path):
    FileRoot.create(path, None)
    roots = [FileRoot.open(path, None) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(root.rotate) for root in roots * 3]:
            done.result()
    assert len(json.loads(path.read_bytes())["keys"]) == 13
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sealing_keeps_the_keys_and_stops_processes_that_do_not_know_the_passphrase(path):
    root, other = FileRoot.create(path, None), FileRoot.open(path, None)
    wrapped = root.wrap(b"k", b"")
    root.seal(PASSPHRASE)
    assert FileRoot.open(path, PASSPHRASE).unwrap(wrapped, b"") == b"k"
    with pytest.raises(RootKeyRefused, match="start it again"):
        other.wrap(b"k", b"")
    root.seal(b"another one")
    with pytest.raises(RootKeyRefused):
        FileRoot.open(path, PASSPHRASE)
    assert FileRoot.open(path, b"another one").unwrap(wrapped, b"") == b"k"


def test_a_file_that_went_away_is_unavailable(path):
    root = FileRoot.create(path, None)
    path.unlink()
    with pytest.raises(Unavailable):
        root.wrap(b"k", b"")


def test_what_is_too_long_is_not_wrapped(path):
    root = FileRoot.create(path, None)
    assert root.unwrap(root.wrap(b"k" * 4096, b"c" * 4096), b"c" * 4096) == b"k" * 4096
    for key, context in ((b"k" * 4097, b""), (b"", b"c" * 4097)):
        with pytest.raises(ValueError):
            root.wrap(key, context)


@given(st.data())
def test_no_flipped_bit_unwraps(tmp_path_factory, data):
    root = FileRoot.create(tmp_path_factory.mktemp("root") / "root.key", None)
    wrapped = bytearray(root.wrap(b"k" * 32, b"context"))
    bit = data.draw(st.integers(0, len(wrapped) * 8 - 1))
    wrapped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        root.unwrap(bytes(wrapped), b"context")


def test_wrapped_keys_are_bound_to_their_context_and_length(path):
    root = FileRoot.create(path, None)
    wrapped = root.wrap(b"k" * 32, b"context")
    for context in (b"", b"Context", b"context\x00"):
        with pytest.raises(SealBroken):
            root.unwrap(wrapped, context)
    for length in range(len(wrapped)):
        with pytest.raises(SealBroken):
            root.unwrap(wrapped[:length], b"context")
