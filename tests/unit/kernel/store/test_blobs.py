"""One conformance suite for every blob store: a folder, memory, and S3 against a local server."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from moto.server import ThreadedMotoServer

from vallum.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from vallum.kernel.store.blobs import Blobs


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/blobs", method="PUT")).close()
    yield {
        "endpoint": f"http://{host}:{port}", "access_key_id": "a", "secret_access_key": "b", "region": "us-east-1",
        "client_options": {"allow_http": True},
    }  # fmt: skip
    server.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def blobs(request, tmp_path, s3):
    if request.param == "file":
        return Blobs.open((tmp_path / "blobs").as_uri())
    if request.param == "memory":
        return Blobs.open("memory:")
    return Blobs.open(f"s3://blobs/{tmp_path.name}", **s3)


def test_what_was_put_is_got(blobs):
    blobs.put("a/b.bin", b"\x00\x01")
    blobs.put("empty", b"")
    assert blobs.get("a/b.bin") == b"\x00\x01"
    assert blobs.get("empty") == b""
    blobs.put("a/b.bin", b"new")
    assert blobs.get("a/b.bin") == b"new"


def test_what_is_not_there_is_not_found(blobs):
    with pytest.raises(NotFound, match="no blob nothing"):
        blobs.get("nothing")
    assert not blobs.exists("nothing")
    blobs.delete("nothing")


def test_deleted_is_gone(blobs):
    blobs.put("x", b"1")
    assert blobs.exists("x")
    blobs.delete("x")
    assert not blobs.exists("x")


def test_names_are_listed_by_folder_in_order(blobs):
    for name in ("t/2", "t/1", "u/3", "top"):
        blobs.put(name, b"1")
    assert blobs.list("t") == ["t/1", "t/2"]
    assert blobs.list() == ["t/1", "t/2", "top", "u/3"]
    assert blobs.list("nothing") == []


def test_of_two_at_once_one_wins(blobs):
    def attempt(n):
        try:
            blobs.put_if_absent("once", str(n).encode())
        except Conflict:
            return None
        return str(n).encode()

    with ThreadPoolExecutor(8) as threads:
        won = [r for r in threads.map(attempt, range(8)) if r is not None]
    assert won == [blobs.get("once")]


def test_streams_are_put_and_got_whole(blobs):
    chunks = [bytes([n]) * 1_000_000 for n in range(12)]
    blobs.put_stream("large", iter(chunks))
    assert b"".join(blobs.stream("large")) == b"".join(chunks)


def test_a_stream_that_breaks_off_leaves_what_was_there_and_nothing_else(blobs, tmp_path):
    def breaking():
        yield b"x" * 1_000_000
        raise RuntimeError("the sender left")

    blobs.put("kept", b"as it was")
    for name in ("kept", "folder/new"):
        with pytest.raises(RuntimeError, match="left"):
            blobs.put_stream(name, breaking())
    assert blobs.get("kept") == b"as it was"
    assert blobs.list() == ["kept"]
    assert [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()] in ([], ["kept"])


def test_of_two_streams_at_once_one_is_there_whole(blobs):
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda fill: blobs.put_stream("both", iter([fill * 1_000_000] * 9)), (b"a", b"b")))
    assert len(set(blobs.get("both"))) == 1
    assert blobs.list() == ["both"]


def test_a_stream_that_is_being_written_is_not_listed(tmp_path):
    blobs = Blobs.open((tmp_path / "blobs").as_uri())

    def looking():
        yield b"x"
        assert blobs.list() == []
        assert not blobs.exists("large")

    blobs.put_stream("large", looking())
    assert blobs.list() == ["large"]


def test_one_that_is_replaced_while_it_is_read_is_not_mixed(blobs):
    blobs.put_stream("large", iter([b"a" * 1_000_000] * 12))
    begun = blobs.stream("large")
    assert set(next(begun)) == set(b"a")
    blobs.put_stream("large", iter([b"b" * 1_000_000] * 12))
    with pytest.raises(Unavailable, match="did not read"):
        list(begun)


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_a_small_one_that_is_replaced_or_gone_once_it_is_read_was_read(blobs, size):
    blobs.put("small", b"a" * size)
    begun = blobs.stream("small")
    first = next(begun)
    blobs.put("small", b"b" * size)
    blobs.delete("small")
    assert first + b"".join(begun) == b"a" * size


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a\x00b", "a b", "é", "x" * 600, "a\\b"]
)
def test_a_name_that_climbs_or_confuses_is_refused(blobs, name):
    for use in (blobs.get, blobs.exists, blobs.delete, lambda n: blobs.put(n, b""), lambda n: blobs.put_stream(n, [])):
        with pytest.raises(Invalid):
            use(name)


def test_a_store_that_is_gone_is_unavailable(tmp_path):
    blobs = Blobs.open((tmp_path / "blobs").as_uri())
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_text("no folder any more")
    with pytest.raises(Unavailable, match="did not write"):
        blobs.put("a", b"1")


def test_a_bucket_that_does_not_answer_is_unavailable():
    options = {
        "endpoint": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b", "region": "us-east-1",
        "client_options": {"allow_http": True}, "retry_config": {"max_retries": 0},
    }  # fmt: skip
    with pytest.raises(Unavailable):
        Blobs.open("s3://blobs", **options).get("a")


@pytest.mark.parametrize("url", ["", "ftp://x", "file://relative", "/plain/path"])
def test_another_url_is_refused(url):
    with pytest.raises(Invalid, match=r"blobs\.url"):
        Blobs.open(url)
