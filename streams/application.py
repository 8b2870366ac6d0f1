"""Builds the settings and the Faust app: the one place where things are wired together.

Each agent's ``build`` adds it to the app; each command finds the app where Faust has put it. Everything else
is handed what it needs. Nothing is built at import, and nothing is opened by building.
"""

import os
import socket
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import mode.loop

from streams.counters import Statistics
from streams.dashboard.wiring import add_dashboard
from streams.errors import SettingsError
from streams.faust_app import StreamsApp
from streams.kafka.connection import credentials
from streams.rejections.release import release_of
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.otel import OtelSpans

AGENTS = ("agents.ingress", "agents.refine", "agents.handoff")
"""By name: agents import what is below them, and nothing imports an agent."""
COMMANDS = [
    "agents.explain",
    "streams.commands.doctor",
    "streams.commands.ingest",
    "streams.commands.devices",
    "streams.commands.partitions",
    "streams.commands.provision",
    "streams.commands.rejected",
    "streams.commands.setup",
    "streams.commands.simulate",
    "streams.commands.tail",
    "streams.commands.tenants",
    "streams.commands.top",
    "streams.commands.trace",
    "streams.commands.worker",
]
"""Each by name: of a package that it searches itself, Faust hides a module that does not import."""


def read_settings() -> Settings:
    """Return what the environment says, or end the process with a line for each problem."""
    try:
        return Settings.from_mapping(os.environ)
    except SettingsError as error:
        lines = "".join(f"\n  - {problem}" for problem in error.problems)
        sys.stderr.write(f"metric-streams cannot start, the settings are not usable:{lines}\n")
        sys.exit(os.EX_CONFIG)


def build(settings: Settings) -> StreamsApp:
    """Return the Faust app; nothing is opened. Its agents are built when Faust asks what there is."""
    spans = spans_of(settings)
    app = StreamsApp(
        settings.consumer_group,
        settings=settings,
        statistics=Statistics(),
        spans=spans,
        agents=AGENTS,
        origin="streams",
        autodiscover=COMMANDS,
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers],
        broker_credentials=credentials(settings),
        datadir=Path(tempfile.gettempdir()) / f"{settings.consumer_group}-{os.getuid()}",
        store="memory://",
        web_bind=settings.web_bind,
        web_port=settings.web_port,
        # Faust lets the environment overrule all that stands here: PRODUCER_ACKS=0 would lose messages.
        env={},
        **StreamsApp.safe_options(settings),
    )
    add_dashboard(app)
    if (release := release_of(settings, app.statistics, lambda: app.carries_mqtt)) is not None:
        app.keep(release)
        app.gauges["quota_held_messages"] = lambda: release.left
    if spans is not None:
        app.keep(spans)
    return app


def use_uvloop() -> None:
    """Let asyncio make uvloop's event loops, where it is installed and no ``--loop`` says otherwise.

    To be called before there is one. A worker under load takes some 15 % less CPU on it.
    """
    if "FAUST_LOOP" not in os.environ and find_spec("uvloop") is not None:  # Faust notes --loop there
        mode.loop.use("uvloop")


def spans_of(settings: Settings) -> "OtelSpans | None":
    """Return what sends spans, where the settings say whereto; nothing is opened."""
    if not settings.otel_exporter_otlp_endpoint:
        return None
    try:
        from streams.otel import OtelSpans  # noqa: PLC0415 - an extra, which takes its time to be imported
    except ImportError as missing:
        sys.stderr.write(
            "metric-streams cannot start: OTEL_EXPORTER_OTLP_ENDPOINT is set, but there is no "
            f"{missing.name}. Install the extra (pip install 'metric-streams[otel]'), or leave it empty\n"
        )
        sys.exit(os.EX_CONFIG)
    instance = settings.worker_id or socket.gethostname()
    return OtelSpans(settings.otel_exporter_otlp_endpoint, settings.otel_traces_sampler_arg, instance)
