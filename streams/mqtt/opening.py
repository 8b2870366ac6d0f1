"""Opens a connection at the broker, whichever transport speaks: subscribes, tidies up, says we are online."""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

from streams.errors import ConnectionLost
from streams.mqtt.answers import UNSPECIFIED, closed_instead, not_granted
from streams.mqtt.session_state import Announces, SessionState
from streams.mqtt.topics import filters_of, matches
from streams.mqtt.transport import OFFLINE, ONLINE, SHARED, MqttSession, Past

log = logging.getLogger(__name__)

GRANTED_QOS_1 = 1  # MQTT 5 and 3.1.1, 3.9.3
SHOWN = 4
LOOK_AGAIN_S = 60.0
FILTERS_AT_ONCE = 8
"""In one UNSUBSCRIBE: AWS IoT, for one, takes no more."""


class ReasonText(NamedTuple):
    """A reason code and what it says."""

    code: int
    words: str


class Asks(Protocol):
    """What a transport can ask of the broker; each raises as `streams.mqtt.answers.answered` does."""

    async def subscribe(self) -> ReasonText:
        """Subscribe, at QoS 1."""
        ...

    async def unsubscribe(self, filters: Sequence[str]) -> list[int]:
        """Unsubscribe; returns a code for each, 0 where there was a subscription; none in MQTT 3.1.1."""
        ...

    async def publish_status(self, status: bytes, *, retain: bool, leaving: bool = False) -> ReasonText:
        """Publish on the status topic, at QoS 1."""
        ...


class Opening:
    """The talk about one connection.

    Args:
        asks: speaks.
        session: our names.
        standing: what is known of the broker.
        session_present: whether the broker has kept our session.
        sends_retained: whether it sends retained messages for each SUBSCRIBE, as MQTT 3.1.1 wants it.
    """

    def __init__(
        self,
        asks: Asks,
        session: MqttSession,
        standing: SessionState,
        *,
        session_present: bool,
        sends_retained: bool,
    ) -> None:
        self._asks = asks
        self._session = session
        self._standing = standing
        self._session_present = session_present
        self._sends_retained = sends_retained

    async def run(self, past: Past) -> None:
        """Subscribe, end what is left over, and say that we are online.

        Raises:
            NotGrantedError: the broker does not grant what we need.
            NoAnswerError: it said nothing.
            ConnectionLost, SessionTakenOver: it let us in, but not for long.
        """
        # A SUBSCRIBE that is repeated changes nothing, but in MQTT 3.1.1 brings the retained messages again
        # (3.8.4).
        if not (self._is_subscribed(past) and self._sends_retained):
            await self._subscribe()
        # A new session has no other subscriptions.
        if self._session_present:
            await self.end(past.subscriptions, "The newest messages in the log came by it")
        await self._say_online()

    async def end(self, subscriptions: Collection[str], why: str) -> None:
        """End other subscriptions than ours; say so where one was there."""
        others = sorted(set(subscriptions) - {self._session.subscription})
        ended: list[str] = []
        for some in _some_at_once(others):
            # MQTT 3.1.1 does not tell whether there was one.
            codes = await self._asks.unsubscribe(some) or [0] * len(some)
            ended += [name for name, code in zip(some, codes, strict=False) if code == 0]
        if ended:
            log.warning(
                "ingress has unsubscribed its session at the MQTT broker from %s. %s, but the settings no "
                "longer name it, so it would deliver unwanted messages, or wanted ones twice. What the "
                "broker has queued for it still comes",
                ", ".join(ended[:SHOWN]) + (", …" if len(ended) > SHOWN else ""),
                why,
            )

    async def end_stray(self, topic: str) -> None:
        """End whichever other subscriptions may have brought a message."""
        filters = filters_of(topic)
        group = self._session.subscription.split("/", 2)[1] if self._session.is_shared else None
        shared = [f"{SHARED}{group}/{name}" for name in filters] if group else []
        await self.end([*filters, *shared], f"A message on {topic!r} has come by such a subscription")

    async def say_offline(self) -> None:
        """Say that we are offline, if that is said at all."""
        if self._standing.announces is not Announces.NOT:
            retain = self._standing.announces is Announces.RETAINED
            await self._asks.publish_status(OFFLINE, retain=retain, leaving=True)

    def _is_subscribed(self, past: Past) -> bool:
        return self._session_present and past.unbroken and self._standing.is_subscribed

    async def _subscribe(self) -> None:
        subscription = self._session.subscription
        try:
            granted = await self._asks.subscribe()
        except ConnectionLost as error:
            if self._standing.is_subscribed:
                raise  # what was granted before is not denied now: more likely another client has our session
            raise closed_instead(f"the SUBSCRIBE to {subscription}", error) from error
        if granted.code != GRANTED_QOS_1:
            raise not_granted(subscription, granted.code, granted.words)
        self._standing.is_subscribed = True

    async def _say_online(self) -> None:
        standing = self._standing
        if standing.announces is Announces.NOT:
            return
        topic = self._session.status_topic
        try:
            answer = await self._asks.publish_status(ONLINE, retain=standing.announces is Announces.RETAINED)
        except ConnectionLost as error:
            if standing.status_was_taken:
                raise  # see above
            standing.closed_at_status(error.detail)
            raise closed_instead(f"our status on {topic}", error) from error
        standing.status_taken(answer.words if answer.code >= UNSPECIFIED else None)


class Strays:
    """Notices a message that came by another subscription than ours, in a session that has outlived settings.

    It looks at one message of each `receive`: one subscription too many brings many.

    Args:
        session: our names.
        again_s: after how long another one counts. The first may just have been queued by the very filter
            that we have now, as subscribed to by a version of us that gave no id; MQTT 5 tells whether so.
        monotonic: a clock in seconds.
    """

    def __init__(
        self, session: MqttSession, again_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._filter = session.topic_filter
        self._again_s = again_s
        self._monotonic = monotonic
        self._quiet_until = -math.inf

    def found(self, topic: str, *, by_ours: bool) -> bool:
        """Tell whether a message is a stray one, and the first in a while.

        Args:
            topic: of the message.
            by_ours: False if the broker says that it came by another subscription.
        """
        if not topic or (by_ours and matches(self._filter, topic)):
            return False
        if self._monotonic() < self._quiet_until:
            return False
        self._quiet_until = self._monotonic() + self._again_s
        return True


def _some_at_once(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), FILTERS_AT_ONCE):
        yield names[start : start + FILTERS_AT_ONCE]
