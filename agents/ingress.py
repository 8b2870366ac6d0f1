"""Ingress: MQTT → metrics.raw, by the worker that leads.

It keeps one connection to the broker for as long as this worker leads, and comes back after an outage. What
flows through a connection is the business of `streams.mqtt.carrier.Carrier`.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from faust.types import StreamT

from streams.application import app, settings, statistics
from streams.backoff import delays
from streams.errors import ConnectionLost, DeliveryFailed, Outage, SessionTakenOver, worded
from streams.kafka.chunk_writer import ChunkWriter, KafkaChunkWriter
from streams.kafka.terms import KafkaOffice, KafkaTail, Office, Tenure
from streams.lease import Lease
from streams.mqtt.carrier import Carrier
from streams.mqtt.choice import transport_of
from streams.mqtt.transport import Connection, Session, Transport
from streams.settings import Settings
from streams.statistics import Statistics

log = logging.getLogger(__name__)

WHO = "ingress"
WAITS = ("MQTT, whose broker keeps what comes at QoS 1",)

RECONNECT_FIRST_S, RECONNECT_MOST_S = 0.5, 30.0
STEADY_S = 10.0
"""A connection that lasted this long was a good one: the next wait is short again."""
FINISH_TIMEOUT_S = 10.0
"""How long Kafka has to take the rest when this worker stands by; what it has not taken, the broker keeps."""
QUICK_CLOSE_S, CLOSES_MEAN_TAKEOVER = 5.0, 3
"""So many wordless closes, with only such short connections between them, are taken for a takeover."""
LEASE_SHARE = 0.8
"""How long the event loop may stand still, as a share of CONSUMER_SESSION_S. Kafka counts from the last
heartbeat, which may be a tenth of that old by then; the other tenth is for its way, and for slow clocks."""
SESSION_LOST_S = 300.0
"""How long readiness fails after the broker has lost our session: long enough for any monitor to notice, and
no longer, since nothing that an operator does brings back what is gone."""
COME_BACK_S = 60.0
"""After a takeover. Were it none, or is whoever took over gone, the broker would keep all messages for good;
and two that fight for one client id do so once a minute, loudly."""


HANDED_OVER = (
    "ingress has stopped: %s. MQTT_CLIENT_ID=%s is in use elsewhere, by the worker that leads now if all is "
    "well. If this worker still leads in %g s, it connects again"
)
FOUGHT_FOR = (
    "ingress has stopped again: %s. MQTT_CLIENT_ID=%s is in use elsewhere, although this worker leads: give "
    "each deployment a client id of its own. Until then each takes it from the other; the next try is in %g s"
)


class Ingress:
    """Carries MQTT while this worker leads.

    Args:
        settings: of the worker.
        statistics: the part ``mqtt``; messages ``received``, ``written`` and ``acknowledged``.
        transport: connects to the broker.
        writer: writes to ``metrics.raw``.
        office: says before each connection whether this worker leads, and as whom.
        lease: lapses when the event loop has stood still; the one that `writer` asks.
        on_crash: told of a bug that has ended ingress; an outage never does.
        sleep: waits between attempts.
        monotonic: a clock in seconds.
        come_back_s: seconds until a session that was taken over is asked for again, by a worker that leads.
    """

    def __init__(
        self,
        settings: Settings,
        statistics: Statistics,
        transport: Transport,
        writer: ChunkWriter,
        *,
        office: Office,
        lease: Lease,
        on_crash: Callable[[BaseException], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        come_back_s: float = COME_BACK_S,
    ) -> None:
        self._settings = settings
        self._statistics = statistics
        self._transport = transport
        self._writer = writer
        self._office = office
        self._lease = lease
        self._come_back_s = come_back_s
        self._comeback: asyncio.Task[None] | None = None
        self._on_crash = on_crash
        self._sleep = sleep
        self._monotonic = monotonic
        self._news = _News(statistics, monotonic)
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._carrier: Carrier | None = None
        """That of the last connection, which may have writes under way."""
        self._closes = 0

    @property
    def is_leading(self) -> bool:
        """Whether it is connected or trying to be; False also after the session was taken over."""
        return self._task is not None and not self._task.done()

    async def check(self) -> None:
        """Return if messages get through from the MQTT broker; this is readiness' probe.

        Raises:
            Outage: if they do not, or some that were acknowledged to devices are gone.
        """
        await self._statistics.ask("mqtt")
        self._news.check_session()

    async def lead(self) -> None:
        """Begin to carry; does nothing if it does already. After a takeover this starts it anew."""
        async with self._changing:
            if self._comeback is not None and self._comeback is not asyncio.current_task():
                self._comeback.cancel()
            if not self.is_leading:
                self._task = asyncio.create_task(self._run(), name="ingress")
                self._task.add_done_callback(self._on_done)

    async def stand_by(self) -> None:
        """Cease to carry: write and acknowledge what was received, say we are offline, and disconnect."""
        async with self._changing:
            task, self._task = self._task, None
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
            if self._comeback is not None:
                self._comeback.cancel()
            self._news.standing_by()

    async def _run(self) -> None:
        """Keep a connection until the session is taken over, or until cancelled, as `stand_by` does."""
        waits_s = delays(RECONNECT_FIRST_S, RECONNECT_MOST_S)
        self._closes = 0
        try:
            while True:
                outage, lasted_s = await self._attempt()
                self._news.outage(outage)
                self._suspect_takeover(outage, lasted_s)
                if lasted_s > STEADY_S:
                    waits_s = delays(RECONNECT_FIRST_S, RECONNECT_MOST_S)
                if not self._closes:
                    await self._sleep(next(waits_s))
        except SessionTakenOver as error:
            self._news.taken_over(error, self._settings.mqtt_client_id, self._come_back_s)
            self._comeback = asyncio.create_task(self._come_back(), name="ingress comes back")
        finally:
            await self._writer.close()

    async def _come_back(self) -> None:
        await asyncio.sleep(self._come_back_s)
        await self.lead()

    async def _attempt(self) -> tuple[Outage, float]:
        """Connect and carry until the connection is lost; return why, and how many seconds it lasted."""
        connected_at: float | None = None
        try:
            tenure, connection = await self._connect()
            connected_at = self._monotonic()
            await self._carry(tenure, connection)
        except Outage as outage:
            return outage, 0.0 if connected_at is None else self._monotonic() - connected_at

    async def _connect(self) -> tuple[Tenure, Connection]:
        self._lease.begin()
        await self._writer.open()
        if self._carrier is not None:
            # What the last connection left under way must have landed or failed. Otherwise each reconnect
            # during an outage of Kafka would read, and write, one more copy of what is not acknowledged.
            await self._carrier.settle()
        # Last, so that the broker gives the session to nobody who has ceased to lead meanwhile.
        tenure = await self._office.take()
        connection = await self._transport.connect()
        self._news.connected(connection, had_session=tenure.had_session)
        return tenure, connection

    async def _carry(self, tenure: Tenure, connection: Connection) -> NoReturn:
        carrier = self._carrier = Carrier(
            self._settings,
            self._statistics,
            connection,
            self._writer,
            more_headers=tenure.headers,
            monotonic=self._monotonic,
        )
        lease = asyncio.create_task(self._keep_lease(connection), name="ingress lease")
        try:
            await carrier.run()
        except asyncio.CancelledError:
            await self._leave(carrier, connection)
            raise
        finally:
            lease.cancel()
            connection.drop(ConnectionLost("ingress is done with it"))
            carrier.abandon()

    async def _keep_lease(self, connection: Connection) -> None:
        connection.drop(await self._lease.keep())

    async def _leave(self, carrier: Carrier, connection: Connection) -> None:
        try:
            await asyncio.wait_for(carrier.finish(), FINISH_TIMEOUT_S)
        except (DeliveryFailed, TimeoutError) as error:
            log.warning(
                "ingress stands by without having written all that it received; the broker has kept it and "
                "will deliver it again: %s",
                worded(error),
            )
        await connection.close()

    def _suspect_takeover(self, outage: Outage, lasted_s: float) -> None:
        """Take several wordless closes in quick succession for a takeover.

        MQTT 3.1.1 has no word for one, and Mosquitto 2.0.11 does not say it in MQTT 5 either. A broker that
        goes down closes without a word, too, but it does not let us in again at once: so the next attempt is
        made without a wait, and one that fails clears the suspicion. The close of the long connection before
        counts as well: of two that fight, the one that was there first gives in, which is right where a new
        leader meets an old one that does not know yet.

        Raises:
            SessionTakenOver: there were too many.
        """
        if not (isinstance(outage, ConnectionLost) and outage.wordless):
            self._closes = 0
            return
        self._closes = self._closes + 1 if lasted_s < QUICK_CLOSE_S else 1
        if self._closes >= CLOSES_MEAN_TAKEOVER:
            raise SessionTakenOver(f"{self._closes} connections in a row were closed soon, without a reason")

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Let nobody miss that a bug has ended ingress."""
        bug = None if task.cancelled() else task.exception()
        if bug is not None:
            self._news.crashed(bug)
            if self._on_crash is not None:
                self._on_crash(bug)


