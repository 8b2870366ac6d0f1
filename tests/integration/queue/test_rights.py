"""Whatever a script may not do, or finds under its keys, it does nothing of what it was to do."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from streams.dashboard.exchange import Exchange, workers_key
from streams.dashboard.summary import WorkerSummary, encode
from streams.errors import Outage
from streams.laravel.fence import Fence
from streams.laravel.push import ChunkOfJobs, Push
from streams.laravel.redis_health import handoff_health
from streams.laravel.redis_keys import QueueKeys
from streams.laravel.reserve import ReservingQueue
from tests.integration.queue.conftest import Serve
from tests.integration.queue.queues import (
    FENCE,
    KEYS,
    NAME,
    PREFIX,
    RETRY_AFTER_S,
    Clock,
    announced,
    held,
    payload,
    push,
    pushing,
    take,
    taking,
)

Clients = Callable[[str], Redis]
WRITES = ["zadd", "zrem", "zremrangebyrank", "rpush", "lpush", "ltrim", "publish"]
READS = ["zscore", "zrangebyscore", "lindex"]
REPOSITORY = Path(__file__).parents[3]
CONVEYED = {"on", ">secret", "+@connection", "+info", "+multi", "+exec", "+script|load"}
"""What goes without being asked for: they lead to the script that asks."""
DASHBOARD = {f"~{workers_key(PREFIX, 'metrics')}", "+hgetall", "+expire"}
"""What only the workers' exchange for the dashboard needs."""
HAS_ACL_CHECK = 7
"""The version of Redis since which a script can ask for its rights."""


@dataclass
class Scene:
    """The queue with one job in each place, and a user whose rights can be narrowed."""

    admin: Redis
    clients: Clients
    clock: Clock
    url: str

    async def user(self, *commands: str, keys: str = "~*", channels: str = "&*") -> ReservingQueue:
        rules = ["reset", "on", ">pw", keys, *([channels] if channels else ["resetchannels"]), "+@all"]
        await self.admin.execute_command("ACL", "SETUSER", "job", *rules, *commands)
        return taking(self.clients(self.url), self.clock)

    async def asked_version(self) -> int:
        """Return the major version of Redis whose interface this is: a Valkey is a Redis 7.2."""
        return int((await self.admin.info("server"))["redis_version"].split(".")[0])


@pytest.fixture
def scene(serve: Serve, clients: Clients) -> Scene:
    server = serve()
    return Scene(clients(server.url), clients, Clock(), f"redis://job:pw@127.0.0.1:{server.port}/0")


async def attempt_all(queue: ReservingQueue, scene: Scene, jobs: list[Any]) -> int:
    """Do everything that can be done with jobs; return how many of these were refused."""
    refused = 0
    for action in (
        lambda: queue.complete(announced(jobs[:1])),
        lambda: queue.release(jobs[1], 10),
        lambda: queue.put_back(jobs[2:3]),
        lambda: take(queue, 1),
    ):
        before = await held(scene.admin)
        try:
            await action()
        except Outage:
            refused += 1
            assert await held(scene.admin) == before
    return refused


@pytest.mark.parametrize("command", WRITES + READS)
async def test_without_the_right_to_a_command_nothing_is_done_by_halves(scene: Scene, command: str) -> None:
    queue = await scene.user()
    await push(scene.admin, *map(payload, "abcde"))
    jobs = await take(queue, 4)
    await queue.release(jobs[3], 10)
    scene.clock.now_s += 10
    await scene.user(f"-{command}")
    assert await attempt_all(queue, scene, jobs[:3]) > 0
    assert sum(len(found) for where, found in (await held(scene.admin)).items() if where != "notify") >= len(
        "bcde"
    )


@pytest.mark.parametrize("key", KEYS)
async def test_without_the_right_to_a_key_nothing_is_done_by_halves(scene: Scene, key: str) -> None:
    queue = await scene.user()
    await push(scene.admin, *map(payload, "abcde"))
    jobs = await take(queue, 4)
    await queue.release(jobs[3], 10)
    scene.clock.now_s += 10
    rights = [f"~{other}" for other in KEYS if other != key]
    await scene.admin.execute_command("ACL", "SETUSER", "job", "resetkeys", *rights)
    assert await attempt_all(queue, scene, jobs[:3]) > 0


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_that_holds_something_else_lets_nothing_be_done_by_halves(scene: Scene, key: str) -> None:
    queue = await scene.user()
    await push(scene.admin, *map(payload, "abcde"))
    jobs = await take(queue, 4)
    await queue.release(jobs[3], 10)
    scene.clock.now_s += 10
    await scene.admin.set(key, "something else")
    for action in (
        lambda: queue.complete(announced(jobs[:1])),
        lambda: queue.release(jobs[1], 10),
        lambda: queue.put_back(jobs[2:3]),
        lambda: take(queue, 1),
    ):
        before = {name: await scene.admin.dump(name) for name in KEYS}
        with contextlib.suppress(Outage):
            await action()
            continue
        assert {name: await scene.admin.dump(name) for name in KEYS} == before
    with pytest.raises(Outage, match=r"WRONGTYPE.*QUEUE_NAME"):
        await queue.check()


