"""What collects spans: an OTLP endpoint in this process that keeps what it is sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.parts.ports import free_port

HOST = "127.0.0.1"


class Collector:
    """Keeps spans.

    Attributes:
        url: where they are sent.
        spans: in the order in which they came.
    """

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://{HOST}:{self._port}"
        self.spans: list[Span] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take spans for the block."""
        application = web.Application()
        application.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, self._port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        asked = ExportTraceServiceRequest.FromString(await request.read())
        for resource in asked.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")
