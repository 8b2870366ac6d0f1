"""Faust's web server for the worker's pages: guarded; ends the worker where it cannot listen."""

from typing import Any, cast

from faust.web.base import BlueprintManager
from faust.web.drivers.aiohttp import Web

from streams.refusal import refuse_start
from streams.web.guard import Guard, GuardedRunner
from streams.web.listening import why_not_listening

SHUTDOWN_S = 2.0
"""A page that does not take its answer must not hold up the worker's stop."""


class WorkerWeb(Web):
    """Serves our pages alone: Faust's own serve table contents and routing to anyone who asks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By name, since the pages show the very app that has this server.
        self.blueprints = BlueprintManager([("", "streams.web.pages:blueprint")])
        self._runner = GuardedRunner(self.web_app, Guard(), access_log=None, shutdown_timeout=SHUTDOWN_S)

    async def start_server(self) -> None:
        """Listen.

        Raises:
            SystemExit: the address cannot be had.
        """
        for add_pages in cast("Any", self.app).web_routes:
            # Before it listens: aiohttp freezes the routes when it starts.
            add_pages(self.web_app)
        try:
            await super().start_server()
        except OSError as error:
            conf = self.app.conf
            refuse_start(why_not_listening(error, conf.web_bind, conf.web_port, "WEB_PORT"))
