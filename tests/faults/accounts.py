"""Asks the real parts what has become of the messages of a storm so far."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import redis.asyncio as redis_client

from streams.wire import rejected
from tests.faults.fleet import Device
from tests.faults.ledger import Ledger, Row, settle
from tests.faults.messages import FLOOD_DEVICE
from tests.faults.stack import QUEUE, TOPICS, Stack
from tests.parts.topics import read_topic

ROWS = "select agent_id, timestamp, dedupe_id from metrics_raw"


class Accounts:
    """Reads rows, rejections and the queue.

    Attributes:
        flooded: states of the flood's messages; the injector's own.
    """

    def __init__(self, stack: Stack, devices: Sequence[Device], flooded: bytearray) -> None:
        self.flooded = flooded
        self._stack = stack
        self._devices = devices

    @property
    def rows_due(self) -> int:
        """How many rows the acknowledged messages must have become."""
        return sum(device.rows_due for device in self._devices)

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
        payloads = [
            message.topic + (message.payload or "")
            for record in await read_topic(self._stack.bootstrap, f"{TOPICS}.rejected")
            for message in rejected.decode(record.value).messages
        ]
        states = {device.number: device.state for device in self._devices} | {FLOOD_DEVICE: self.flooded}
        return await asyncio.to_thread(settle, states, rows, payloads)

    async def is_settled(self) -> bool:
        """Return whether every acknowledged message has landed or was rejected, and the queue is empty."""
        if any(device.unanswered for device in self._devices) or await self.queued():
            return False
        return await self.rows() >= self.rows_due and not (await self.ledger()).missing

    async def _query(self, statement: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self._stack.postgres.url, timeout=5)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()


class Drains:
    """How long it took, after each fault, until what was acknowledged by then had landed."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._open: list[tuple[float, int]] = []

    def fault_over(self, rows_due: int) -> None:
        """Begin to count."""
        self._open.append((time.monotonic(), rows_due))

    def look(self, rows: int, *, in_outage: bool) -> None:
        """Take in how many rows there are; while a server is away, nothing is expected to drain."""
        now = time.monotonic()
        if in_outage:
            self._open = [(now, due) for _, due in self._open]
            return
        for began, due in self._open:
            if rows >= due:
                self.longest_s = max(self.longest_s, now - began)
        self._open = [(began, due) for began, due in self._open if rows < due]