SESSION_LOST = (
    "the MQTT broker has lost our session: what it had acknowledged to devices while we were away is gone. "
    "Let the broker persist its sessions, and MQTT_SESSION_EXPIRY_S be longer than any absence; if MQTT_URL "
    "names another broker than before, see what the old one still holds"
)


class _News:
    """Says what has changed, in the log and as the part ``mqtt`` of the statistics."""

    def __init__(self, statistics: Statistics, monotonic: Callable[[], float]) -> None:
        self._statistics = statistics
        self._monotonic = monotonic
        self._was_connected = False
        self._was_taken_over = False
        self._session_lost_at: float | None = None
        statistics.expect("mqtt")

    def connected(self, connection: Connection, *, had_session: bool) -> None:
        kept = "kept" if connection.session_present else "new"
        log.info("ingress is connected (MQTT %s, session %s)", connection.protocol, kept)
        if (self._was_connected or had_session) and not connection.session_present:
            self._session_lost()
        self._was_connected = True
        self._is_through(f"connected, MQTT {connection.protocol}")

    def _session_lost(self) -> None:
        log.error("%s", SESSION_LOST)
        self._session_lost_at = self._monotonic()
        self._statistics.notes["sessions_lost"] += 1

    def check_session(self) -> None:
        if self._session_lost_at is None:
            return
        if self._monotonic() - self._session_lost_at < SESSION_LOST_S:
            raise Outage("mqtt", SESSION_LOST)

    def outage(self, outage: Outage) -> None:
        # Where Kafka is away, MQTT is left alone: the part that is waited for is the one that is to be told.
        for part in {"mqtt", "kafka"} - {outage.part}:
            self._statistics.leave(part, WHO)
        self._statistics.down(outage.part, WHO, outage.detail, WAITS)
        if outage.part != "mqtt":
            self._statistics.pause("mqtt", f"not connected, waiting for {outage}")

    def standing_by(self) -> None:
        self._was_taken_over = False
        self._is_through("standing by")

    def _is_through(self, detail: str) -> None:
        self._statistics.leave("kafka", WHO)
        self._statistics.up("mqtt", WHO, detail)

    def taken_over(self, error: SessionTakenOver, client_id: str, come_back_s: float) -> None:
        # Usual once, where a new leader meets the old one, which does not know yet that it is none any more.
        level, what = (logging.ERROR, FOUGHT_FOR) if self._was_taken_over else (logging.INFO, HANDED_OVER)
        log.log(level, what, error, client_id, come_back_s)
        self._was_taken_over = True
        self._statistics.leave("mqtt", WHO)
        self._statistics.pause("mqtt", f"stopped, session taken over: {error}")

    def crashed(self, bug: BaseException) -> None:
        log.critical("a bug has ended ingress; restart the worker", exc_info=bug)
        self._statistics.leave("mqtt", WHO)
        self._statistics.pause("mqtt", f"stopped by a bug: {bug!r}")


lease = Lease(LEASE_SHARE * settings.consumer_session_s)
bridge = Ingress(
    settings,
    statistics,
    transport_of(settings, statistics),
    KafkaChunkWriter(settings, lease),
    office=KafkaOffice(
        None if settings.mqtt_share_group else app.leadership,
        KafkaTail(settings),
        Session.of(settings, socket.gethostname()).client_id,
    ),
    lease=lease,
    on_crash=app.end_on,
)
app.probes["mqtt"] = bridge.check


@app.agent(app.channel(), name="ingress")
async def ingress(_unused: StreamT[bytes]) -> None:
    """Carry MQTT into metrics.raw, on the worker that leads."""
    # A source: what moves it is not a topic but leadership, and a shared subscription needs none.
    try:
        async for leads in app.leadership.changes():
            if leads or settings.mqtt_share_group:
                await bridge.lead()
            else:
                await bridge.stand_by()
    finally:
        await bridge.stand_by()
