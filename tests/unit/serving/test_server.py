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

def load():
    return app

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
