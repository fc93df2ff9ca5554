"""A gateway on a real database, with its own ASGI application, in front of a scripted upstream on a real socket."""

import asyncio
import json
import shutil
import threading
from collections import Counter

import httpx2
import pytest

from vallum.api import ROUTES, Call
from vallum.compose import Platform, build_app, prepare
from vallum.settings import load_settings


class Upstream:
    """Speaks just enough HTTP/1.1. The request's `model` says how to behave."""

    def __init__(self):
        self.requests = []
        self.unknown_keys = set()
        self.tries = Counter()
        self.hung_up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader, writer):
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        path = first.split(" ")[1]
        self.requests.append((path, headers, body))
        model = body.get("model", "")
        self.tries[model] += 1
        if model == "hang":
            await self._wait_for_hang_up(reader)
            return False
        if headers.get("authorization", "").removeprefix("Bearer ") in self.unknown_keys:
            return await self._send(writer, 401, {"error": {"message": "no such key"}})
        if model.startswith("status-"):
            return await self._send(
                writer, int(model[7:]), {"error": {"message": "PROMPT ECHOED: " + json.dumps(body)}}
            )
        if model == "flaky" and self.tries[model] % 3:
            return await self._send(writer, 503, {"error": {}})
        if model == "garbage":
            return await self._send(writer, 200, raw=b"<html>not json</html>")
        if model == "list":
            return await self._send(writer, 200, raw=b"[1]")
        if model == "refuse":
            writer.transport.abort()
            return False
        if body.get("stream"):
            return await self._stream(reader, writer, path, body, model)
        return await self._send(writer, 200, self._answer(path, body))

    async def _wait_for_hang_up(self, reader):
        await reader.read()
        self.hung_up.set()

    async def _send(self, writer, status, document=None, raw=None):
        raw = json.dumps(document).encode() if raw is None else raw
        extra = "retry-after: 7\r\n" if status == 429 else "location: http://127.0.0.1:1/\r\n" if status == 302 else ""
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n{extra}\r\n"
        writer.write(head.encode() + raw)
        await writer.drain()
        return True

    def _answer(self, path, body):
        text, usage = said(body), {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        if path.endswith("/embeddings"):
            return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
                    "model": "m", "usage": usage}  # fmt: skip
        if path.endswith("/messages"):
            return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
                    "stop_sequence": None, "content": [{"type": "text", "text": text}],
                    "usage": {"input_tokens": 3, "output_tokens": 5}}  # fmt: skip
        if path.endswith("/responses"):
            content = [{"type": "output_text", "text": text, "annotations": []}]
            item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
            return {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
                    "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                    "usage": {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8,
                              "input_tokens_details": {"cached_tokens": 0},
                              "output_tokens_details": {"reasoning_tokens": 0}}}  # fmt: skip
        message = {"role": "assistant", "content": text}
        if body.get("tools"):
            call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}  # fmt: skip

    async def _stream(self, reader, writer, path, body, model):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        text, step = said(body), body.get("chunk_chars", 7)
        pieces = [text[at : at + step] for at in range(0, len(text), step)]
        events = self._anthropic(pieces) if path.endswith("/messages") else self._chat(pieces, body)
        for number, event in enumerate(events):
            if model == "cut" and number == len(events) // 2:
                writer.transport.abort()
                return False
            if model == "early-end" and number == len(events) // 2:
                break
            if model == "garbage-event" and number == 2:
                event = b"data: {not json\n\n"
            if model == "stall" and number == 3:
                await self._wait_for_hang_up(reader)
                return False
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _chat(self, pieces, body):
        def chunk(delta, finish=None, usage=None, choices=True):
            found = [{"index": 0, "delta": delta, "finish_reason": finish}] if choices else []
            document = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": found}
            return f"data: {json.dumps({**document, 'usage': usage})}\n\n".encode()

        if body.get("tools"):
            arguments = json.dumps({"note": said(body)})
            call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": ""}}
            events = [chunk({"role": "assistant", "content": None, "tool_calls": [call]})]
            events += [
                chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments[at : at + 5]}}]})
                for at in range(0, len(arguments), 5)
            ]
            events += [chunk({}, "tool_calls")]
        else:
            events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": p}) for p in pieces)]
            events += [chunk({}, "stop")]
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        return [*events, chunk({}, usage=usage, choices=False), b"data: [DONE]\n\n"]

    def _anthropic(self, pieces):
        def event(name, **fields):
            return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()

        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                   "stop_reason": None, "stop_sequence": None,
                   "usage": {"input_tokens": 3, "output_tokens": 0}}  # fmt: skip
        return [
            event("message_start", message=message),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": p}) for p in pieces),
            event("content_block_stop", index=0),
            event(
                "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 5}
            ),
            event("message_stop"),
        ]


