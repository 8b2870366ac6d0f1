"""Ingress: MQTT → metrics.raw, by the worker that leads.

It keeps one connection to the broker for as long as this worker leads, and comes back after an outage. What
flows through a connection is the business of `streams.ingress.flow.Flow`.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

import mqtt5
from faust.types import StreamT

from streams.counters import Statistics
from streams.errors import (
    ConnectionLost,
    DeliveryFailed,
    MetricStreamsError,
    Outage,
    SessionTakenOver,
    worded,
)
from streams.faust_app import StreamsApp
from streams.ingress.chunk_writer import ChunkWriter, KafkaChunkWriter
from streams.ingress.connection_log import ConnectionLog
from streams.ingress.flow import Flow
from streams.ingress.lease import Lease
from streams.ingress.other_writers import OtherWriters
from streams.ingress.quota import Meter, Quota
from streams.ingress.raw_tail import KafkaTail
from streams.ingress.reconnect_delay import ReconnectDelay
from streams.ingress.terms import KafkaTermSource, LeaderTerm, TermSource
from streams.mqtt.exposure import exposed
from streams.mqtt.select_transport import transport_of
from streams.mqtt.transport import Connection, MqttSession, Past, Transport
from streams.settings import Settings
from streams.spans import Senders, TracedWriter
from streams.tasks import ended

log = logging.getLogger(__name__)

FINISH_TIMEOUT_S = 10.0
"""How long Kafka has to take the rest when this worker stands by; what it has not taken, the broker keeps."""
LEASE_SHARE = 0.8
"""How long the event loop may stand still, as a share of CONSUMER_SESSION_S. Kafka counts from the last
heartbeat, which may be a tenth of that old by then; the other tenth is for its way, and for slow clocks."""


class Ingress:
    """Carries MQTT while this worker leads.

    Args:
        settings: of the worker.
        statistics: the part ``mqtt``; messages ``received``, ``written`` and ``acknowledged``.
        transport: connects to the broker.
        writer: writes to ``metrics.raw``.
        term_source: says before each connection whether this worker leads, and as whom.
        lease: lapses when the event loop has stood still; the one that `writer` asks.
        on_crash: told of a bug that has ended ingress; an outage never does.
        sleep: waits between attempts.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        statistics: Statistics,
        transport: Transport,
        writer: ChunkWriter,
        *,
        term_source: TermSource,
        lease: Lease,
        on_crash: Callable[[BaseException], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._statistics = statistics
        self._transport = transport
        self._writer = writer
        self._term_source = term_source
        self._lease = lease
        self._on_crash = on_crash
        self._sleep = sleep
        self._monotonic = monotonic
        self._news = ConnectionLog(statistics, settings.mqtt_client_id, monotonic, exposed=exposed(settings))
        quota = Quota.of(settings)
        self._meter = None if quota is None else Meter(quota)
        self._leader_term: LeaderTerm | None = None
        """That of the last connection."""
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._flow: Flow | None = None
        """That of the last connection, which may have writes under way."""

    @property
    def is_leading(self) -> bool:
        """Whether it is connected or trying to be."""
        return self._task is not None and not self._task.done()

    @property
    def in_flight(self) -> int:
        """How many messages the broker waits for us to acknowledge, of those that were taken."""
        return self._flow.in_flight if self._flow is not None and self.is_leading else 0

    async def check(self) -> None:
        """Return if messages get through from the MQTT broker; this is readiness' probe.

        Raises:
            Outage: if they do not, or some that were acknowledged to devices are gone.
        """
        await self._statistics.ask("mqtt")
        self._news.check_session()

    async def lead(self) -> None:
        """Begin to carry; does nothing if it does already."""
        async with self._changing:
            if not self.is_leading:
                self._task = asyncio.create_task(self._run(), name="ingress")
                self._task.add_done_callback(self._on_done)

    async def stand_by(self) -> None:
        """Cease to carry: write and acknowledge what was received, say we are offline, and disconnect."""
        async with self._changing:
            task, self._task = self._task, None
            if task is not None:
                await ended(task, again_s=2 * FINISH_TIMEOUT_S)
            self._news.standing_by()

    async def _run(self) -> None:
        """Keep a connection until cancelled, as `stand_by` does."""
        reconnect_delay = ReconnectDelay()
        try:
            while True:
                end, lasted_s = await self._attempt()
                wait = reconnect_delay.after(end, lasted_s)
                self._news.ended(end, wait)
                if wait.seconds:
                    await self._sleep(wait.seconds)
        finally:
            await self._writer.close()

    async def _attempt(self) -> tuple[MetricStreamsError, float]:
        """Connect and carry until the connection is lost; return why, and how many seconds it lasted."""
        connected_at: float | None = None
        try:
            past, leader_term, connection = await self._connect()
            connected_at = self._monotonic()
            await self._carry(past, leader_term, connection)
        except (Outage, SessionTakenOver) as end:
            return end, 0.0 if connected_at is None else self._monotonic() - connected_at

    async def _connect(self) -> tuple[Past, LeaderTerm, Connection]:
        self._lease.begin()
        await self._writer.open()
        if self._flow is not None:
            # What the last connection left under way must have landed or failed. Otherwise each reconnect
            # during an outage of Kafka would read, and write, one more copy of what is not acknowledged.
            await self._flow.settle()
        # Last, so that the broker gives the session to nobody who has ceased to lead meanwhile.
        leader_term = await self._term_source.take()
        connection = await self._transport.connect()
        self._news.let_in(connection, had_session=leader_term.had_session, others=leader_term.others)
        # The source looks anew, and answers with another object, when another worker may have led meanwhile.
        past = Past(leader_term.subscriptions, unbroken=leader_term is self._leader_term)
        self._leader_term = leader_term
        return past, leader_term, connection

    async def _carry(self, past: Past, leader_term: LeaderTerm, connection: Connection) -> NoReturn:
        flow = self._flow = Flow(
            self._settings,
            self._statistics,
            connection,
            self._writer,
            more_headers=leader_term.headers,
            meter=self._meter,
            monotonic=self._monotonic,
        )
        lease = asyncio.create_task(self._keep_lease(connection), name="ingress lease")
        # Beside the flow: the broker answers behind messages that must be taken first.
        opening = asyncio.create_task(self._open(past, connection), name="ingress opens")
        opening.add_done_callback(partial(_drop_on_bug, connection))
        try:
            await flow.run()
        except asyncio.CancelledError:
            opening.cancel()
            # A cancellation is how this worker is told to stand by: what was received is still written.
            await self._leave(flow, connection)
            raise
        except MetricStreamsError as error:
            connection.drop(error)
            raise (await opening) or error  # noqa: B904 - the one is the other, or says more of the same end
        finally:
            # Both, whatever has ended the connection: they belong to it alone.
            lease.cancel()
            opening.cancel()
            connection.drop(ConnectionLost("ingress is done with it"))
            flow.abandon()

    async def _open(self, past: Past, connection: Connection) -> MetricStreamsError | None:
        """Open the connection; return what keeps it from being open, which ends it."""
        try:
            await connection.open(past)
        except (Outage, SessionTakenOver) as error:
            connection.drop(error)
            return error
        self._news.opened(connection)
        return None

    async def _keep_lease(self, connection: Connection) -> None:
        connection.drop(await self._lease.keep())

    async def _leave(self, flow: Flow, connection: Connection) -> None:
        try:
            await asyncio.wait_for(flow.finish(), FINISH_TIMEOUT_S)
        except (DeliveryFailed, TimeoutError) as error:
            log.warning(
                "ingress stands by without having written all that it received; the broker has kept it and "
                "will deliver it again: %s",
                worded(error),
            )
        await connection.close()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Let nobody miss that a bug has ended ingress."""
        bug = None if task.cancelled() else task.exception()
        if bug is not None:
            self._news.crashed(bug)
            if self._on_crash is not None:
                self._on_crash(bug)


def _drop_on_bug(connection: Connection, opening: "asyncio.Task[MetricStreamsError | None]") -> None:
    """Let a bug in the opening end the connection; whoever awaits the task raises it."""
    if not opening.cancelled() and opening.exception() is not None:
        connection.drop(ConnectionLost("a bug has ended it while it was opened"))


def build(app: StreamsApp) -> Ingress:
    """Add the agent to an app; nothing is opened."""
    settings, statistics, spans = app.settings, app.statistics, app.spans
    lease = Lease(LEASE_SHARE * settings.consumer_session_s)
    session, senders = MqttSession.of(settings, socket.gethostname()), Senders()
    tail = KafkaTail(settings)
    other_writers = OtherWriters(tail, settings.raw_topic)
    writer: ChunkWriter = KafkaChunkWriter(settings, lease, other_writers)
    bridge = Ingress(
        settings,
        statistics,
        transport_of(settings, statistics, read=mqtt5.read if spans is None else senders.read),
        writer if spans is None else TracedWriter(writer, spans, settings.raw_topic, senders),
        term_source=KafkaTermSource(
            None if settings.mqtt_share_group else app.leadership,
            tail,
            session.client_id,
            session.subscription,
            other_writers,
        ),
        lease=lease,
        on_crash=app.end_on,
    )
    app.probes["mqtt"] = bridge.check
    app.gauges["mqtt_in_flight_messages"] = lambda: bridge.in_flight

    @app.agent(app.channel(), name="ingress")
    async def ingress(_unused: StreamT[bytes]) -> None:
        """Carry MQTT into metrics.raw, on the worker that leads."""
        # A source: what moves it is not a topic but leadership, and a shared subscription needs none.
        try:
            async for leads in app.leadership.changes():
                if (leads or settings.mqtt_share_group) and not app.drains:
                    await bridge.lead()
                else:
                    await bridge.stand_by()
        finally:
            await bridge.stand_by()

    return bridge
