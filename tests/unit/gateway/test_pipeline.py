"""One pipeline: each end of a request is what the client reads, and what the ledger says."""

import asyncio
import base64
import json

import httpx2
import pytest

from vallum.kernel.errors import Invalid

SECRET = "gh" + "p_" + "a" * 30


def github_token():
    from zlib import crc32

    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    stem = "Zk3" * 10
    number, digits = crc32(stem.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    return "gh" + "p_" + stem + digits


async def test_an_answer_has_its_entry(gateway, upstream):
    answer = await gateway.chat("hello")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert (entry.subject, entry.action, entry.asset) == ("application:app", "gateway:model:invoke", "Model:echo")
    assert (entry.effect, entry.outcome) == ("allow", "ok")
    assert entry.policies == ("application-invokes-its-models",)
    assert entry.context["provider"] == "up"
    assert (entry.context["input_tokens"], entry.context["output_tokens"]) == (3, 5)
    assert "hello" not in repr(entry)
    assert b"hello" in gateway.content(entry.entry_id, "request")
    assert b"hello" in gateway.content(entry.entry_id, "answer")


async def test_the_provider_gets_its_own_secret_and_never_the_clients_key(gateway, upstream):
    await gateway.chat("hello")
    _, headers, _ = upstream.requests[-1]
    assert headers["authorization"] == "Bearer upstream-credential"
    assert gateway.key() not in repr(upstream.requests[-1])


async def test_the_provider_gets_the_inspected_document_and_no_other(gateway, upstream):
    raw = b'{"model": "echo", "messages": [{"role": "user", "content": "secret"}], "messages": [{"role": "user", '
    raw += b'"content": "mail jane@example.com"}]}'
    answer = await gateway.post("/v1/chat/completions", None, raw=raw)
    assert answer.json()["choices"][0]["message"]["content"] == "mail [redacted:email]"
    assert upstream.requests[-1][2]["messages"] == [{"role": "user", "content": "mail [redacted:email]"}]


@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
        lambda text: {"messages": [{"role": "user", "content": "x", "name": text}]},
        lambda text: {"messages": [{"role": "user", "content": "x"}], "metadata": {"note": text}},
        lambda text: {"messages": [{"role": "user", "content": "x"}], "metadata": {text: "x"}},
        lambda text: {"messages": [{"role": "user", "content": "x"}], "undocumented": [[[text]]]},
        lambda text: {"messages": [{"role": "tool", "tool_call_id": "c", "content": text}]},
        lambda text: {"messages": [{"role": "user", "content": "x"}], "stop": [text]},
        lambda text: {"messages": [{"role": "user", "content": "x"}], "tools": [
            {"type": "function", "function": {"name": "f", "description": text, "parameters": {}}}]},
        lambda text: {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:text/plain," + text + " " * 300}}]}]},
    ],
)  # fmt: skip
async def test_a_secret_is_found_wherever_it_stands(gateway, upstream, place):
    before = len(upstream.requests)
    token = github_token()
    answer = await gateway.post("/v1/chat/completions", {"model": "echo", **place(f"use {token} now")})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "request_blocked"
    assert token not in answer.text
    assert len(upstream.requests) == before
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert entry.outcome == "blocked"
    assert [(f.guard, f.kind) for f in entry.findings] == [("secrets", "github_token")]
    assert entry.contents == {}


async def test_an_image_passes_through_unread(gateway, upstream):
    image = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 40).decode()
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": image}}]
    answer = await gateway.post("/v1/chat/completions", {"model": "echo", "messages": [
        {"role": "user", "content": content}]})  # fmt: skip
    assert answer.status_code == 200
    assert upstream.requests[-1][2]["messages"][0]["content"] == content


async def test_an_answer_with_a_secret_is_kept_back(gateway):
    answer = await gateway.chat("go", say=f"here: {github_token()}", application="blocker")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "answer_blocked"
    assert github_token() not in answer.text
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert (entry.outcome, entry.contents) == ("blocked", {})


