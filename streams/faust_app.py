"""The Faust app with the project's transport, its order of start, and its web pages."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn, Protocol, cast

import faust
from aiohttp import web
from faust.app.base import BootStrategy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ChannelT, ServiceT
from faust.web.base import Web
from mode import Service

from streams.asking import Asking, Probe
from streams.backoff import delays
from streams.counters import Statistics
from streams.errors import MetricStreamsError, Outage, StartupRefused
from streams.kafka.admin import ensure_topics
from streams.kafka.audit import Audit
from streams.kafka.broker_monitor import BrokerMonitor, KafkaEnds
from streams.kafka.clients import compression
from streams.kafka.consumer import OrderedConsumer
from streams.kafka.drain import Drain
from streams.kafka.faust_build_check import check_compiled
from streams.kafka.group import KafkaGroup
from streams.kafka.histories import Histories
from streams.kafka.leadership import Leadership
from streams.kafka.log_reader import KafkaLogReader
from streams.kafka.positions import UNFINISHED_MOST, PositionSource
from streams.kafka.producer import Producer
from streams.kafka.rights import require_rights
from streams.kafka.topics_watch import TopicsWatch
from streams.kafka.watchdog import Watchdog
from streams.laravel.fence import Fence
from streams.laravel.queue_gauge import QueueGauge
from streams.logs.flow import FlowLog
from streams.logs.logbook import Logbook
from streams.logs.plain import escape_logs
from streams.logs.rate_limit import quieten
from streams.refusal import refuse_start
from streams.settings import Settings
from streams.spans import Spans
from streams.topics import MAX_RECORD_BYTES
from streams.web.server import WorkerWeb

log = logging.getLogger(__name__)

STOP_LIMIT_S = 25.0
"""Below the 30 s that supervisors grant; with Kafka away a stop cannot be an orderly one."""

WHO, WAITS = "the start", ("the start of this worker",)


class OrderedTransport(driver.Transport):
    """Kafka with a consumer in order, and an idempotent producer."""

    Consumer = OrderedConsumer
    Producer = Producer


class Client(Protocol):
    """A client of the outside world."""

    async def start(self) -> None:
        """Connect, or begin to."""
        ...

    async def stop(self) -> None:
        """Disconnect."""
        ...


class Fences(Protocol):
    """The fences in Redis, as refine needs them."""

    async def fence(self, partition: int) -> Fence | None:
        """Return a partition's fence, None where there is none, or raise Outage."""
        ...

    def believed(self) -> Mapping[int, Fence]:
        """Return by partition the fence as this worker has read it, or left it."""
        ...

    async def is_ours(self) -> bool:
        """Tell whether they are marked as this consumer group's, or raise Outage."""
        ...


