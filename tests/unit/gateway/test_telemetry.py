"""Spans by the conventions, continuing the caller's trace, with no content."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from vallum.gateway.telemetry import OpenTelemetryTracing, open_tracing

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(gateway):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    gateway.app._faces.gateway.telemetry._tracing = OpenTelemetryTracing(provider)
    return exporter


async def test_a_request_is_one_span_that_continues_the_callers_trace(gateway, spans):
    body = {"model": "echo", "messages": [{"role": "user", "content": "jane@example.com says hi"}]}
    answer = await gateway.post("/v1/chat/completions", body, headers={"traceparent": TRACEPARENT})
    (span,) = spans.get_finished_spans()
    assert span.name == "chat echo"
    assert f"{span.context.trace_id:032x}" == TRACEPARENT.split("-")[1]
    assert span.attributes["gen_ai.operation.name"] == "chat"
    assert span.attributes["gen_ai.request.model"] == "echo"
    assert span.attributes["gen_ai.provider.name"] == "up"
    assert span.attributes["gen_ai.usage.input_tokens"] == 3
    assert span.attributes["gen_ai.usage.output_tokens"] == 5
    assert span.attributes["vallum.entry"] == answer.headers["x-vallum-entry"]
    assert span.end_time > span.start_time
    assert "jane" not in span.to_json()
    assert "says hi" not in span.to_json()


async def test_a_refusal_is_an_error_span(gateway, spans):
    await gateway.chat("x", model="unlisted")
    await gateway.post("/v1/embeddings", {"model": "echo", "input": "x"})
    refused, embedded = spans.get_finished_spans()
    assert refused.status.status_code is StatusCode.ERROR
    assert refused.attributes["error.type"] == "denied"
    assert "unlisted" not in refused.to_json()
    assert embedded.attributes["gen_ai.operation.name"] == "embeddings"


async def test_a_traceparent_that_is_none_starts_a_trace(gateway, spans):
    body = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
    await gateway.post("/v1/chat/completions", body, headers={"traceparent": "nonsense"})
    (span,) = spans.get_finished_spans()
    assert span.parent is None


def test_an_exporter_opens_and_closes():
    open_tracing("http://127.0.0.1:1/v1/traces").close()
