"""One queue with Laravel's workers and ingest on it, which are stopped, killed and started again."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from streams.tasks import ended
from tests.contract.mixed_jobs import FLAKY, MixedJob, is_of, named
from tests.parts.eventually import eventually
from tests.parts.php import Php
from tests.parts.process import Part
from tests.parts.worker import Ingest

MIXED_PHP = Path(__file__).with_name("mixed.php")

BREAK = """
create table broken (agent_id text primary key);
create function refuse() returns trigger language plpgsql as $$
begin
    if exists (select from broken where agent_id = new.agent_id) then
        raise exception '% is broken', new.agent_id;
    end if;
    return new;
end $$;
create trigger refuse before insert on metrics_raw
    for each row when (new.agent_id like 'flaky-%') execute function refuse();
alter table metrics_raw add written_by text default current_setting('application_name');
"""
_ATTEMPTS = re.compile(rb'"attempts":([0-9]+)')
_END = b"the end"
PROGRESS_BETWEEN_LOOKS = 600
"""Publications after which each of the others has settled what it held: three batches of ingest."""


class LaravelWorker(Part):
    """Laravel's ``queue:work`` in a process of its own."""

    name = "laravel"

    def __init__(self, php: Php, environment: Mapping[str, str], *, block_for_s: int) -> None:
        super().__init__()
        self._php = php
        self._settings = dict(environment)
        self._block_for_s = block_for_s

    def is_ready(self) -> bool:
        """Tell whether it runs."""
        return self.is_running

    def _argv(self) -> Sequence[str]:
        return [str(self._php.program), str(MIXED_PHP), "work", str(self._block_for_s)]

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), **self._settings}


class MixedScene:
    """The queue seen from outside, and what is known of it.

    Attributes:
        connection: to the database.
        heard: every message published, by what it says.
        mended: the flaky jobs that were seen to wait for another try.
        attempts: how many jobs had had how many by then.
        suspects: the jobs that a worker held when it was stopped: they alone may have been run twice.
    """

    def __init__(self, redis: Redis, connection: asyncpg.Connection, prefix: str) -> None:
        self._redis = redis
        self.connection = connection
        self._prefix = prefix
        self._list = f"{prefix}queues:default"
        self.heard: Counter[bytes] = Counter()
        self.mended: set[str] = set()
        self.attempts: Counter[int] = Counter()
        self.suspects: set[str] = set()

    async def break_flaky(self, jobs: Sequence[MixedJob]) -> None:
        """Let the flaky ones fail, whoever runs them, until they are mended."""
        await self.connection.execute(BREAK)
        names = [(job.name,) for job in jobs if is_of(FLAKY, job.name)]
        await self.connection.copy_records_to_table("broken", records=names)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Within the block, count what is published and mend what waits."""
        async with self._redis.pubsub() as pubsub:
            await pubsub.psubscribe(f"{self._prefix}tenant.*")
            confirmed = await pubsub.get_message(timeout=10)
            assert confirmed is not None
            tasks = [asyncio.create_task(self._listen(pubsub)), asyncio.create_task(self._mend_always())]
            try:
                yield
            finally:
                await ended(*tasks)
                assert all(task.cancelled() for task in tasks), tasks

    async def _listen(self, pubsub: PubSub) -> None:
        async for message in pubsub.listen():
            self.heard[message["data"]] += 1

    async def _mend(self) -> None:
        waiting = await self._redis.zrange(f"{self._list}:delayed", 0, -1)
        seen = {name: job for job in waiting if is_of(FLAKY, name := named(job))}
        new = set(seen) - self.mended
        if new:
            self.attempts.update(int(_ATTEMPTS.search(seen[name])[1]) for name in new)
            await self.connection.execute("delete from broken where agent_id = any($1::text[])", list(new))
            self.mended |= new

    async def _mend_always(self) -> None:
        async def never() -> bool:
            await self._mend()
            return False

        await eventually(never, float("inf"), interval_s=0.1)

    async def reserved(self) -> set[bytes]:
        """Return the jobs in the hands of workers."""
        return set(await self._redis.zrange(f"{self._list}:reserved", 0, -1))

    async def left(self) -> dict[str, int]:
        """Count what is in the queue's keys, by what follows its name."""
        async with self._redis.pipeline() as counts:
            counts.llen(self._list)
            counts.llen(f"{self._list}:notify")
            counts.zcard(f"{self._list}:reserved")
            counts.zcard(f"{self._list}:delayed")
            found = await counts.execute()
        return dict(zip(("", ":notify", ":reserved", ":delayed"), found, strict=True))

    async def is_empty(self) -> bool:
        """Tell whether no job is left, and no notice of one."""
        return not any((await self.left()).values())

    async def hear_out(self) -> None:
        """Wait until all that was published so far is heard."""
        await self._redis.publish(f"{self._prefix}tenant.none.metrics", _END)
        await eventually(lambda: self.heard.pop(_END, 0))

    async def until_heard(self, count: int) -> None:
        """Wait for so many publications."""
        await eventually(lambda: self.heard.total() >= count, 300)

    async def stop_at_work(self, worker: Part) -> set[bytes]:
        """Stop a worker at a moment when it holds jobs, let the others go on, and return what it holds."""
        for _ in range(50):
            known = {job for job in await self.reserved() if named(job) in self.suspects}
            await asyncio.to_thread(worker.pause)
            held = await self.reserved() - known
            if held:
                await self._others_go_on()
                held &= await self.reserved()
            if held:
                self.suspects |= set(map(named, held))
                return held
            await asyncio.to_thread(worker.resume)
        raise AssertionError(f"{worker.name} was never found at work")

    async def _others_go_on(self) -> None:
        """Wait for so many publications, or until no more can come."""
        enough = self.heard.total() + PROGRESS_BETWEEN_LOOKS

        async def are_far() -> bool:
            left = await self.left()
            return self.heard.total() >= enough or not (left[""] or left[":delayed"])

        await eventually(are_far, 300)

    async def kill_at_work(self, worker: Part) -> int:
        """Kill a worker that holds jobs and start it again; return how many it held."""
        held = await self.stop_at_work(worker)
        await asyncio.to_thread(worker.kill)
        await asyncio.to_thread(worker.start)
        return len(held)

    async def outlive(self, *workers: Part) -> list[int]:
        """Stop workers until others have taken over what they hold, then let them go on with it."""
        held = [await self.stop_at_work(worker) for worker in workers]

        async def taken_over() -> bool:
            return set().union(*held).isdisjoint(await self.reserved())

        await eventually(taken_over, 60)
        for worker in workers:
            await asyncio.to_thread(worker.resume)
        return list(map(len, held))


def ingest(environment: Mapping[str, str], *, concurrency: int) -> Ingest:
    """Make a process of ingest."""
    return Ingest({**environment, "INGEST_CONCURRENCY": str(concurrency)})