class ClientKeeper(Service):
    """Starts a client before the agents and stops it after them."""

    def __init__(self, client: Client, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._client = client

    async def on_start(self) -> None:
        """Start the client."""
        await self._client.start()

    async def on_stop(self) -> None:
        """Stop the client."""
        await self._client.stop()


class TopicKeeper(Service):
    """Waits for Kafka and creates the topics, before the consumer subscribes; refuses what is unsafe."""

    def __init__(self, settings: Settings, statistics: Statistics, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._statistics = statistics

    async def on_start(self) -> None:
        """Return once every topic exists.

        Raises:
            SystemExit: if a topic is not as it must be, or Faust is not the compiled one.
        """
        try:
            check_compiled()
            await self._ensure_topics()
        except StartupRefused as refusal:
            refuse_start(str(refusal))

    async def _ensure_topics(self) -> None:
        for delay_s in delays():
            try:
                lines = await ensure_topics(self._settings)
                await require_rights(self._settings)
            except Outage as outage:
                self._statistics.down("kafka", WHO, outage.detail, WAITS)
                await asyncio.sleep(delay_s)
            else:
                self._statistics.up("kafka", WHO)
                log.info("topics:\n  %s", "\n  ".join(lines))
                return


class Boot(BootStrategy):
    """Starts the web pages first, so that liveness answers while the rest waits for its parts."""

    def server(self) -> Iterable[ServiceT]:
        """Return the services in their order of start; they stop in reverse."""
        app = cast("StreamsApp", self.app)
        return self._chain(
            self.sensors(),
            self.web_server(),
            [ClientKeeper(app.logbook, loop=app.loop, beacon=app.beacon)],
            [ClientKeeper(board, loop=app.loop, beacon=app.beacon) for board in app.boards],
            [TopicKeeper(app.settings, app.statistics, loop=app.loop, beacon=app.beacon)],
            app.services,
            self.kafka_producer(),
            self.kafka_consumer(),
            self.agents(),
            self.kafka_conductor(),
            self.tables(),
        )


class StreamsApp(faust.App):
    """What the agents share.

    Args:
        id: the consumer group.
        settings: of the worker.
        statistics: what its parts count in.
        spans: where they tell of each chunk; None where nobody collects that.
        agents: names of the modules whose ``build`` adds an agent.
        options: Faust's.

    Attributes:
        position_sources: by topic, who tells how far its effects have come.
        drains: whether it carries no MQTT, and ends once all that Kafka holds is handled.
        boards: started with the web pages, for which they gather what is shown.
        web_routes: each adds pages to the web server.
        services: started before the agents: clients of the outside world.
        probes: by part, how readiness asks whether it answers.
        gauges: by the name of a metric, who tells its value (`streams.web.worker_metrics.GAUGES`).
        queue_gauge: looks at the job queue.
        watch: what Kafka itself says.
        watchdog: notices a worker without progress.
    """

    BootStrategy = Boot

    def __init__(
        self,
        id: str,  # noqa: A002 - Faust's name
        *,
        settings: Settings,
        statistics: Statistics,
        spans: Spans | None = None,
        agents: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(id, **options)
        self.settings = settings
        self.statistics = statistics
        self.spans = spans
        self._agents_to_build = agents
        self.position_sources: dict[str, PositionSource] = {}
        self.log_reader = KafkaLogReader(settings)
        self.histories = Histories(
            self.log_reader, raw_topic=settings.raw_topic, unique_topic=settings.unique_topic
        )
        self.fences: Fences | None = None
        self.gauges: dict[str, Callable[[], float]] = {}
        self.queue_gauge: QueueGauge | None = None
        self.audit = Audit(
            self.position_sources,
            self.log_reader,
            KafkaGroup(settings, [settings.raw_topic, settings.unique_topic]),
            self._refresh_metadata,
            statistics,
        )
        self.watch = BrokerMonitor(statistics, self.held, KafkaEnds(settings))
        self.topics_watch = TopicsWatch(settings, statistics)
        self.watchdog = Watchdog(self, settings.watchdog_limit_s, self.end_on)
        self.drains = False
        self.boards: list[Client] = []
        self.web_routes: list[Callable[[web.Application], None]] = []
        self.services: list[ServiceT] = [
            ClientKeeper(self.watch),
            ClientKeeper(self.topics_watch),
            ClientKeeper(self.watchdog),
            ClientKeeper(self.log_reader),
            ClientKeeper(self.audit),
        ]
        self.probes: dict[str, Probe] = {"kafka": self.check_kafka}
        self.leadership = Leadership(self, settings.raw_topic)
        statistics.expect("kafka")
        self.logbook = Logbook(statistics, FlowLog(statistics, self.lag_by_topic, time.monotonic()))

    async def on_start(self) -> None:
        """Start, with the libraries' logs kept short."""
        quieten()
        escape_logs()
        await super().on_start()

    async def on_stop(self) -> None:
        """Stop, and end the process if that does not come to an end: a supervisor waits for it."""
        _limit_the_stop()
        await super().on_stop()

    def use(self, client: Client, *, part: str, probe: Probe) -> None:
        """Start a client before the agents, ask it now and then how it fares, and let readiness ask it."""
        self.statistics.expect(part)
        self.services += [ClientKeeper(client), ClientKeeper(Asking(part, probe, self.statistics))]
        self.probes[part] = probe

    def drain(self) -> None:
        """Carry no MQTT, and end as if told to once all that Kafka holds is handled."""
        settings, self.drains = self.settings, True
        # Nothing is carried from the broker, so its absence must not make the worker unready.
        self.probes.pop("mqtt", None)
        topics = [settings.raw_topic, settings.unique_topic]
        self.keep(Drain(self, KafkaEnds(settings), topics, settings.topic_partitions, _end_as_told))

    def keep(self, client: Client) -> None:
        """Start a client before the agents, and stop it behind them."""
        self.services.append(ClientKeeper(client))

    def measure(self, queue_gauge: QueueGauge) -> None:
        """Let the pages look at the job queue."""
        self.queue_gauge = queue_gauge
        self.services.append(ClientKeeper(queue_gauge))

    def end_on(self, bug: BaseException) -> None:
        """End the worker because of what it cannot live with; its supervisor starts it anew."""
        # From now on, since a worker without progress may not get as far as `on_stop`.
        _limit_the_stop()
        # Not awaited: the one who ends the worker may be what the stop waits for.
        self.add_future(self.crash(bug))

    def deliverer(self) -> OrderedConsumer:
        """Return the consumer, which exists only once the app has started."""
        return cast("OrderedConsumer", self.consumer)

    @property
    def has_consumer(self) -> bool:
        """Whether there is a consumer: not before the app has started, nor after it has ended."""
        return self._consumer is not None

    async def check_kafka(self) -> None:
        """Return if Kafka answered lately, with the topics as they must be; this is readiness' probe.

        Raises:
            Outage: if not.
        """
        await self.watch.check()
        await self.topics_watch.check()

    @property
    def carries_mqtt(self) -> bool:
        """Whether this worker is the one that carries MQTT."""
        return self.leadership.leads and not self.drains

    def held(self) -> Collection[TP]:
        """Return the partitions of its agents that this worker holds."""
        return self.deliverer().cursors.keys()

    def lag_by_topic(self) -> dict[str, int] | None:
        """Return how many records this worker is behind by, for each topic; None while Kafka is away."""
        if self.watch.outage is not None:
            return None
        lag: Counter[str] = Counter()
        cursors = self.deliverer().cursors if self.has_consumer else {}
        for tp, cursor in cursors.items():
            lag[tp.topic] += cursor.lag(self.watch.end(tp))
        return lag

    def was_committed(self, topic: str, partition: int) -> bool:
        """Tell whether the group has committed anything of a partition."""
        return bool(self.deliverer().committed.get(TP(topic, partition)))

    async def _refresh_metadata(self) -> None:
        await self.deliverer().refresh_metadata()

    def refuse(self, why: MetricStreamsError) -> NoReturn:
        """End the worker, because it must not run like this: exit code 78, and one line in the log."""
        log.critical("the worker ends: %s", why)
        # os._exit flushes nothing.
        logging.shutdown()
        # At once: Faust's way to end after a crash has tracebacks and another exit code. Effects and
        # positions stand together, so it makes no difference where a worker ends.
        os._exit(os.EX_CONFIG)

    async def fence(self, partition: int) -> Fence | None:
        """Return the chunk of a partition of which Redis has jobs last; None where there is none.

        Raises:
            Outage: if Redis does not answer.
        """
        return None if self.fences is None else await self.fences.fence(partition)

    async def is_adopted(self) -> bool:
        """Tell whether an operator has handed the topics over to this consumer group.

        Raises:
            Outage: if Redis does not answer.
        """
        return self.fences is not None and await self.fences.is_ours()

    @staticmethod
    def safe_options(settings: Settings) -> dict[str, Any]:
        """Return the options of Faust that the guarantees and the bounds on memory rest on."""
        return {
            "topic_partitions": settings.topic_partitions,
            "topic_replication_factor": settings.topic_replication_factor,
            # Leadership goes with partition 0 of metrics.raw: one topic less that must exist.
            "topic_disable_leader": True,
            # `TopicKeeper` has made them all. Faust would ask for its table's anew, which takes the right
            # to create topics also where it exists.
            "topic_allow_declare": False,
            "consumer_auto_offset_reset": "earliest",
            # On some brokers a group's join waits for part of this; a member that is slower joins again.
            "broker_rebalance_timeout": 6.0,
            "broker_session_timeout": settings.consumer_session_s,
            "broker_heartbeat_interval": settings.consumer_session_s / 10,
            "broker_commit_interval": 0.5,
            "producer_compression_type": compression(settings),
            "producer_max_request_size": MAX_RECORD_BYTES,
            "producer_acks": -1,
            "stream_wait_empty": True,
            # Records that wait for an agent, for each partition; one may hold 512 KiB.
            "stream_buffer_maxsize": 2 * UNFINISHED_MOST,
            # Records fetched at once, which come on top of what waits in their lanes.
            "broker_max_poll_records": 50,
            "web_tables_enabled": False,
            "web_router_enabled": False,
            "web_graph_enabled": False,
            "web_metrics_enabled": False,
        }

    def discover(self, *extra_modules: str, **options: Any) -> None:
        """Build the agents, then let Faust find the commands: it asks once a command line has the app."""
        names, self._agents_to_build = self._agents_to_build, ()
        for name in names:
            # Only now: the agents import this module, and are built for an app that has its settings.
            import_module(name).build(self)
        super().discover(*extra_modules, **options)

    def _discovery_modules(self) -> list[str]:
        # Faust adds the package of `origin`, and warns of each module in it that needs an extra.
        return list(cast("Any", self.conf).autodiscover)

    def _new_transport(self) -> OrderedTransport:
        return OrderedTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> OrderedTransport:
        return OrderedTransport(self.conf.broker_producer, self)

    def _new_web(self) -> Web:
        return WorkerWeb(self)


def _end_as_told() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _limit_the_stop() -> None:
    guard = threading.Timer(STOP_LIMIT_S, _end_at_once)
    # Else it would itself keep a process alive that has stopped in time.
    guard.daemon = True
    guard.start()


def _end_at_once() -> None:
    # Nothing is lost by this: effects and positions stand together, and what is not acknowledged comes again.
    log.critical("the worker did not stop within %g s and ends at once", STOP_LIMIT_S)
    os._exit(os.EX_SOFTWARE)


def raw_bytes(app: StreamsApp, topic: str) -> ChannelT[bytes]:
    """Return a topic whose values reach the agent undecoded: Faust acknowledges what it cannot decode."""
    return app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
