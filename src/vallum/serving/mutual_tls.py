"""Mutual TLS: a listener of its own where services prove themselves by certificate (RFC 8705), and no more is done.

The main server cannot hand an application what a handshake verified, and asking every browser for a certificate would
trouble people; so this is a second port, which asks for one of everybody. It speaks HTTP/1.1 (h11), one request a
connection, and gives the application the verified chain by ASGI's TLS extension. Connections are bounded in number,
size and time; sessions are not resumed, so that every connection is a handshake and every handshake a verification.
"""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from vallum.kernel.errors import Invalid
from vallum.serving.local_ca import ServerCertificate

__all__ = ["MutualTlsListener", "mutual_tls_context"]

_log = logging.getLogger("vallum.mtls")

_HANDSHAKE_SECONDS = 10.0
_REQUEST_SECONDS = 15.0
_MAX_CONNECTIONS = 256  # before the handshake too: files are what strangers could use up
_MAX_OF_ONE_ADDRESS = 32
_MAX_HEADER_BYTES = 32_768
_MAX_BODY_BYTES = 65_536
_READ_BYTES = 16_384

App = Callable[[Any, Any, Any], Awaitable[None]]


def mutual_tls_context(certificate: ServerCertificate, authority_pem: str, mesh_ca_file: str) -> ssl.SSLContext:
    """TLS 1.3 with a client's certificate by one of these authorities, or no connection. Raises Invalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate.certificate_file, certificate.key_file)
        context.load_verify_locations(cadata=authority_pem)
        if mesh_ca_file:
            context.load_verify_locations(cadata=Path(mesh_ca_file).read_text())
    except (OSError, ssl.SSLError, UnicodeDecodeError) as e:
        raise Invalid("server.mtls_port: the server's certificate or server.mtls_ca_file cannot be read") from e
    return context


class MutualTlsListener:
    """A thread with an event loop of its own. `start` returns once it listens."""

    def __init__(self, app: App, host: str, port: int, context: ssl.SSLContext, paths: Collection[str]) -> None:
        """`paths` are all that `app` is asked for. Raises Invalid without h11, the extra `mtls`."""
        try:
            import h11
        except ImportError as e:
            raise Invalid("server.mtls_port: install vallum[mtls]") from e
        self._h11 = h11
        self._app = app
        self._host = host
        self._port = port
        self._context = context
        self._paths = frozenset(paths)
        self._loop = asyncio.new_event_loop()
        self._open: Counter[str] = Counter()
        self._listening = Event()
        self._failure: OSError | None = None
        self._thread = Thread(target=self._run, name="mutual-tls", daemon=True)

    def start(self) -> None:
        """Raises Invalid when the port cannot be had."""
        self._thread.start()
        self._listening.wait()
        if self._failure is not None:
            raise Invalid(f"server.mtls_port: {self._host}:{self._port}: {self._failure.strerror}")

    def stop(self) -> None:
        """What is under way is cut: whoever asked for a token asks again."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(asyncio.start_server(self._serve, self._host, self._port))
        except OSError as e:
            self._failure = e
            self._loop.close()
            return
        finally:
            self._listening.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str((writer.get_extra_info("peername") or ("",))[0])
        if self._open.total() >= _MAX_CONNECTIONS or self._open[address] >= _MAX_OF_ONE_ADDRESS:
            writer.transport.abort()
            return
        self._open[address] += 1
        try:
            await writer.start_tls(self._context, ssl_handshake_timeout=_HANDSHAKE_SECONDS)
            async with asyncio.timeout(_REQUEST_SECONDS):
                await self._answer(reader, writer)
        except (OSError, TimeoutError, ssl.SSLError):
            pass  # a client that went away, or that dribbles
        except Exception as e:  # noqa: BLE001  the outermost loop of a connection: no other one suffers
            _log.error("%s", type(e).__name__, exc_info=e)
        finally:
            self._open[address] -= 1
            self._open += Counter()  # forgets those who have none
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        h11 = self._h11
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEADER_BYTES)

        method = b""

        async def send(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
            headers = [*headers, (b"connection", b"close")]
            pieces: list[Any] = [h11.Response(status_code=status, headers=headers), h11.EndOfMessage()]
            if connection.their_state is not h11.ERROR and method != b"HEAD":
                pieces.insert(1, h11.Data(data=body))
            writer.write(b"".join(connection.send(piece) for piece in pieces))
            await writer.drain()

        try:
            request, body = await self._read(connection, reader)
        except h11.RemoteProtocolError as e:
            await send(e.error_status_hint, [(b"content-length", b"0")], b"")
            return
        if request is None:
            return
        method = request.method
        path, _, query = bytes(request.target).partition(b"?")
        if path.decode("latin-1") not in self._paths:
            text = b"this port is for services that prove themselves by certificate; see docs/access.md\n"
            await send(404, [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))], text)
            return
        await self._ask(request, path, query, body, writer, send)

    async def _read(self, connection: Any, reader: asyncio.StreamReader) -> tuple[Any, bytes]:
        """One request. A body that is too large stops being read, and its end is the application's to refuse."""
        h11, request, body = self._h11, None, bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ_BYTES))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _MAX_BODY_BYTES:
                    return request, bytes(body)
            else:  # the message's end, or the connection's
                return request, bytes(body)

    async def _ask(
        self, request: Any, path: bytes, query: bytes, body: bytes, writer: asyncio.StreamWriter, send: Any
    ) -> None:
        """The application's answer, held whole: it is a token or a certificate."""
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        answer: dict[str, Any] = {"status": 500, "headers": [], "body": b""}

        async def receive() -> dict[str, Any]:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def take(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.update(status=message["status"], headers=list(message["headers"]))
            else:
                answer["body"] += message.get("body", b"")

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method.decode("ascii"),
            "scheme": "https",
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in request.headers],
            "client": writer.get_extra_info("peername")[:2],
            "server": (self._host, self._port),
            "extensions": {"tls": {"client_cert_chain": (ssl.DER_cert_to_PEM_cert(der),) if der else ()}},
        }
        await self._app(scope, receive, take)
        await send(answer["status"], answer["headers"], answer["body"])
