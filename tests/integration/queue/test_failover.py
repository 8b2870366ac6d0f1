"""A failover behind an address that stays: every connection leads to what is a replica by now."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis

from streams.counters import Statistics
from streams.errors import Outage
from streams.ingest.store import FakeMetricStore
from streams.laravel.fence import Fence
from streams.laravel.push import ChunkOfJobs, Push
from streams.laravel.redis_health import handoff_health
from streams.laravel.redis_outages import answered
from tests.faults.proxy import Link
from tests.integration.ingest.bench import Bench, make_worker, metric, running
from tests.integration.queue.conftest import Serve
from tests.integration.queue.queues import (
    FENCE,
    NAME,
    PREFIX,
    announced,
    payload,
    push,
    pushing,
    take,
    taking,
)
from tests.parts.eventually import eventually
from tests.parts.redis import Redis as RedisServer

Clients = Callable[[str], Redis]


class Pair(NamedTuple):
    """Two servers, and an address that leads to the master."""

    first: RedisServer
    second: RedisServer
    link: Link
    direct: tuple[Redis, Redis]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.link.port}/0"

    async def fail_over(self) -> None:
        """Make the second one the master. The connections through the address stay where they are."""
        one, two = self.direct
        await two.execute_command("REPLICAOF", "NO", "ONE")
        await one.execute_command("REPLICAOF", "127.0.0.1", self.second.port)
        self.link.target_port = self.second.port


@pytest.fixture
async def pair(serve: Serve, clients: Clients) -> AsyncIterator[Pair]:
    first = serve()
    second = serve()
    one, two = clients(first.url), clients(second.url)
    await one.config_set("repl-diskless-sync-delay", 0)
    await two.execute_command("REPLICAOF", "127.0.0.1", first.port)

    async def follows() -> bool:
        return (await two.info("replication"))["master_link_status"] == "up"

    await eventually(follows)
    async with Link("redis", first.port) as link:
        yield Pair(first, second, link, (one, two))


async def succeeds(action: Callable[[], Awaitable[Any]]) -> Any:
    """Try as the programs do, again and again on the same client."""

    async def done() -> list[Any]:
        try:
            return [await action()]
        except Outage:
            return []

    return (await eventually(done, 10))[0]


async def caught_up(pair: Pair) -> None:
    await pair.direct[0].set("the last write", 1)  # WAIT looks only at what its own connection has written
    assert await pair.direct[0].execute_command("WAIT", 1, 10_000) == 1


async def test_ingest_takes_and_settles_on_the_new_master(pair: Pair, clients: Clients) -> None:
    queue = taking(clients(pair.url))
    await push(pair.direct[0], payload("before"), payload("after"))
    [before] = await take(queue, 1)
    await caught_up(pair)
    await pair.fail_over()
    assert await succeeds(lambda: queue.complete(announced([before]))) == [True]
    [after] = await succeeds(lambda: take(queue))
    assert after.payload == payload("after")


async def test_handoff_pushes_to_the_new_master(pair: Pair, clients: Clients) -> None:
    queue = pushing(clients(pair.url))
    await queue.standing(0)
    await queue.push(0, [ChunkOfJobs(Fence(1, 0, 0), [b"before"])])
    await caught_up(pair)
    await pair.fail_over()
    with pytest.raises(Outage, match=r"READONLY.*connecting anew"):
        await queue.push(0, [ChunkOfJobs(Fence(1, 1, 1), [b"after"])])
    assert await succeeds(lambda: queue.push(0, [ChunkOfJobs(Fence(1, 1, 1), [b"after"])])) is Push.PUSHED
    assert await pair.direct[1].lrange(f"{PREFIX}queues:{NAME}", 0, -1) == [b"before", b"after"]


async def test_all_connections_of_a_client_are_made_anew_after_one_was_refused(
    pair: Pair, clients: Clients
) -> None:
    redis = clients(pair.url)
    await asyncio.gather(*(redis.set(f"key {number}", 1) for number in range(5)))
    await caught_up(pair)
    await pair.fail_over()
    with pytest.raises(Outage):
        await take(taking(redis))
    await asyncio.gather(*(redis.set(f"key {number}", 2) for number in range(5)))
    assert await pair.direct[1].get("key 4") == b"2"


async def test_one_that_waits_for_jobs_meanwhile_goes_to_the_new_master(pair: Pair, clients: Clients) -> None:
    queue = taking(clients(pair.url))
    waiting = asyncio.create_task(queue.wait(30))

    async def blocked() -> bool:
        return any("blpop" in client["cmd"] for client in await pair.direct[0].client_list())

    await eventually(blocked)
    await pair.fail_over()
    with pytest.raises(Outage, match=r"UNBLOCKED.*connecting anew"):
        await asyncio.wait_for(waiting, 30)
    await push(pair.direct[1], payload("after"))
    assert len(await succeeds(lambda: take(queue))) == 1


async def test_a_replica_that_lost_its_master_and_refuses_even_to_read_is_left(
    pair: Pair, clients: Clients
) -> None:
    queue = taking(clients(pair.url))
    await queue.check()
    await pair.fail_over()
    await pair.direct[0].config_set("replica-serve-stale-data", "no")
    await pair.direct[0].execute_command("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(Outage, match=r"MASTERDOWN.*connecting anew"):
        await queue.backlog()
    assert (await succeeds(queue.backlog)).waiting == 0


async def test_a_master_without_its_replicas_is_left_for_the_one_that_has_taken_its_place(
    pair: Pair, clients: Clients
) -> None:
    redis = clients(pair.url)
    queue = taking(redis)
    await queue.check()
    await pair.direct[1].execute_command("REPLICAOF", "NO", "ONE")
    await pair.direct[0].config_set("min-replicas-to-write", 1)
    pair.link.target_port = pair.second.port
    with pytest.raises(Outage, match=r"NOREPLICAS.*min-replicas-to-write"):
        # No script: an older Redis refuses none for want of replicas.
        await succeed_never(lambda: answered(redis.zrem("none", "none")))
    assert await succeeds(lambda: take(queue)) == []


async def succeed_never(action: Callable[[], Awaitable[Any]]) -> None:
    """Try until it is refused: a master notices that its replicas are gone when it looks."""

    async def tried() -> bool:
        await action()
        return False

    await eventually(tried, 15)


async def test_a_replica_is_not_up_although_it_answers(pair: Pair, clients: Clients) -> None:
    replica = clients(pair.second.url)
    assert await replica.ping()
    for check in (taking(replica).check, handoff_health(replica, PREFIX, NAME, FENCE).check):
        with pytest.raises(Outage, match=r"READONLY.*REDIS_URL name the master"):
            await check()


async def test_a_worker_goes_on_by_itself_and_redis_is_up_again(pair: Pair) -> None:
    bench = Bench(pair.url, PREFIX, "8f3a9f0e-5c2b-4d1e-9a77-0d1c2b3a4f5e")
    store, statistics = FakeMetricStore(), Statistics()
    async with bench.redis:
        await bench.push(metric("before"))
        async with running(make_worker(taking(bench.redis), store, statistics=statistics)):
            await eventually(lambda: len(store.jobs) == 1)
            await eventually(bench.is_empty)
            await caught_up(pair)
            await pair.fail_over()
            other = Bench(pair.second.url, PREFIX, bench.tenant_id)
            await other.push(metric("after"))
            await eventually(lambda: len(store.jobs) == len(["before", "after"]))
            await eventually(other.is_empty)
            await eventually(lambda: statistics.parts["redis"].up)
            await other.redis.aclose()
