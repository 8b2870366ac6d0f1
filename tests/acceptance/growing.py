"""Devices that publish without a pause while partitions are added, and what must have become of it all."""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streams.ingress.chunking import partition_of
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.tasks import ended
from streams.wire import unique
from streams.wire.headers import read_messages
from tests.acceptance.conftest import PARTITIONS, Pipeline
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.topics import group_lag, read_topic

TICK_S = 0.05
AT_ONCE = 12
NEW, CORRECTED, AGAIN, NAMELESS = "new", "corrected", "again", "nameless"
WEIGHTS = {NEW: 5, CORRECTED: 2, AGAIN: 4, NAMELESS: 1}
Id = tuple[str, str]
"""A tenant, and the dedupe id of its device."""


class Devices:
    """Publish new ids, corrections, once more what was sent before, and messages without any id.

    Attributes:
        last: the value that was sent last of each id.
        values: every (tenant, dedupe id, value) that was sent, each of them once or more often.
        nameless: the values that went without an id.
        sent: how many messages, by kind.
    """

    def __init__(self, pipeline: Pipeline, tenants: list[str]) -> None:
        self.last: dict[Id, int] = {}
        self.values: set[tuple[str, str, int]] = set()
        self.nameless: set[int] = set()
        self.sent: Counter[str] = Counter()
        self.at_once = AT_ONCE
        self._ids: list[Id] = []
        self._address = Address.parse(pipeline.mosquitto.url)
        self._tenants = tenants
        self._chance = random.Random(16)  # noqa: S311 - a seed is what makes this repeat itself
        self._stop = asyncio.Event()

    @property
    def known(self) -> int:
        """How many ids there were so far."""
        return len(self._ids)

    def stop(self) -> None:
        """Publish nothing more."""
        self._stop.set()

    async def run(self) -> None:
        """Publish until stopped; every message was acknowledged then."""
        async with MqttPublisher(self._address) as publisher:
            stop = asyncio.create_task(self._stop.wait())
            while not stop.done():
                some = [self._next() for _ in range(self.at_once)]
                sent = [publisher.publish(topic, json.dumps(body).encode(), 1) for topic, body in some]
                assert all(await asyncio.gather(*sent))
                await asyncio.wait([stop], timeout=TICK_S)

    async def send_again(self, ids: list[Id]) -> None:
        """Publish ids once more as they were sent last."""
        async with MqttPublisher(self._address) as publisher:
            for first in range(0, len(ids), 200):
                some = [self._message(id_, self.last[id_]) for id_ in ids[first : first + 200]]
                sent = [publisher.publish(topic, json.dumps(body).encode(), 1) for topic, body in some]
                assert all(await asyncio.gather(*sent))
        self.sent[AGAIN] += len(ids)

    def _next(self) -> tuple[str, dict[str, Any]]:
        kind = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] if self._ids else NEW
        self.sent[kind] += 1
        number = self.sent.total()
        if kind == NAMELESS:
            self.nameless.add(number)
            return f"metrics/{self._chance.choice(self._tenants)}/edge-1/nameless", {"value": number}
        if kind == NEW:
            id_ = self._chance.choice(self._tenants), f"d-{number}"
            self._ids.append(id_)
        else:
            id_ = self._chance.choice(self._ids)
        if kind != AGAIN:
            self.last[id_] = number
            self.values.add((*id_, number))
        return self._message(id_, self.last[id_])

    @staticmethod
    def _message(id_: Id, value: int) -> tuple[str, dict[str, Any]]:
        tenant, dedupe_id = id_
        return f"metrics/{tenant}/edge-1/cpu", {"value": value, "dedupe_id": dedupe_id}


async def tenants_of(pipeline: Pipeline, partitions: int, *, before: int = PARTITIONS) -> list[str]:
    """Add a tenant for each of the partitions that there are to be."""
    found: dict[int, str] = {}
    while len(found) < partitions:
        tenant = str(uuid.uuid4())
        found.setdefault(partition_of(tenant, partitions), tenant)
    for tenant in found.values():
        await pipeline.query("insert into tenants (id, name) values ($1, 'grows')", uuid.UUID(tenant))
    assert any(partition_of(tenant, before) != number for number, tenant in found.items())
    return list(found.values())


@asynccontextmanager
async def publishing(devices: Devices) -> AsyncIterator[None]:
    """Let devices publish meanwhile."""
    task = asyncio.create_task(devices.run())
    try:
        yield
        devices.stop()
        await task
    finally:
        await ended(task)


async def sends_more(devices: Devices, count: int) -> None:
    """Wait until devices have sent so many messages more."""
    wanted = devices.sent.total() + count

    async def has() -> bool:
        return devices.sent.total() >= wanted

    await eventually(has, timeout_s=120)


async def handed_off(pipeline: Pipeline, messages: int) -> int:
    """Wait until so many messages have come in and all of them are handed off; return how many came in."""
    topics = [f"{pipeline.topics}.raw", f"{pipeline.topics}.unique"]

    async def came_in() -> int:
        records = await read_topic(pipeline.kafka.bootstrap, topics[0])
        return sum(read_messages(dict(record.headers)) for record in records)

    async def are() -> bool:
        is_in = await came_in() >= messages
        return is_in and await group_lag(pipeline.kafka.bootstrap, pipeline.topics, topics) == 0

    await eventually(are, timeout_s=120, interval_s=0.5)
    return await came_in()


async def command(pipeline: Pipeline, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command of the project; return its exit code and all that it said."""
    done = await asyncio.to_thread(call, "metric-streams", *arguments, **pipeline.environment | settings)
    return done.returncode, done.stdout + done.stderr


async def accepted(pipeline: Pipeline) -> Counter[tuple[str, str | None, float]]:
    """Return how often each (tenant, dedupe id, value) was accepted.

    A worker that starts emits the last chunks again; handoff knows them by their origin, and so do we.
    """
    records = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.unique")
    chunks = [unique.decode(record.value) for record in records]
    accepted_at = {
        (chunk.origin, reading.index): (reading.tenant_id, reading.dedupe_id, reading.value)
        for chunk in chunks
        for reading in chunk.readings
    }
    return Counter(accepted_at.values())


async def all_landed(pipeline: Pipeline, devices: Devices) -> None:
    """Check that all that devices sent was accepted once and is in its row, with the last value.

    What was sent again is a duplicate, also where its partition is another one by then.
    """
    assert await handed_off(pipeline, devices.sent.total()) == devices.sent.total()
    found = await accepted(pipeline)
    named = {(tenant, id_, int(value)): n for (tenant, id_, value), n in found.items() if id_ is not None}
    assert not devices.values - named.keys(), "missing on metrics.unique"
    assert not named.keys() - devices.values
    assert {place: count for place, count in named.items() if count > 1} == {}
    nameless = Counter(int(value) for (_, id_, value), n in found.items() if id_ is None for _ in range(n))
    assert nameless == Counter(devices.nameless)

    async def rows_stand() -> bool:
        rows = await pipeline.rows()
        last = {
            (row["tenant_id"], row["dedupe_id"]): int(row["value"])
            for row in rows
            if row["metric_name"] == "cpu"
        }
        return len(rows) == len(devices.last) + len(devices.nameless) and last == devices.last

    await eventually(rows_stand, timeout_s=120, interval_s=0.5)
