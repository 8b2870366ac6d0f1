"""``metric-streams worker``: Faust's worker, under our name and with our check of the web pages' address."""

import logging
import os
import platform
import sys
from typing import Any, cast

import click
import faust
from faust.cli import option, params
from faust.cli import worker as faust_worker
from faust.cli.base import now_builtin_worker_options
from faust.worker import Worker

from streams.config.clashes import is_loopback
from streams.faust_app import StreamsApp
from streams.logs.json_lines import write_json
from streams.settings import Settings
from streams.version import PRODUCT, product_version

log = logging.getLogger(__name__)

LOG_OPTIONS, RARE_OPTIONS = now_builtin_worker_options[:2], now_builtin_worker_options[2:]


def _settings_of(app: Any) -> Settings:
    return cast("StreamsApp", app).settings


class StreamsWorker(Worker):
    """Says first what runs."""

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Log the versions, as soon as there is a log."""
        super().on_setup_root_logger(logger, level)
        if _settings_of(self.app).log_format == "json":
            write_json()
        versions = (PRODUCT, product_version(), faust.__version__, platform.python_version())
        log.info("%s %s starts as a worker, on Faust %s and Python %s", *versions)


def _without_help(one: Any) -> option:
    return option(*one.args, **{**one.kwargs, "hidden": True})


class worker(faust_worker.worker):  # noqa: N801 - the class's name is the command's
    """Carry what devices publish from the MQTT broker to the job queue.

    Runs until SIGTERM or Ctrl+C. Start as many as you like.
    """

    # All of Faust's, in our words; what nobody needs here is taken and not shown.
    options = [  # noqa: RUF012 - Faust declares it so
        option("--drain", is_flag=True, help="Carry no MQTT, and end once all that Kafka holds is handled."),
        option("--with-web/--without-web", default=True, help="Serve the web pages, or none."),
        option("--web-port", "-p", type=params.TCPPort(), help="Port of the web pages, instead of WEB_PORT."),
        option("--web-bind", "-b", help="Address of the web pages, instead of WEB_BIND."),
        option("--web-host", "-h", hidden=True),
        option("--web-transport", type=params.URLParam(), hidden=True),
        *LOG_OPTIONS,
        *map(_without_help, RARE_OPTIONS),
    ]

    def faust_ident(self) -> str:
        """Return the title of the table that is printed at start."""
        return f"{PRODUCT} {product_version()}"

    def on_worker_created(self, worker: Any) -> None:
        """Print the table, where people read it."""
        if _settings_of(self.app).log_format != "json":
            super().on_worker_created(worker)

    def _init_worker_options(
        self, *args: Any, web_bind: str | None, drain: bool = False, **options: Any
    ) -> None:
        if web_bind and not is_loopback(web_bind) and not _settings_of(self.app).web_token.get_secret_value():
            refusal = f"--web-bind={web_bind} is reachable from outside: set WEB_TOKEN, or bind 127.0.0.1"
            click.echo(f"{self.ctx.command_path}: {refusal}", err=True)
            sys.exit(os.EX_CONFIG)
        if drain:
            cast("StreamsApp", self.app).drain()
        super()._init_worker_options(*args, web_bind=web_bind, **options)

    @property
    def _Worker(self) -> type[Worker]:  # noqa: N802 - Faust's name
        return StreamsWorker
