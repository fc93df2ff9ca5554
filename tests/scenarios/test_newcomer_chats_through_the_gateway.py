"""Somebody starts the demonstration and points an unmodified SDK at it."""

import json
import subprocess

import anthropic
import openai
import pytest

QUESTION = [{"role": "user", "content": "How do I report a lost laptop?"}]


def entry(server, entry_id):
    return json.loads(server.vallum("ledger", "show", entry_id, "--json").stdout)


def test_openai_chat(server):
    answer = server.openai().chat.completions.with_raw_response.create(model="handbook", messages=QUESTION)
    assert "lost laptop" in answer.parse().choices[0].message.content
    assert "not a language model" in answer.parse().choices[0].message.content
    recorded = entry(server, answer.headers["x-vallum-entry"])
    assert (recorded["subject"], recorded["outcome"]) == ("application:handbook-assistant", "ok")


def test_openai_chat_stream(server):
    chunks = list(server.openai().chat.completions.create(model="handbook", messages=QUESTION, stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "lost laptop" in text
    assert chunks[-1].usage.completion_tokens > 0


def test_openai_responses(server):
    client = server.openai()
    assert "28 days" in client.responses.create(model="handbook", input="How many days of leave?").output_text
    with client.responses.stream(model="handbook", input="How many days of leave?") as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


def test_openai_async_client(server):
    import asyncio

    async def ask():
        http = openai.DefaultAsyncHttpxClient(verify=server.tls(), trust_env=False)
        async with openai.AsyncOpenAI(
            base_url=server.url + "/v1", api_key=server.ready["api_key"], http_client=http
        ) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="handbook", messages=QUESTION) for _ in range(20))
            )
        return {a.choices[0].message.content for a in answers}

    assert len(asyncio.run(ask())) == 1


def test_anthropic_messages(server):
    client = server.anthropic()
    answer = client.messages.create(model="handbook", max_tokens=500, messages=QUESTION)
    assert "lost laptop" in answer.content[0].text
    assert answer._request_id.startswith("ent_")
    with client.messages.stream(model="handbook", max_tokens=500, messages=QUESTION) as stream:
        assert "".join(stream.text_stream) == answer.content[0].text


def test_models_in_both_dialects(server):
    assert [m.id for m in server.openai().models.list()] == ["handbook"]
    assert [m.id for m in server.anthropic().models.list()] == ["handbook"]
    assert server.openai().models.retrieve("handbook").id == "handbook"


@pytest.mark.parametrize(
    ("ask", "error", "code"),
    [
        (lambda c: c.chat.completions.create(model="gpt-x", messages=QUESTION), openai.NotFoundError,
         "model_not_found"),
        (lambda c: c.chat.completions.create(model="handbook", messages=[]), openai.BadRequestError, "invalid"),
        (lambda c: c.embeddings.create(model="handbook", input="x"), openai.BadRequestError, "wrong_endpoint"),
        (lambda c: c.chat.completions.create(model="handbook", messages=[
            {"role": "user", "content": "tell me of Project Nightjar"}]), openai.BadRequestError, "request_blocked"),
    ],
)  # fmt: skip
def test_errors_are_what_the_openai_sdk_parses(server, ask, error, code):
    with pytest.raises(error) as raised:
        ask(server.openai())
    assert raised.value.code == code
    assert raised.value.body["entry"].startswith("ent_")
    assert "nightjar" not in str(raised.value).lower()


def test_errors_are_what_the_anthropic_sdk_parses(server):
    with pytest.raises(anthropic.NotFoundError) as raised:
        server.anthropic().messages.create(model="gpt-x", max_tokens=5, messages=QUESTION)
    assert raised.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.AuthenticationError):
        server.anthropic("vlm_wrong").messages.create(model="handbook", max_tokens=5, messages=QUESTION)
    with pytest.raises(anthropic.BadRequestError):
        server.anthropic().messages.create(model="handbook", max_tokens=0, messages=QUESTION)


def test_personal_data_does_not_reach_the_model(server):
    content = "I am jane.doe@example.com. How do I report a lost laptop?"
    answer = server.openai().chat.completions.with_raw_response.create(
        model="handbook", messages=[{"role": "user", "content": content}]
    )
    recorded = entry(server, answer.headers["x-vallum-entry"])
    assert [(f["kind"], f["action"]) for f in recorded["findings"]] == [("email", "redact")]


def test_curl(server):
    body = json.dumps({"model": "handbook", "messages": QUESTION})
    command = ["curl", "-sS", "--fail-with-body", "--cacert", server.ca_file, server.url + "/v1/chat/completions"]
    headers = ["-H", f"Authorization: Bearer {server.ready['api_key']}", "-H", "Content-Type: application/json"]
    done = subprocess.run([*command, *headers, "-d", body], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost laptop" in json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_only_tls_1_3_is_spoken(server):
    command = ["curl", "-sS", "--tls-max", "1.2", "--cacert", server.ca_file, server.url + "/healthz"]
    assert subprocess.run(command, capture_output=True, timeout=30).returncode != 0


def test_health_and_metrics(server):
    for path, expected in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
        command = ["curl", "-sS", "--cacert", server.ca_file, server.url + path]
        assert subprocess.run(command, capture_output=True, timeout=30).stdout == expected
    command = ["curl", "-sS", "--cacert", server.ca_file, server.url + "/metrics"]
    assert b"vallum_requests_total" in subprocess.run(command, capture_output=True, timeout=30).stdout
