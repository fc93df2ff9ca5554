"""A real process tree on a real socket, with an application small enough to see through."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

import pytest

_PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from vallum.kernel.clock import SystemClock
from vallum.serving.arrivals import Arrivals
from vallum.serving.local_ca import ensure_server_certificate
from vallum.serving.server import serve
from vallum.settings import ServerSettings

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return
    if scope["path"] == "/slow":
        import asyncio
        await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})

class App:
    def __init__(self):
        self.arrivals = Arrivals(0.2)
        self.hurry = self.arrivals.hurry

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        receive = self.arrivals.receiver(receive)
        while scope["method"] == "POST":
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if not message.get("more_body"):
                break
        await app(scope, receive, send)

def load():
    return App()

if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    certificate = ensure_server_certificate(folder / "tls", (), SystemClock())
    ready = partial(print, '{"ready": true}', flush=True)
    serve(ServerSettings(port=port, drain_seconds=10), certificate, load, ready, "warning")
"""


@pytest.fixture
def server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    process = subprocess.Popen([sys.executable, str(program), str(tmp_path), str(port)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    yield process, port, tmp_path / "tls" / "ca.pem"
    process.kill()
    process.communicate()


@pytest.mark.long
def test_it_says_ready_once_it_answers_and_drains_on_sigterm(server):
    process, port, ca_file = server
    assert json.loads(process.stdout.readline()) == {"ready": True}
    context = ssl.create_default_context(cafile=str(ca_file))
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/", context=context) as answer:
        assert answer.read() == b"here"

    import concurrent.futures

    def slow() -> bytes:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/slow", context=context) as answer:
            return answer.read()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        in_flight = pool.submit(slow)
        time.sleep(0.3)  # the request is inside the server before the signal is sent
        process.send_signal(signal.SIGTERM)
        assert in_flight.result(timeout=10) == b"here"
    assert process.wait(timeout=15) == 0


@pytest.mark.long
def test_half_a_request_holds_up_no_stop_and_whole_ones_are_answered(server):
    process, port, ca_file = server
    process.stdout.readline()
    context = ssl.create_default_context(cafile=str(ca_file))
    head = "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n"
    with (
        context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as half,
        context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as whole,
    ):
        half.sendall(head.format("/").encode() + b"he")
        whole.sendall(head.format("/slow").encode() + b"here")
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        whole.settimeout(8)
        assert b"200" in whole.recv(4096)
        assert process.wait(timeout=8) == 0
    assert time.monotonic() - begun < 8  # and not the ten seconds of its drain


@pytest.mark.long
def test_tls_below_1_3_is_refused(server):
    process, port, ca_file = server
    process.stdout.readline()
    context = ssl.create_default_context(cafile=str(ca_file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", port)) as raw:
        context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.long
def test_a_killed_supervisor_leaves_no_worker_behind(server):
    process, port, _ca_file = server
    process.stdout.readline()
    process.kill()
    assert process.stdout.read() == b""  # the end of the pipe: every process that held it is gone
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_what_nobody_supervises_ends_by_itself():
    program = "import time; from vallum.serving.server import end_within; end_within(0.1); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == 1
