"""The consumer group as Kafka describes it: which partitions its members hold.

Asked on a connection of its own. Brokers that do not answer the question are not asked again.
"""

import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    UnsupportedVersionError,
)
from faust.types import TP

from streams.errors import Outage
from streams.kafka.clients import new_admin, started
from streams.settings import Settings

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 5_000
STABLE = "Stable"


class GroupState(NamedTuple):
    """A group as Kafka describes it."""

    state: str
    members: int
    held: Collection[TP]
    """The partitions that its members hold; those of a group that is not settled may be out of date."""


class KafkaGroup:
    """The real one.

    Args:
        settings: name the group and the servers.
        topics: whose partitions its members should hold.
    """

    def __init__(self, settings: Settings, topics: Collection[str]) -> None:
        self._settings = settings
        self._topics = topics
        self._admin: AIOKafkaAdminClient | None = None
        self._answers = True

    async def unheld(self) -> Collection[TP]:
        """Return the partitions of our topics that no member of a settled group holds."""
        if not self._answers:
            return []
        try:
            group = await self._describe()
        except (IncompatibleBrokerVersion, UnsupportedVersionError, KafkaConnectionError) as error:
            # Tansu breaks the connection. A Kafka that is away is the watch's to tell.
            log.info("Kafka does not describe the group %s: %r", self._settings.consumer_group, error)
            self._answers = not isinstance(error, IncompatibleBrokerVersion | UnsupportedVersionError)
            await self.close()
            return []
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Outage("kafka", f"the group cannot be described: {error!r}") from error
        # While it is balanced nobody holds anything, which is no fault.
        if group.state != STABLE:
            return []
        wanted = {
            TP(topic, partition)
            for topic in self._topics
            for partition in range(self._settings.topic_partitions)
        }
        return wanted - set(group.held)

    async def standing(self) -> GroupState | None:
        """Return the state of the group; None where the broker does not tell (Tansu).

        Raises:
            Outage: if Kafka does not answer.
        """
        try:
            # Who cannot be reached is away. Tansu can, and breaks the connection at the question.
            await self._connected()
        except (KafkaError, OSError, TimeoutError) as error:
            raise Outage("kafka", f"no connection, so the group cannot be described: {error!r}") from error
        try:
            return await self._describe()
        except (IncompatibleBrokerVersion, UnsupportedVersionError, KafkaConnectionError):
            return None
        except (KafkaError, OSError, TimeoutError) as error:
            raise Outage("kafka", f"the group cannot be described: {error!r}") from error

    async def close(self) -> None:
        """Disconnect."""
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(KafkaError, OSError):
                await admin.close()

    async def _connected(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            admin = new_admin(self._settings, timeout_ms=REQUEST_TIMEOUT_MS)
            self._admin = await started(admin, admin.close)
        return self._admin

    async def _describe(self) -> GroupState:
        """Ask Kafka."""
        admin = await self._connected()
        (response,) = await admin.describe_consumer_groups([self._settings.consumer_group])
        (group,) = response.groups
        # Later versions of the answer have more fields, at the end.
        _error, _name, state, _type, _protocol, members, *_ = group
        return GroupState(state, len(members), {tp for member in members for tp in _held(member)})


def _held(member: Any) -> list[TP]:
    *_, assignment = member[:5]
    if not assignment:
        return []
    return [
        TP(topic, partition)
        for topic, partitions in ConsumerProtocolMemberAssignment.decode(assignment).assignment
        for partition in partitions
    ]
