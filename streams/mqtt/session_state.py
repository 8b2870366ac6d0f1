"""How this process stands with the broker: what has to be known from one connection to the next."""

import logging
from enum import IntEnum

from streams.counters import Note, Statistics
from streams.mqtt.transport import MqttSession

log = logging.getLogger(__name__)

CLOSES_MEAN_REFUSAL = 2
"""So many connections in a row that end while a status message is unanswered: no coincidence any more."""
UNREADABLE_TOLD = 10
SHOWN_BYTES = 32


class Announces(IntEnum):
    """How we say that we are online and, by will, that we are not."""

    RETAINED = 0
    """As it should be: whoever subscribes to the status topic learns it at once."""
    PLAIN = 1
    """To a broker that retains nothing, or not for us."""
    NOT = 2


class SessionState:
    """What a transport remembers between two connections.

    Args:
        session: our names at the broker.
        statistics: counts what cannot be read.

    Attributes:
        announces: how we announce ourselves.
        lenient: to carry a message that cannot be read as such, since it has ended a connection before.
        is_subscribed: a SUBSCRIBE of this process was granted.
        status_was_taken: the broker has answered a status message as we send it now.
        released: the packet ids that our session has at QoS 2 (`streams.mqtt.mqtt5_protocol`).
    """

    def __init__(self, session: MqttSession, statistics: Statistics) -> None:
        self.announces = Announces.RETAINED
        self.lenient = False
        self.is_subscribed = False
        self.status_was_taken = False
        self.released: set[int] = set()
        self._session = session
        self._statistics = statistics
        self._tries_without_retain = False
        self._closes_at_status = 0
        self._told: set[str] = set()

    @property
    def retains_will(self) -> bool:
        """Whether the next CONNECT asks for a will that is retained."""
        return self.announces is Announces.RETAINED and not self._tries_without_retain

    def connect_unanswered(self) -> None:
        """Note that the broker closed the connection instead of answering the CONNECT.

        MQTT 3.1.1 has no word for a retained will that is not taken. Nor has a broker in trouble for that, so
        every other attempt goes without one, and only its success is taken for an answer.
        """
        self._tries_without_retain = not self._tries_without_retain

    def let_in(self, *, retains: bool) -> None:
        """Note that the broker has let us in, and whether it retains messages."""
        if self.announces is Announces.RETAINED and (self._tries_without_retain or not retains):
            self.refuse_retain("it retains no messages")
        self._tries_without_retain = False

    def refuse_retain(self, why: str) -> None:
        """Do without retained messages from now on."""
        self.announces = Announces.PLAIN
        log.warning(
            "the MQTT broker does not take a retained message on %s (%s): our status and will are not "
            "retained, so who subscribes there later sees only the next change",
            self._session.status_topic,
            why,
        )

    def status_taken(self, refusal: str | None) -> None:
        """Note the broker's answer to our status message."""
        self._closes_at_status, self.status_was_taken = 0, True
        if refusal is not None:
            self.tell_once(
                f"the MQTT broker refuses our status on {self._session.status_topic}: {refusal}. Messages "
                "are carried all the same; let our user publish there, or nobody learns whether ingress is up"
            )

    def closed_at_status(self, why: str) -> None:
        """Note that the connection ended instead of an answer to our status message."""
        self._closes_at_status += 1
        if self._closes_at_status < CLOSES_MEAN_REFUSAL:
            return
        self._closes_at_status = 0
        if self.announces is Announces.RETAINED:
            self.refuse_retain(why)
        elif self.announces is Announces.PLAIN:
            self.announces = Announces.NOT
            log.warning(
                "the MQTT broker closes the connection when we publish on %s (%s): so we say no more whether "
                "ingress is online. Let our user publish there, and restart the worker",
                self._session.status_topic,
                why,
            )

    def unreadable(self, packet: bytes, why: str) -> None:
        """Count and tell a message that cannot be read, and is carried to be rejected."""
        self._statistics.notes[Note.UNREADABLE] += 1
        count = self._statistics.notes[Note.UNREADABLE]
        if count <= UNREADABLE_TOLD:
            log.error(
                "the MQTT broker has sent a message that cannot be read: %s. It is carried without a topic "
                "and rejected (%d so far; later ones are only counted, as unreadable). Its %d bytes begin "
                "with %s",
                why,
                count,
                len(packet),
                packet[:SHOWN_BYTES].hex(" "),
            )

    def tell_once(self, what: str) -> None:
        """Log a warning, unless this process has logged it before."""
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", what)