async def test_without_the_right_to_publish_a_job_stays_until_it_is_published(scene: Scene) -> None:
    queue = await scene.user()
    await push(scene.admin, *map(payload, "abc"))
    jobs = await take(queue)
    await scene.user(channels="")
    with pytest.raises(Outage, match=r"docs/redis.md"):
        await queue.complete(announced(jobs))
    assert len((await held(scene.admin))["reserved"]) == len("abc")
    await scene.user()
    async with scene.admin.pubsub() as pubsub:
        await pubsub.subscribe("p_tenant.t.metrics")
        assert await queue.complete(announced(jobs)) == [True] * 3
        heard = 0
        while heard < len(jobs):
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=10)
            heard += message is not None
    assert (await held(scene.admin))["reserved"] == []


async def test_of_several_channels_one_that_is_forbidden_lets_no_job_be_deleted(scene: Scene) -> None:
    if await scene.asked_version() < HAS_ACL_CHECK:
        pytest.skip("an older Redis finds out at the second job: the first is settled by then, and published")
    queue = await scene.user()
    await push(scene.admin, *map(payload, "ab"))
    [(first, message), (second, _)] = announced(await take(queue))
    await scene.user(channels="&p_tenant.t.metrics")
    with pytest.raises(Outage, match=r"publish on the channel p_tenant.other"):
        await queue.complete([(first, message), (second, message._replace(channel="tenant.other"))])
    assert len((await held(scene.admin))["reserved"]) == len("ab")


async def test_readiness_names_the_right_that_is_missing(scene: Scene) -> None:
    await (await scene.user()).check()
    version = await scene.asked_version()
    for commands, options, named in [
        ([], {"channels": ""}, r"publish p_tenant\."),
        (["-lpush", "-zadd"], {}, r"zadd .*, lpush|zadd .*lpush"),
        ([], {"keys": "~p_queues:default"}, "EVALSHA with the keys .*p_queues:default:notify"),
    ]:
        queue = await scene.user(*commands, **options)
        if version < HAS_ACL_CHECK:
            if not options.get("channels", "&*"):
                continue  # which shows only when something is published
            named = "docs/redis.md"  # noqa: PLW2901 - what Redis says of it names nothing
        with pytest.raises(Outage, match=named):
            await queue.check()


async def exchanges(client: Redis) -> bool:
    """Tell whether a worker may tell others of itself, and hear of them."""
    key, queue = workers_key(PREFIX, "metrics"), QueueKeys.of(PREFIX, "default")
    exchange = Exchange(client, key=key, queue=queue, worker="a worker")
    await exchange.swap(encode(WorkerSummary("a worker")))
    return exchange.standing.up


async def test_the_rights_that_the_guide_lists_are_enough_and_none_is_idle(scene: Scene) -> None:
    text = (REPOSITORY / "docs/redis.md").read_text()
    words = text[text.index("ACL SETUSER metric-streams on") :].split("```")[0].split()[4:]
    rules = [word.replace("laravel_database_", PREFIX) for word in words]
    assert set(rules) > DASHBOARD
    for idle in [None, *(rule for rule in rules if rule not in CONVEYED)]:
        kept = [rule for rule in rules if rule != idle]
        await scene.admin.execute_command(
            "ACL", "SETUSER", "job", "reset", "on", ">pw", "resetchannels", *kept
        )
        client = scene.clients(scene.url)
        checks = [taking(client, scene.clock).check, handoff_health(client, PREFIX, NAME, FENCE).check]
        if idle is None:
            await push(scene.admin, payload("a"))
            await asyncio.gather(*(check() for check in checks))
            assert await exchanges(client)
            queue = taking(client, scene.clock)
            assert (await queue.backlog()).waiting == 1
            assert await queue.front() == payload("a")
            assert await queue.complete(announced(await take(queue))) == [True]
            await queue.wait(0.01)
            handoff = pushing(client)
            await handoff.standing(0)
            assert await handoff.push(0, [ChunkOfJobs(Fence(1, 0, 0), [b"job"])]) is Push.PUSHED
        elif idle in DASHBOARD:
            assert not await exchanges(client), idle
        elif await scene.asked_version() >= HAS_ACL_CHECK:
            outcomes = await asyncio.gather(*(check() for check in checks), return_exceptions=True)
            assert any(isinstance(outcome, Outage) for outcome in outcomes), idle


async def test_handoff_names_the_right_that_it_misses(scene: Scene) -> None:
    await scene.user("-hset")
    version = await scene.asked_version()
    health = handoff_health(scene.clients(scene.url), PREFIX, NAME, FENCE)
    if version >= HAS_ACL_CHECK:
        with pytest.raises(Outage, match=f"no right to: hset {FENCE}"):
            await health.check()
    await scene.user()
    await health.check()
    await scene.admin.set(FENCE, "something else")
    with pytest.raises(Outage, match="WRONGTYPE"):
        await health.check()


async def test_an_expired_job_is_brought_back_whole_or_not_at_all(scene: Scene) -> None:
    queue = await scene.user()
    await push(scene.admin, *map(payload, "abc"))
    await take(queue)
    scene.clock.now_s += RETRY_AFTER_S
    before = await held(scene.admin)
    for command in itertools.chain(WRITES, READS):
        await scene.user(f"-{command}")
        with contextlib.suppress(Outage):
            assert len(await take(queue)) == len("abc")
            scene.clock.now_s += RETRY_AFTER_S
            before = await held(scene.admin)
        assert await held(scene.admin) == before