async def test_a_tool_call_with_a_secret_is_kept_back(gateway):
    tools = [{"type": "function", "function": {"name": "note", "parameters": {}}}]
    answer = await gateway.chat(f"call 203.0.113.9 {github_token()}", application="blocker", tools=tools, stream=True)
    assert github_token() not in answer.text
    assert "answer_blocked" in answer.text


async def test_tools_pass(gateway):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    answer = await gateway.chat("weather in Bern?", tools=tools)
    assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"city":"Bern"}'


async def test_contents_are_not_kept_where_an_application_says_so(gateway):
    answer = await gateway.chat("hello", application="forgetful")
    assert gateway.entry(answer.headers["x-vallum-entry"]).contents == {}


async def test_embeddings(gateway):
    answer = await gateway.post("/v1/embeddings", {"model": "echo", "input": ["mail jane@example.com"]})
    assert answer.json()["data"][0]["embedding"] == [0.5, -0.25]
    assert gateway.entry(answer.headers["x-vallum-entry"]).findings[0].kind == "email"


# Who may.


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Bearer vlm_" + "0" * 42},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer é".encode("latin-1")},
    ],
)
async def test_nobody_without_a_key(gateway, upstream, headers):
    before = len(upstream.requests)
    answer = await gateway.post("/v1/chat/completions", {"model": "echo"}, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert len(upstream.requests) == before


async def test_a_flood_of_bad_keys_is_counted_and_not_a_flood_of_entries(gateway):
    for _ in range(50):
        await gateway.post("/v1/chat/completions", {}, headers={"authorization": "Bearer nonsense"})
    await asyncio.sleep(1.2)
    entries = [e for e in gateway.inference() if e.outcome == "unauthenticated"]
    assert 1 <= len(entries) <= 4
    assert sum(e.context["attempts"] for e in entries) == 50


async def test_a_key_may_be_given_as_anthropic_sdks_do(gateway):
    answer = await gateway.post(
        "/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "x"}]},
        headers={"authorization": "", "x-api-key": gateway.key()},
    )  # fmt: skip
    assert answer.status_code == 200


async def test_a_revoked_key_is_refused_within_a_second(gateway):
    assert (await gateway.chat("x", application="forgetful")).status_code == 200
    (key,) = gateway.perform("list_keys", query={"application_id": "forgetful"})
    route = "revoke_key"
    gateway.perform(route, path={"id": key.id})
    await asyncio.sleep(0.8)
    assert (await gateway.chat("x", application="forgetful")).status_code == 401


async def test_an_expired_key_is_refused(gateway):
    issued = gateway.perform("issue_key", body={"application_id": "app", "label": "short", "expires_in_days": 1})
    headers = {"authorization": f"Bearer {issued.secret}"}
    body = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
    assert (await gateway.post("/v1/chat/completions", body, headers=headers)).status_code == 200
    from datetime import timedelta

    clock = gateway.platform.identity.api_keys._clock
    later = clock.now() + timedelta(days=2)
    gateway.platform.identity.api_keys._clock = type("Later", (), {"now": lambda self: later})()
    assert (await gateway.post("/v1/chat/completions", body, headers=headers)).status_code == 401


@pytest.mark.parametrize("model", ["unlisted", "no-such-model"])
async def test_another_model_is_not_found_whether_or_not_it_exists(gateway, model):
    answer = await gateway.chat("x", model=model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    # A name that nobody declared is a stranger's text, and the ledger is for good.
    shown = "unlisted" if model == "unlisted" else "unknown"
    assert (entry.effect, entry.outcome, entry.asset) == ("deny", "denied", f"Model:{shown}")


async def test_a_key_for_some_models_reaches_no_others(gateway):
    body = {"application_id": "app", "label": "narrow", "models": ["echo", "dead-with-fallback"]}
    issued = gateway.perform("issue_key", body=body)
    assert issued.key.models == ("dead-with-fallback", "echo")
    headers = {"authorization": f"Bearer {issued.secret}"}

    async def ask(model):
        document = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        return await gateway.post("/v1/chat/completions", document, headers=headers)

    assert (await ask("echo")).status_code == 200
    assert (await ask("dead-with-fallback")).status_code == 200
    refused = await ask("claude")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    transport = httpx2.ASGITransport(gateway.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://g") as client:
        listed = (await client.get("/v1/models", headers=headers)).json()
    assert [m["id"] for m in listed["data"]] == ["dead-with-fallback", "echo"]

    only_dead = gateway.perform("issue_key", body={**body, "models": ["dead-with-fallback"]})
    headers = {"authorization": f"Bearer {only_dead.secret}"}
    assert (await ask("dead-with-fallback")).status_code == 502  # a fallback is no way around
    for strange in (["unlisted"], ["echo", "nothing"]):
        with pytest.raises(Invalid, match="not of app"):
            gateway.perform("issue_key", body={**body, "models": strange})


async def test_a_disabled_application_is_denied(gateway):
    answer = await gateway.chat("x", application="off")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "denied")


async def test_models_are_those_of_the_application(gateway):
    transport = httpx2.ASGITransport(gateway.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://g") as client:
        headers = {"authorization": f"Bearer {gateway.key('limited')}"}
        listed = (await client.get("/v1/models", headers=headers)).json()
        assert [m["id"] for m in listed["data"]] == ["echo", "hang"]
        assert (await client.get("/v1/models/echo", headers=headers)).json()["id"] == "echo"
        assert (await client.get("/v1/models/unlisted", headers=headers)).status_code == 404
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/chat/completions", headers=headers)).status_code == 405
        assert (await client.post("/v1/unknown", headers=headers)).status_code == 404


# Limits.


async def test_requests_are_limited_and_told_when_to_come_back(gateway):
    answers = [await gateway.chat("x", application="limited") for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 40
    assert gateway.entry(refused.headers["x-vallum-entry"]).outcome == "limited"


async def test_a_request_larger_than_its_limit_is_told_so(gateway):
    answer = await gateway.chat("x" * 2000, application="limited")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request_too_large")


async def test_concurrent_calls_are_limited_and_given_back(gateway):
    first = asyncio.create_task(gateway.chat("x", application="limited", model="hang"))
    await asyncio.sleep(0.2)
    second = await gateway.chat("x", application="limited")
    assert second.status_code == 429
    assert "concurrent" in second.json()["error"]["message"]
    assert (await first).status_code == 504
    assert (await gateway.chat("x", application="limited")).status_code == 200


# Providers that fail.


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("status-400", 400, "upstream_refused"),
        ("status-401", 502, "upstream_credentials"),
        ("status-429", 429, "upstream_limited"),
        ("status-500", 502, "upstream_error"),
        ("status-302", 502, "upstream_garbage"),
        ("garbage", 502, "upstream_garbage"),
        ("list", 502, "upstream_garbage"),
        ("refuse", 502, "upstream_unreachable"),
        ("dead", 502, "upstream_unreachable"),
        ("hang", 504, "upstream_timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_each_failure_of_a_provider_has_its_answer(gateway, model, status, code, stream):
    if stream and model in ("garbage", "list"):
        code = "stream_cut"  # no event ever came
    answer = await gateway.chat("do not echo me", model=model, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "do not echo me" not in answer.text
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert (entry.effect, entry.outcome) == ("allow", code)


async def test_a_provider_that_is_refusing_says_when_to_come_back(gateway):
    assert (await gateway.chat("x", model="status-429")).headers["retry-after"] == "7"


async def test_retries_are_bounded_and_help(gateway, upstream):
    upstream.tries.clear()
    assert (await gateway.chat("x", model="flaky")).status_code == 200
    assert upstream.tries["flaky"] == 3
    await gateway.chat("x", model="status-500")
    assert upstream.tries["status-500"] == 3
    await gateway.chat("x", model="status-400")
    assert upstream.tries["status-400"] == 1


async def test_a_fallback_answers_and_the_entry_says_which(gateway):
    answer = await gateway.chat("x", model="dead-with-fallback")
    assert answer.status_code == 200
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert entry.asset == "Model:dead-with-fallback"
    assert (entry.context["provider"], entry.context["answered_by"]) == ("up", "echo")


async def test_a_provider_that_keeps_failing_is_left_alone(gateway):
    codes = [(await gateway.chat("x", model="dead")).json()["error"]["code"] for _ in range(4)]
    assert codes == ["upstream_unreachable", "upstream_unreachable", "upstream_broken", "upstream_broken"]


# Streams.


def events(answer):
    return [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]


def text_of(answer):
    parts = [json.loads(e) for e in events(answer) if e != "[DONE]"]
    return "".join(c["delta"].get("content") or "" for p in parts for c in p.get("choices", ()))


@pytest.mark.parametrize("chunk_chars", [1, 5, 64, 1000])
async def test_a_clean_stream_arrives_whole(gateway, chunk_chars):
    said = "Thirty days of leave are granted, says the handbook; ask your lead. " * 5
    answer = await gateway.chat("go", say=said, stream=True, chunk_chars=chunk_chars)
    assert text_of(answer) == said
    assert events(answer)[-1] == "[DONE]"
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert (entry.outcome, entry.context["output_tokens"]) == ("ok", 5)
    assert json.loads(gateway.content(entry.entry_id, "answer"))["0/content"] == said


@pytest.mark.parametrize("chunk_chars", [1, 2, 3, 7, 11, 29, 500])
async def test_nothing_of_a_blocked_match_leaves_a_stream(gateway, chunk_chars):
    token = github_token()
    said = f"Certainly! The token is {token} and here is more text that follows after it, for a good while. " * 2
    answer = await gateway.chat("go", say=said, stream=True, chunk_chars=chunk_chars, application="blocker")
    assert all(token[at : at + 4] not in answer.text for at in range(len(token) - 4))
    last = json.loads(events(answer)[-1]) if answer.status_code == 200 else answer.json()
    assert last["error"]["code"] == "answer_blocked"
    assert gateway.entry(answer.headers["x-vallum-entry"]).outcome == "blocked"


async def test_a_stream_is_redacted(gateway):
    answer = await gateway.chat("go", say="write to jane@example.com now", stream=True, chunk_chars=3)
    assert text_of(answer) == "write to [redacted:email] now"


@pytest.mark.parametrize(
    ("model", "code"),
    [("cut", "upstream_unreachable"), ("early-end", "stream_cut"), ("garbage-event", "upstream_garbage"),
     ("stall", "upstream_timeout")],
)  # fmt: skip
async def test_a_stream_that_breaks_ends_with_an_error_event(gateway, model, code):
    said = "A long and harmless answer that goes on and on for many words. " * 4
    answer = await gateway.chat("go", say=said, stream=True, model=model)
    last = json.loads(events(answer)[-1]) if answer.status_code == 200 else answer.json()
    assert last["error"]["code"] == code
    assert "[DONE]" not in answer.text
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert (entry.effect, entry.outcome) == ("allow", code)


async def test_an_anthropic_stream_is_guarded_too(gateway):
    body = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": "go"}], "stream": True}
    clean = await gateway.post("/v1/messages", {**body, "say": "a harmless answer"}, application="blocker")
    assert "message_stop" in clean.text
    blocked = await gateway.post(
        "/v1/messages", {**body, "say": f"x {github_token()} " + "and more words follow " * 9, "chunk_chars": 5},
        application="blocker",
    )  # fmt: skip
    assert "answer_blocked" in blocked.text
    assert "message_stop" not in blocked.text
    assert github_token()[:8] not in blocked.text


async def test_a_stream_too_long_is_cut(gateway):
    gateway.app._faces.gateway._pipeline._max_stream_chars = 100
    answer = await gateway.chat("go", say="word " * 100, stream=True)
    assert json.loads(events(answer)[-1])["error"]["code"] == "stream_too_long"


# Clients that go away, and ledgers that do.


class Client:
    """A raw ASGI client that can hang up."""

    def __init__(self, gateway, body):
        self.sent = []
        self.gone = asyncio.Event()
        headers = [(b"authorization", f"Bearer {gateway.key()}".encode()), (b"content-type", b"application/json")]
        self.scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers, "query_string": b""
        }  # fmt: skip
        self.body = json.dumps(body).encode()

    async def receive(self):
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_takes_its_upstream_request_along(gateway, upstream, stream):
    upstream.hung_up.clear()
    body = {"model": "stall" if stream else "hang", "messages": [{"role": "user", "content": "x"}], "stream": stream,
            "say": "many words, " * 30}  # fmt: skip
    client, before = Client(gateway, body), len(upstream.requests)
    request = asyncio.create_task(gateway.app(client.scope, client.receive, client.send))
    for _ in range(100):
        await asyncio.sleep(0.05)
        if len(upstream.requests) > before:
            break
    await asyncio.sleep(0.2)
    client.gone.set()
    await asyncio.wait_for(request, 1)
    assert await asyncio.to_thread(upstream.hung_up.wait, 5)
    (entry, *_) = gateway.inference()
    assert (entry.outcome, entry.context["status"]) == ("client_gone", 499)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_final_leaves_unless_its_entry_is_durable(gateway, stream):
    durable = []
    record = gateway.platform.writer.record

    async def recording(draft):
        receipt = await record(draft)
        durable.append(receipt.entry_id)
        return receipt

    gateway.app._faces.gateway._pipeline._writer = type("W", (), {"record": staticmethod(recording)})()
    client = Client(gateway, {"model": "echo", "messages": [{"role": "user", "content": "x"}], "stream": stream})
    sent = client.send

    async def checking(message):
        final = message["type"] == "http.response.body" and not message.get("more_body", False)
        assert not final or durable, "the answer left before its entry was durable"
        assert b"[DONE]" not in message.get("body", b"") or durable
        await sent(message)

    await gateway.app(client.scope, client.receive, checking)
    assert client.sent[0]["status"] == 200
    assert len(durable) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_recorded_is_not_answered(gateway, stream):
    async def failing(draft):
        from vallum.kernel.errors import Unavailable

        raise Unavailable("the ledger could not be written, so the request was refused; try again")

    gateway.app._faces.gateway._pipeline._writer = type("W", (), {"record": staticmethod(failing)})()
    answer = await gateway.chat("hello there", stream=stream)
    if stream:
        assert "[DONE]" not in answer.text
        assert json.loads(events(answer)[-1])["error"]["code"] == "unavailable"
    else:
        assert answer.status_code == 503
        assert "hello there" not in answer.text


# Bad input.


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_json"),
        (b"null", {}, 400, "invalid_json"),
        (b"", {}, 400, "invalid_json"),
        (b'{"model": "\xff"}', {}, 400, "invalid_json"),
        (b'{"model": "echo", "messages": ' + b"[" * 100_000, {}, 400, "invalid_json"),
        (b'{"model": "echo", "x": ' + b"[" * 200 + b"]" * 200 + b', "messages": [{"role": "user"}]}', {}, 400,
         "invalid_json"),
        (b'{"model": 1, "messages": []}', {}, 400, "invalid"),
        (b'{"messages": []}', {}, 400, "invalid"),
        (b'{"model": "echo", "messages": "hi"}', {}, 400, "invalid"),
        (b'{"model": "echo", "messages": [{"content": "x"}]}', {}, 400, "invalid"),
        (b'{"model": "echo", "messages": [{"role": "user", "content": 5}]}', {}, 400, "invalid"),
        (b'{"model": "echo", "messages": [{"role": "user", "content": "x"}], "stream": "yes"}', {}, 400, "invalid"),
        (b'{"model": "echo", "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}', {}, 400, "invalid"),
        (b'{"model": "' + b"x" * 1000 + b'", "messages": [{"role": "user", "content": "x"}]}', {}, 400, "invalid"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {"content-type": ""}, 415, "unsupported_media_type"),
        (b"{}", {"content-encoding": "gzip"}, 415, "unsupported_encoding"),
    ],
)  # fmt: skip
async def test_bad_input_is_told_what_to_change_and_recorded(gateway, raw, headers, status, code):
    answer = await gateway.post("/v1/chat/completions", None, raw=raw, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert (entry.effect, entry.outcome) == ("deny", "invalid")


async def test_a_huge_body_is_refused(gateway):
    gateway.app._faces.gateway._pipeline._max_body_bytes = 10_000
    answer = await gateway.chat("x" * 20_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


async def test_a_body_in_endless_pieces_is_refused(gateway):
    gateway.app._faces.gateway._pipeline._max_body_bytes = 10_000
    client = Client(gateway, {})

    async def endless():
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    await gateway.app(client.scope, endless, client.send)
    assert client.sent[0]["status"] == 413


async def test_a_slow_body_is_refused(gateway):
    client = Client(gateway, {})

    async def slow():
        await asyncio.sleep(3600)

    await asyncio.wait_for(gateway.app(client.scope, slow, client.send), 5)
    assert client.sent[0]["status"] == 408
    assert gateway.inference()[0].outcome == "timeout"


async def test_a_client_that_leaves_while_it_sends_is_recorded(gateway):
    client = Client(gateway, {})

    async def leaving():
        return {"type": "http.disconnect"}

    await gateway.app(client.scope, leaving, client.send)
    assert client.sent == []
    assert gateway.inference()[0].outcome == "client_gone"


async def test_metrics_hold_numbers_and_names_and_no_content(gateway):
    await gateway.chat("jane@example.com wrote")
    await gateway.chat("x", model="an-invented-model-name")
    import httpx2

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(gateway.app), base_url="http://g") as client:
        text = (await client.get("/metrics")).text
    assert 'vallum_requests_total{application="app",endpoint="chat",model="echo",outcome="ok"} 1.0' in text
    assert 'vallum_findings_total{action="redact",guard="pii",kind="email"}' in text
    assert "jane" not in text
    assert "invented" not in text


@pytest.mark.parametrize(
    "extra", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}]
)
async def test_what_a_provider_keeps_is_out_of_reach(gateway, extra):
    answer = await gateway.post("/v1/responses", {"model": "echo", "input": "x", **extra})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")


async def test_tokens_cannot_be_inspected_and_are_refused(gateway):
    answer = await gateway.post("/v1/embeddings", {"model": "echo", "input": [[1, 2, 3]]})
    assert answer.status_code == 400


async def test_a_header_passes_on_names_of_features_and_nothing_else(gateway, upstream):
    body = {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    for sent, passed in (("files-api-2025-04-14, other-1", True), ("AKIA0123 jane@example.com", False)):
        await gateway.post("/v1/messages", body, headers={"anthropic-beta": sent})
        assert (upstream.requests[-1][1].get("anthropic-beta") == sent) == passed


async def test_the_applications_own_list_of_models_holds_whatever_policies_permit(gateway):
    permit_all = '@id("all")\npermit (principal, action, resource);\n'
    gateway.perform("apply_policy", body={"files": {"all.cedar": permit_all}})
    assert (await gateway.chat("x", model="unlisted")).status_code == 404
    assert (await gateway.chat("x", model="echo")).status_code == 200


async def test_an_id_is_shown_only_of_an_entry_that_there_is(gateway):
    shown = []
    for _ in range(5):
        answer = await gateway.post("/v1/chat/completions", {}, headers={"authorization": "Bearer nonsense"})
        shown.append(answer.headers.get("x-vallum-entry"))
    assert gateway.entry(shown[0]).outcome == "unauthenticated"
    assert shown[1:] == [None] * 4
    unknown = await gateway.post("/v1/nothing", {})
    assert "x-vallum-entry" not in unknown.headers


async def test_a_large_document_leaves_the_event_loop_to_others(gateway):
    """What is long is inspected in a thread: the loop goes on turning meanwhile."""
    turned = 0

    async def turn():
        nonlocal turned
        while True:
            await asyncio.sleep(0)
            turned += 1

    turning = asyncio.create_task(turn())
    answer = await gateway.chat("4111 1111 1111 1112 " * 5_000)
    turning.cancel()
    assert answer.status_code == 200
    assert turned > 50
