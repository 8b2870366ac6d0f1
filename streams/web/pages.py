"""The worker's web pages: statistics, liveness and readiness, on Faust's web server."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from faust import web

from streams.faust_app import StreamsApp
from streams.web.health import readiness, statistics_page
from streams.web.prometheus import page
from streams.web.shared import REFUSAL, REFUSAL_HEADERS, is_allowed, ready_page
from streams.web.worker_metrics import look, worker_metrics

blueprint = web.Blueprint("metric_streams")

Handler = Callable[[Any, web.Request], Awaitable[web.Response]]


def guarded(handler: Handler) -> Handler:
    """Answer 401 unless the request carries WEB_TOKEN, where one is set."""

    async def check(view: Any, request: web.Request) -> web.Response:
        token = view.app.settings.web_token.get_secret_value()
        if not is_allowed(request.headers, token):
            refusal: web.Response = view.json(REFUSAL, status=401, headers=REFUSAL_HEADERS)
            return refusal
        return await handler(view, request)

    return check


@blueprint.route("/", name="statistics")
class StatisticsPage(web.View):
    """Messages by stage, rejections by reason, lag."""

    @guarded
    async def get(self, request: web.Request) -> web.Response:  # noqa: ARG002 - Faust's signature
        """Answer with JSON."""
        return self.json(statistics_page(cast("StreamsApp", self.app)))


@blueprint.route("/metrics", name="metrics")
class MetricsPage(web.View):
    """The same figures and more, for Prometheus."""

    @guarded
    async def get(self, request: web.Request) -> web.Response:
        """Answer in the format that Prometheus asks for."""
        app = cast("StreamsApp", self.app)
        body, headers = page(worker_metrics(app, await look(app)), request.headers.get("Accept", ""))
        return self.bytes(body, headers=headers)


@blueprint.route("/health/live", name="live")
class LivePage(web.View):
    """Whether the process answers."""

    async def get(self, request: web.Request) -> web.Response:  # noqa: ARG002 - Faust's signature
        """Answer 200."""
        return self.json({"live": True})


@blueprint.route("/health/ready", name="ready")
class ReadyPage(web.View):
    """Whether every part answers and the positions move."""

    async def get(self, request: web.Request) -> web.Response:  # noqa: ARG002 - Faust's signature
        """Answer 200, or 503 with what is missing."""
        body, status = ready_page(await readiness(cast("StreamsApp", self.app)))
        return self.json(body, status=status)
