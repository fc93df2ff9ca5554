"""Metrics and traces of the gateway: numbers, names and codes, never content.

Prometheus metrics live in a registry of their own. Traces follow OpenTelemetry's semantic conventions for
generative AI (version 1.37); the spans are made when a request has ended, so that a request costs nothing more
while it runs. The exporter is an extra, imported only where an endpoint is configured.
"""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vallum.gateway.exchange import Exchange
from vallum.kernel.errors import Invalid

__all__ = ["Telemetry", "Tracing", "open_tracing"]

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_UNNAMED = "-"


class Tracing(Protocol):
    def record(self, exchange: Exchange) -> None: ...

    def close(self) -> None: ...


class Telemetry:
    """One process's. Labels come from configuration and closed vocabularies alone, never from a request."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self.registry = CollectorRegistry()
        self._tracing = tracing
        names = ["application", "model", "endpoint", "outcome"]
        self._requests = Counter("vallum_requests", "Inference requests by outcome.", names, registry=self.registry)
        self._seconds = Histogram(
            "vallum_request_seconds", "From the first byte in to the last out.", ["endpoint"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter(
            "vallum_tokens", "Tokens as providers count them.", ["application", "model", "direction"],
            registry=self.registry,
        )  # fmt: skip
        self._findings = Counter(
            "vallum_findings", "What guards found.", ["guard", "kind", "action"], registry=self.registry
        )
        self.in_flight = 0
        gauge = Gauge("vallum_requests_in_flight", "Requests being answered.", registry=self.registry)
        gauge.set_function(lambda: self.in_flight)

    def begun(self) -> None:
        self.in_flight += 1

    def ended(self, exchange: Exchange) -> None:
        self.in_flight -= 1
        known = exchange.application is not None and exchange.subject is not None
        application = exchange.subject.id if known and exchange.subject is not None else _UNNAMED
        # A model nobody declared is a stranger's text: it would fill the registry with labels.
        decision = exchange.decision
        model = exchange.model_name if decision is not None and decision.effect == "allow" else _UNNAMED
        self._requests.labels(application, model, exchange.protocol.name, exchange.outcome).inc()
        self._seconds.labels(exchange.protocol.name).observe(exchange.seconds)
        if exchange.usage is not None:
            self._tokens.labels(application, model, "input").inc(exchange.usage.input_tokens)
            self._tokens.labels(application, model, "output").inc(exchange.usage.output_tokens)
        for finding in exchange.findings:
            self._findings.labels(finding.guard, finding.kind, finding.action).inc(finding.count)
        if self._tracing is not None:
            self._tracing.record(exchange)

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def close(self) -> None:
        if self._tracing is not None:
            self._tracing.close()


def open_tracing(endpoint: str) -> Tracing:
    """Raises Invalid when the extra is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as e:
        raise Invalid("traces need the extra: pip install 'vallum[otel]'") from e
    provider = TracerProvider(resource=Resource.create({"service.name": "vallum"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return OpenTelemetryTracing(provider)


class OpenTelemetryTracing:
    def __init__(self, provider: Any) -> None:
        """`provider` is an OpenTelemetry SDK TracerProvider."""
        self._provider = provider
        self._tracer = provider.get_tracer("vallum.gateway")

    def record(self, exchange: Exchange) -> None:
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        end = time.time_ns()
        span = self._tracer.start_span(
            f"{_operation(exchange)} {exchange.model_name if exchange.answered_by else ''}".strip(),
            context=extract(exchange.headers),
            kind=SpanKind.SERVER,
            start_time=end - int(exchange.seconds * 1e9),
            attributes=dict(_attributes(exchange)),
        )
        if exchange.status >= 500 or exchange.outcome not in ("ok", "client_gone"):
            span.set_status(Status(StatusCode.ERROR, exchange.outcome))
        span.end(end)

    def close(self) -> None:
        self._provider.shutdown()


def _operation(exchange: Exchange) -> str:
    name = exchange.protocol.name
    return name if name in ("embeddings", "infer", "predictions") else "chat"


def _attributes(exchange: Exchange) -> Mapping[str, str | int]:
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": _operation(exchange),
        "vallum.entry": exchange.entry_id,
        "vallum.outcome": exchange.outcome,
        "http.response.status_code": exchange.status,
    }
    if exchange.subject is not None:
        attributes["vallum.application"] = exchange.subject.id
    if exchange.answered_by is not None:
        attributes["gen_ai.request.model"] = exchange.model_name
        attributes["gen_ai.response.model"] = exchange.answered_by.model_name
        attributes["gen_ai.provider.name"] = exchange.answered_by.provider_name
    if exchange.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = exchange.usage.input_tokens
        attributes["gen_ai.usage.output_tokens"] = exchange.usage.output_tokens
    if exchange.outcome != "ok":
        attributes["error.type"] = exchange.outcome
    return attributes