def said(body):
    """What the upstream says: what it was told to, else what it was asked."""
    if "say" in body:
        return body["say"]
    if "messages" not in body:
        return body["input"] if isinstance(body.get("input"), str) else "?"
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else json.dumps(content)


@pytest.fixture(scope="module")
def upstream():
    running = Upstream()
    yield running
    running.close()


MODELS = (
    "echo", "hang", "garbage", "list", "refuse", "flaky", "cut", "early-end", "garbage-event", "stall", "status-400",
    "status-401", "status-429", "status-500", "status-302",
)  # fmt: skip

CONFIGURATION = """
[providers.up]
kind = "openai"
url = "{url}"
secret = "up"
timeout_seconds = 2
retries = 2
failures_before_open = 1000
unsafe_plain_http = true

[providers.claude]
kind = "anthropic"
url = "{url}"
secret = "up"
unsafe_plain_http = true

[providers.dead]
kind = "openai"
url = "http://127.0.0.1:1/v1"
retries = 0
failures_before_open = 2
unsafe_plain_http = true

[models.dead]
provider = "dead"

[models.dead-with-fallback]
provider = "dead"
fallbacks = ["dead", "echo", "unlisted"]

[models.claude]
provider = "claude"
upstream_name = "echo"

[models.unlisted]
provider = "up"

[applications.app]
owner = "o@example.com"
models = [{models}]
limits = {{ requests_per_minute = 100000, concurrent = 50 }}
guards.input = {{ secrets = "block", pii = "redact", deny_phrases = ["project bluebird"] }}
guards.output = {{ secrets = "block", pii = "redact" }}

[applications.blocker]
owner = "o@example.com"
models = ["echo", "claude"]
limits = {{ requests_per_minute = 100000 }}
guards.input = {{ secrets = "off", pii = "off", unicode = "off", deny = "off" }}
guards.output = {{ secrets = "block", pii = "block", deny_phrases = ["project bluebird"] }}

[applications.guarded]
owner = "o@example.com"
models = ["echo"]
limits = {{ requests_per_minute = 100000 }}
guards.input = {{ injection = "block" }}

[applications.tokenizer]
owner = "o@example.com"
models = ["echo", "claude"]
limits = {{ requests_per_minute = 100000 }}
guards.input = {{ pii = "tokenize", injection = "off" }}
guards.output = {{ pii = "redact" }}

[applications.keeper]
owner = "o@example.com"
models = ["echo"]
limits = {{ requests_per_minute = 100000 }}
guards.input = {{ injection = "off" }}
guards.output = {{ links = "block", leakage = "block", canaries = ["canary-5af31c"], allowed_hosts = ["example.com"] }}

[applications.structured]
owner = "o@example.com"
models = ["echo", "claude"]
limits = {{ requests_per_minute = 100000 }}
guards.output.structure = "block"
[[applications.structured.guards.output.exceptions]]
guard = "structure"
kind = "not_json"
mode = "detect"
owner = "o@example.com"
expires = 2099-01-01
[[applications.structured.guards.input.topic_lists]]
name = "politics"
words = ["elect*", "parliament"]

[applications.plugged]
owner = "o@example.com"
models = ["echo"]
limits = {{ requests_per_minute = 100000 }}
guards.input = {{ injection = "off", budget_milliseconds = 200 }}
[[applications.plugged.guards.output.plugins]]
guard = "slow-test"
mode = "detect"
[applications.plugged.guards.output]
budget_milliseconds = 200

[applications.excepted]
owner = "o@example.com"
models = ["echo"]
limits = {{ requests_per_minute = 100000 }}
[applications.excepted.guards.input]
injection = "block"
[[applications.excepted.guards.input.exceptions]]
guard = "injection"
channel = "tool"
mode = "detect"
owner = "ann"
reason = "trial"
expires = 2099-01-01

[applications.limited]
owner = "o@example.com"
models = ["echo", "hang"]
limits = {{ requests_per_minute = 3, tokens_per_minute = 200, concurrent = 1 }}

[applications.forgetful]
owner = "o@example.com"
models = ["echo"]
keep_content_days = 0

[applications.off]
owner = "o@example.com"
models = ["echo"]
enabled = false
"""


