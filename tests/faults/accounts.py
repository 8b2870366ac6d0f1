"""Asks the real parts what has become of the messages of a storm so far."""

import asyncio
from collections.abc import Sequence

import asyncpg
import redis.asyncio as redis_client

from streams.wire import rejected
from tests.faults.direct import Direct
from tests.faults.fleet import Device
from tests.faults.ledger import Ledger, Pushed, Row, settle
from tests.faults.messages import DIRECT_DEVICE, FLOOD_DEVICE
from tests.faults.stack import QUEUE, TOPICS, Stack
from tests.parts.topics import read_topic

ROWS = "select agent_id, timestamp, dedupe_id, value from metrics_raw"


class Accounts:
    """Reads rows, rejections and the queue.

    Attributes:
        flooded: states of the flood's messages; the injector's own.
        direct: what was written to metrics.raw past the broker.
    """

    def __init__(self, stack: Stack, devices: Sequence[Device], flooded: bytearray) -> None:
        self.flooded = flooded
        self.direct = Direct()
        self._of_new_tenants: list[Direct] = []
        self._kept_rejections: list[str] = []
        self._stack = stack
        self._devices = devices

    @property
    def rows_due(self) -> int:
        """How many rows the acknowledged messages must have become."""
        directs = [self.direct, *self._of_new_tenants]
        return sum(device.rows_due for device in (*self._devices, *directs))

    def direct_of_a_new_tenant(self) -> Direct:
        """Return what writes the messages of a tenant that has just been added."""
        self._of_new_tenants.append(Direct(DIRECT_DEVICE - 1 - len(self._of_new_tenants)))
        return self._of_new_tenants[-1]

    async def rows(self) -> int:
        """Count the rows that are there."""
        (row,) = await self._query("select count(*) from metrics_raw")
        return int(row[0])

    async def failed_jobs(self) -> int:
        """Count the jobs that were given up."""
        (row,) = await self._query("select count(*) from failed_jobs")
        return int(row[0])

    async def queued(self) -> int:
        """Count the jobs that wait, are at work, or wait to be tried again."""
        async with redis_client.from_url(self._stack.redis.url) as client:
            waiting = await client.llen(QUEUE)
            return int(waiting) + sum(
                [await client.zcard(f"{QUEUE}:{kind}") for kind in ("reserved", "delayed")]
            )

    async def ledger(self) -> Ledger:
        """Compare all that was sent with all that is there."""
        rows: list[Row] = [tuple(row) for row in await self._query(ROWS)]
        payloads = self._kept_rejections + await self._rejections()
        states = {device.number: device.state for device in self._devices}
        states |= {each.number: each.state for each in (self.direct, *self._of_new_tenants)}
        states |= {FLOOD_DEVICE: self.flooded}
        tap = self._stack.tap
        pushed = Pushed(dict(tap.last), tap.before, tap.gaps)
        return await asyncio.to_thread(settle, states, rows, payloads, pushed)

    async def keep_rejections(self) -> None:
        """Remember what is on metrics.rejected, before Kafka forgets it."""
        kept = {*self._kept_rejections, *await self._rejections()}
        self._kept_rejections = list(kept)

    async def _rejections(self) -> list[str]:
        records = await read_topic(self._stack.bootstrap, f"{TOPICS}.rejected")
        return [
            message.topic + (message.payload or "")
            for record in records
            for message in rejected.decode(record.value).messages
        ]

    async def is_settled(self) -> bool:
        """Return whether every acknowledged message has landed or was rejected, and the queue is empty."""
        if any(device.unanswered for device in self._devices) or await self.queued():
            return False
        if await self.rows() < self.rows_due:
            return False
        ledger = await self.ledger()
        return not (ledger.missing or ledger.wrong_last_pushes)

    async def _query(self, statement: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self._stack.postgres.url, timeout=5)
        try:
            return list(await connection.fetch(statement))
        except asyncpg.InternalClientError as error:  # cut off in the middle of an answer
            raise OSError(str(error)) from error
        finally:
            await connection.close()
