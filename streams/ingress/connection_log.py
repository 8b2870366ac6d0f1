"""Says what has changed between ingress and the MQTT broker: in the log, and as the part ``mqtt``."""

import logging
from collections.abc import Callable

from streams.counters import Note, Statistics
from streams.errors import ConnectionLost, MetricStreamsError, Outage
from streams.ingress.reconnect_delay import Wait
from streams.mqtt.transport import Connection

log = logging.getLogger(__name__)

WHO = "ingress"
WAITS = ("MQTT, whose broker keeps what comes at QoS 1",)
SESSION_LOST_S = 300.0
"""How long readiness fails after the broker has lost our session: long enough for any monitor to notice, and
no longer, since nothing that an operator does brings back what is gone."""
FOUGHT_S = 90.0
"""How long readiness fails after another client took our session again and again: longer than the longest
wait between two tries, so that it does not come and go with each."""

TAKEN_OVER = (
    "another MQTT client has taken our session: %s. MQTT_CLIENT_ID=%s is in use elsewhere; after a change of "
    "leader that is by the new leader. If this worker still leads, it connects again at once"
)
FOUGHT_FOR = (
    "another MQTT client takes our session again and again: %s. MQTT_CLIENT_ID=%s is in use elsewhere, "
    "although this worker leads. Give each deployment a client id of its own. This worker tries again in "
    "%.0f s"
)
IN_USE = (
    "another MQTT client takes our session again and again: MQTT_CLIENT_ID=%s is in use elsewhere. Give each "
    "deployment a client id of its own"
)
SESSION_LOST = (
    "the MQTT broker has lost our session: what it had acknowledged to devices while we were away is gone. "
    "Let the broker persist its sessions, and MQTT_SESSION_EXPIRY_S be longer than any absence; if MQTT_URL "
    "names another broker than before, see what the old one still holds"
)
SESSION_WIPED = (
    "another client with our MQTT client id has wiped our session: it connected with a clean start, so what "
    "the broker acknowledged to devices from then until now is gone. Let nobody else use MQTT_CLIENT_ID"
)

LEFT_BEHIND = (
    "the MQTT broker has no session for MQTT_CLIENT_ID=%s, and the newest records came by that of %s. If it "
    "is the same broker, it still keeps for that id what it had acknowledged to devices, and goes on "
    "collecting: set MQTT_CLIENT_ID=%s again, and change it as docs/connections.md says"
)