class Running:
    """What tests ask: the application over ASGI, keys, and the ledger."""

    def __init__(self, platform, app):
        self.platform = platform
        self.app = app
        self.keys = {}

    def perform(self, name, *, path=None, query=None, body=None):
        import msgspec

        route = next(r for r in ROUTES if r.name == name)
        call = Call(
            path=path or {},
            query=msgspec.convert(query or {}, route.query) if route.query else None,
            body=msgspec.convert(body, route.body) if route.body else None,
        )
        return self.platform.perform(route, call).value

    def key(self, application="app"):
        if application not in self.keys:
            body = {"application_id": application, "label": "test"}
            self.keys[application] = self.perform("issue_key", body=body).secret
        return self.keys[application]

    def entry(self, entry_id):
        with self.platform.records.read() as conn:
            return self.platform.ledger.entry(conn, entry_id)

    def inference(self, limit=10):
        with self.platform.records.read() as conn:
            return self.platform.ledger.entries(conn, kind="inference", newest_first=True, limit=limit)

    def content(self, entry_id, name):
        with self.platform.records.read() as conn:
            return self.platform.ledger.content(conn, entry_id, name)

    async def post(self, path, document, *, application="app", headers=None, raw=None):
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=True)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            given = {"authorization": f"Bearer {self.key(application)}", "content-type": "application/json"}
            content = raw if raw is not None else json.dumps(document).encode()
            return await client.post(path, content=content, headers=given | (headers or {}))

    async def chat(self, text, *, model="echo", application="app", **more):
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return await self.post("/v1/chat/completions", body, application=application)


@pytest.fixture(scope="module")
def applied(upstream, tmp_path_factory):
    """The data folder of an installation that has the secret and the configuration."""
    settings = _settings(tmp_path_factory.mktemp("applied"))
    prepare(settings)
    platform = Platform.open(settings)
    platform.start()
    try:
        models = [f'[models.{name}]\nprovider = "up"' for name in MODELS]
        allowed = ", ".join(f'"{name}"' for name in (*MODELS, "dead", "dead-with-fallback", "claude"))
        files = {"a.toml": CONFIGURATION.format(url=upstream.url, models=allowed) + "\n".join(models)}
        secret = {"value": "upstream-credential", "consumers": ["provider:up", "provider:claude"]}
        running = Running(platform, None)
        running.perform("put_secret", path={"name": "up"}, body=secret)
        running.perform("apply", body={"files": files})
    finally:
        platform.close()
    return settings.data_path


@pytest.fixture
def settings(tmp_path):
    return _settings(tmp_path)


def _settings(folder):
    return load_settings(None, {}, {"data": str(folder / "data"), "gateway.read_timeout_seconds": 0.5})


@pytest.fixture
async def gateway(settings, applied):
    shutil.copytree(applied, settings.data_path)
    app = build_app(settings, "gateway")
    to_app, from_app = asyncio.Queue(), asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    running = Running(app._platform, app)
    running.key()
    yield running
    await to_app.put({"type": "lifespan.shutdown"})
    assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
    await living
    assert isinstance(running.platform, Platform)
