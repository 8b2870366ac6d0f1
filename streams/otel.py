"""Spans by OpenTelemetry, sent over OTLP: the extra ``otel``, and only where an endpoint is set.

It begins with the worker and ends with it; what is not sent by then is given up after a moment. A collector
that is away costs spans, never messages.
"""

import asyncio
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streams.logs.rate_limit import quieten
from streams.spans import TRACEPARENT, Attributes
from streams.version import PRODUCT, product_version

STOP_LIMIT_S = 3.0
PATH = "/v1/traces"
"""Where a collector takes spans, below its endpoint (the OTLP specification, "OTLP/HTTP Request")."""

NOISY = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")

_propagator = TraceContextTextMapPropagator()


class ChunkSpan:
    """One chunk at one stage (`streams.spans.Span`)."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def header(self) -> bytes:
        """The ``traceparent`` by which what follows belongs to it."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}".encode()

    def end(self, error: BaseException | None = None) -> None:
        """End it, as failed if there is an error."""
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


class OtelSpans:
    """Begins spans (`streams.spans.Spans`); a client that starts and stops with the worker.

    Args:
        endpoint: of the collector, without a path.
        share: of chunks whose spans are sent, unless a device traces a message in them.
        instance: what tells this worker from others.
    """

    def __init__(self, endpoint: str, share: float, instance: str) -> None:
        self._endpoint = endpoint
        self._share = share
        self._instance = instance
        self._provider: TracerProvider | None = None
        self._tracer: Tracer = NoOpTracer()

    async def start(self) -> None:
        """Begin to send spans, in a thread of its own."""
        quieten(NOISY)  # they have a line for each try to reach a collector that is away
        names = {SERVICE_NAME: PRODUCT, SERVICE_VERSION: product_version()}
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(self._share)),
            resource=Resource.create({**names, "service.instance.id": self._instance}),
            # Its own way would wait at the exit for a collector that is away.
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(self._endpoint.rstrip("/") + PATH, timeout=STOP_LIMIT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(PRODUCT)

    async def stop(self) -> None:
        """Send what there is, for a moment."""
        provider, self._provider = self._provider, None
        self._tracer = NoOpTracer()
        if provider is not None:
            await asyncio.wait(
                {asyncio.ensure_future(asyncio.to_thread(provider.shutdown))}, timeout=STOP_LIMIT_S
            )

    def begin(
        self,
        stage: str,
        attributes: Attributes,
        *,
        parent: bytes = b"",
        links: Sequence[str] = (),
        since_ns: int | None = None,
    ) -> ChunkSpan:
        """Begin one; of a chunk in which devices trace messages it is sent in any case."""
        senders = [context for each in links if (context := _context_of(each)).is_valid]
        # A span has one parent: the stage before, or at ingress the first device; the others are linked.
        told = parent.decode(errors="replace") or (links[0] if senders else "")
        span = self._tracer.start_span(
            f"{PRODUCT} {stage}",
            context=_propagator.extract({TRACEPARENT: told}),
            kind=SpanKind.CONSUMER,
            attributes=dict(attributes),
            links=[Link(context) for context in senders],
            start_time=since_ns,
        )
        return ChunkSpan(span)


def _context_of(traceparent: str) -> SpanContext:
    return get_current_span(_propagator.extract({TRACEPARENT: traceparent})).get_span_context()
