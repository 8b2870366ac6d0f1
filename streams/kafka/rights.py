"""Asks Kafka what it lets our user do, before the worker meets it: aiokafka tells some of it nowhere.

A topic that we may not describe is not there for us, so it is told of where it is created. A broker without
authorization allows everything; one that does not know the question is not asked.
"""

import asyncio
from collections.abc import Iterable, Sequence
from enum import IntEnum

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    KafkaError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from streams.errors import StartupRefused
from streams.kafka.clients import administering
from streams.kafka.internals import client_of
from streams.kafka.outages import as_outage
from streams.settings import Settings
from streams.topics import seen_changelog

GROUP_TRIES = 5
GROUP_WAIT_S = 1.0
"""For the topic in which groups are kept, which a new Kafka makes when it is asked first."""
UNTOLD = -(2**31)
MEND = "docker/secure/kafka-acls grants what is needed"


class Operation(IntEnum):
    """What may be done; the numbers are Kafka's (org.apache.kafka.common.acl.AclOperation)."""

    READ = 3
    WRITE = 4


class RightsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """Metadata of topics, version 8 (KIP-430)."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class RightsRequestStruct(RequestStruct):  # type: ignore[misc]
    """The question as it is sent."""

    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = RightsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class RightsRequest(Request[RightsRequestStruct]):  # type: ignore[misc]
    """The question what may be done with topics; a topic that is missing is not created by it."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[RightsRequestStruct]) -> RightsRequestStruct:
        """Return it as it is sent."""
        create_them = of_the_cluster = False
        of_the_topics = True
        return request_struct_class(self._topics, create_them, of_the_cluster, of_the_topics)


class GroupRightsRequestStruct(DescribeGroupsRequest_v3):  # type: ignore[misc]
    """The question about a group as it is sent; aiokafka's own reads the answer without the rights."""

    RESPONSE_TYPE = DescribeGroupsResponse_v3


class GroupRightsRequest(Request[GroupRightsRequestStruct]):  # type: ignore[misc]
    """The question what may be done with a group."""

    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[GroupRightsRequestStruct]) -> GroupRightsRequestStruct:
        """Return it as it is sent."""
        rights_as_well = True
        return request_struct_class([self._group], rights_as_well)


async def require_rights(settings: Settings) -> None:
    """Return if our user may do what the worker does.

    Raises:
        Outage: Kafka does not answer.
        StartupRefused: it may not; a line for each right.
    """
    try:
        missing = await missing_rights(settings)
    except (KafkaError, OSError) as error:
        raise await as_outage(settings, error) from error
    if missing:
        raise StartupRefused("\n".join(missing))


async def missing_rights(settings: Settings) -> list[str]:
    """Return a line for each right that the worker needs and our user lacks.

    Raises:
        KafkaError: Kafka does not answer.
    """
    both, read = (Operation.READ, Operation.WRITE), (Operation.READ,)
    needed = {settings.raw_topic: both, settings.unique_topic: both, settings.rejected_topic: both}
    needed |= {seen_changelog(settings): both}
    try:
        async with administering(settings) as admin:
            found = await _topic_rights(admin, list(needed))
            lines = [line for name, allowed in found.items() for line in _lacks(name, allowed, needed[name])]
            group = await _group_rights(admin, settings.consumer_group)
            return [*lines, *_lacks(f"the group {settings.consumer_group}", group, read)]
    except (IncompatibleBrokerVersion, NotImplementedError):  # aiokafka's words for an older broker
        return []


async def _topic_rights(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    # The admin client has no question of this version; its own go the same way.
    client = client_of(admin)
    answer = await client.send(client.get_random_node(), RightsRequest(names))
    return {topic: allowed for code, topic, _, _, allowed in answer.topics if not code}


async def _group_rights(admin: AIOKafkaAdminClient, name: str) -> int:
    for _ in range(GROUP_TRIES):
        try:
            coordinator = await admin.find_coordinator(name)
            answer = await client_of(admin).send(coordinator, GroupRightsRequest(name))
        except GroupAuthorizationFailedError:
            return 0
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(GROUP_WAIT_S)
        else:
            ((code, *_, allowed),) = answer.groups
            if for_code(code) is GroupAuthorizationFailedError:
                return 0
            return UNTOLD if code else int(allowed)
    return UNTOLD


def _lacks(name: str, allowed: int, needed: Iterable[Operation]) -> Iterable[str]:
    """Return a line for each right that is missing in a field of bits."""
    if allowed == UNTOLD:
        return []
    missing = [operation.name.capitalize() for operation in needed if not allowed >> operation & 1]
    return [f"our user lacks {' and '.join(missing)} on {name}: {MEND}"] if missing else []