class ConnectionLog:
    """Tells.

    Args:
        statistics: the part ``mqtt``, and the notes ``sessions_lost`` and ``sessions_taken_over``.
        client_id: ours.
        monotonic: a clock in seconds.
        exposed: what is to be said of a broker that lets us in; empty for nothing.
    """

    def __init__(
        self,
        statistics: Statistics,
        client_id: str,
        monotonic: Callable[[], float],
        *,
        exposed: str = "",
    ) -> None:
        self._statistics = statistics
        self._client_id = client_id
        self._exposed = exposed
        self._monotonic = monotonic
        self._was_connected = self._was_taken_over = False
        self._was_fought = self._was_closed = False
        """The last connection was closed without a reason, and none was tried since."""
        self._session_lost_at: float | None = None
        self._session_lost = ""
        self._fought_at: float | None = None
        statistics.expect("mqtt")

    def let_in(
        self, connection: Connection, *, had_session: bool, others: frozenset[str] = frozenset()
    ) -> None:
        """Tell what became of our session; asked for before the connection is open, which may not come.

        Args:
            connection: says whether the broker had kept it.
            had_session: whether the log shows that there was one under our client id.
            others: the client ids of other sessions that the log shows.
        """
        # Once for a process: the broker does not change with each connection.
        if self._exposed:
            log.warning("%s", self._exposed)
            self._exposed = ""
        if others and not (had_session or self._was_connected or connection.session_present):
            known = sorted(others)
            log.error(LEFT_BEHIND, self._client_id, ", ".join(known), known[0])
        if (self._was_connected or had_session) and not connection.session_present:
            # A broker that has lost it by a restart was away: it did not let us in again at once.
            wiped = self._was_taken_over or self._was_closed
            self._lose_session(SESSION_WIPED if wiped else SESSION_LOST)
        elif self._was_taken_over and not self._was_fought:
            log.warning(
                "another MQTT client had our client id for a while. The broker has kept our session, and "
                "this worker has it again"
            )
        self._was_connected, self._was_taken_over, self._was_closed = True, False, False
        # A trouble that is told stays until messages get through: being let in is not that yet.
        if not self._statistics.parts["mqtt"].troubles:
            self._statistics.pause("mqtt", f"opening, MQTT {connection.protocol}")

    def opened(self, connection: Connection) -> None:
        """Tell that messages get through."""
        kept = "kept" if connection.session_present else "new"
        log.info("ingress is connected (MQTT %s, session %s)", connection.protocol, kept)
        self._is_through(f"connected, MQTT {connection.protocol}")

    def check_session(self) -> None:
        """Return if no session was lost of late, and nobody fights for it.

        Raises:
            Outage: one was, or somebody does.
        """
        if self._is_lately(self._session_lost_at, SESSION_LOST_S):
            raise Outage("mqtt", self._session_lost)
        if self._is_lately(self._fought_at, FOUGHT_S):
            raise Outage("mqtt", IN_USE % self._client_id)

    def _is_lately(self, at: float | None, within_s: float) -> bool:
        return at is not None and self._monotonic() - at < within_s

    def ended(self, end: MetricStreamsError, wait: Wait) -> None:
        """Tell what ended a connection, or kept it from being made."""
        self._was_closed = isinstance(end, ConnectionLost) and end.wordless
        if wait.taken_over:
            self._taken_over(end, wait)
        elif isinstance(end, Outage):
            self._outage(end)

    def standing_by(self) -> None:
        """Tell that another worker carries."""
        self._was_taken_over = False
        self._is_through("standing by")

    def crashed(self, bug: BaseException) -> None:
        """Tell that a bug has ended ingress."""
        log.critical("a bug has ended ingress; restart the worker", exc_info=bug)
        self._statistics.leave("mqtt", WHO)
        self._statistics.pause("mqtt", f"stopped by a bug: {bug!r}")

    def _lose_session(self, how: str) -> None:
        log.error("%s", how)
        self._session_lost_at, self._session_lost = self._monotonic(), how
        self._statistics.notes[Note.SESSIONS_LOST] += 1

    def _outage(self, outage: Outage) -> None:
        # Where Kafka is away, MQTT is left alone: the part that is waited for is the one that is to be told.
        for part in {"mqtt", "kafka"} - {outage.part}:
            self._statistics.leave(part, WHO)
        self._statistics.down(outage.part, WHO, outage.detail, WAITS)
        if outage.part != "mqtt":
            self._statistics.pause("mqtt", f"not connected, waiting for {outage}")

    def _taken_over(self, end: MetricStreamsError, wait: Wait) -> None:
        # Usual once, where a new leader meets the old one, which does not know yet that it is none any more.
        if wait.fought:
            log.error(FOUGHT_FOR, end, self._client_id, wait.seconds)
            self._statistics.notes[Note.SESSIONS_TAKEN_OVER] += 1
            self._fought_at = self._monotonic()
        else:
            log.info(TAKEN_OVER, end, self._client_id)
        self._was_taken_over, self._was_fought = True, wait.fought
        self._statistics.leave("mqtt", WHO)
        why = IN_USE % self._client_id if wait.fought else f"session taken over: {end}"
        self._statistics.pause("mqtt", f"not connected, {why}")

    def _is_through(self, detail: str) -> None:
        self._statistics.leave("kafka", WHO)
        self._statistics.up("mqtt", WHO, detail)
