"""The real parts of a storm: servers, links between them, workers and ingest, and whoever keeps them up."""

import asyncio
import re
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from streams.database.schema import ensure_tables
from streams.tasks import ended_well
from tests.faults.killable import DEATH_ROW, DeathRow
from tests.faults.pace import pass_time
from tests.faults.plan import LINKS, OF_BROKERS, OF_DISKS, OF_STANDBYS
from tests.faults.proxy import Link
from tests.faults.tap import Tap, watch
from tests.parts.builds import check_out
from tests.parts.disk import Disk
from tests.parts.kafka import Kafka, cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.process import Part
from tests.parts.redis import Redis
from tests.parts.tenants import add_tenants
from tests.parts.worker import FaustProcess
from tests.parts.wrong_clock import WrongClock

BUILD_BEFORE = "7b73b80"
"""The last commit of the build before this one: workers of both run side by side while they are replaced."""
DISK_MB = 2_048
# Only what was synced outlives a power cut: as docs/guarantees.md has it for a single broker and server.
DURABLE_KAFKA = {"log.flush.interval.messages": "1"}
DURABLE_POSTGRES = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"}
_LEADERSHIP = re.compile("this worker (now|no longer) carries MQTT")
_LEADS = re.compile("now carries")

TENANTS = 6
PARTITIONS = 4
SLOTS = 4
RESPAWN_S = 1.0
LOOK_S = 0.25
QUEUE_PREFIX, TOPICS, GROUP = "laravel_database_", "metrics", "metric-streams"
QUEUE = f"{QUEUE_PREFIX}queues:default"
FENCE = f"{QUEUE_PREFIX}metric-streams:{TOPICS}:fence"


class Mortal(FaustProcess):
    """The worker or ingest, which can be made to die at a point (`tests.faults.killable`).

    Attributes:
        build: the checkout of another build that it is to run when it starts next; None for this one.
    """

    stop_timeout_s = 90.0

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        super().__init__(command, environment)
        self.build: Path | None = None
        self._clock: WrongClock | None = None
        self._settings |= {"WEB_PORT": str(self.port), "INGEST_WEB_PORT": "0"}

    @property
    def clock(self) -> WrongClock:
        """The wall clock, of one that has its own."""
        assert self._clock is not None, f"{self.name} has the machine's clock"
        return self._clock

    def give_a_clock(self) -> None:
        """Let it start with a wall clock of its own."""
        self._clock = WrongClock(self.directory)
        self._settings |= self._clock.environment

    def change_settings(self, settings: Mapping[str, str]) -> None:
        """Let it start with other settings."""
        self._settings |= settings

    def _environment(self) -> Mapping[str, str]:
        build = {} if self.build is None else {"PYTHONPATH": str(self.build)}
        return {**super()._environment(), **build}

    def _argv(self) -> Sequence[str]:
        python, *_ = super()._argv()
        return [python, "-m", "tests.faults.killable", *self.command]


class Hears(Protocol):
    """Is told what happens."""

    def __call__(self, what: str) -> None:
        """Take one line."""
        ...


class Crew:
    """Processes of one kind; those that die are started again, as a supervisor would.

    Attributes:
        wanted: how many are to run.
        ended_themselves: exits that nobody asked for; the deaths at a point look like SIGKILL.
    """

    def __init__(self, slots: Sequence[Mortal], wanted: int, say: Hears) -> None:
        self.wanted = wanted
        self.ended_themselves = 0
        self._slots = slots
        self._say = say
        self._busy: set[Mortal] = set()
        self._asked_for: set[Mortal] = set()

    @property
    def running(self) -> list[Mortal]:
        """Those that run and that nothing is being done to, oldest slot first."""
        return [slot for slot in self._slots if slot.is_running and slot not in self._busy]

    @property
    def slots(self) -> Sequence[Mortal]:
        """All that may run."""
        return self._slots

    def leader(self) -> Mortal | None:
        """Return the worker that carries MQTT, by what each has logged last."""
        leads = [
            slot for slot in self.running if _LEADS.search(last_of(slot.log_text(), slot.pid)) is not None
        ]
        return leads[0] if len(leads) == 1 else None

    @property
    def alive(self) -> list[Mortal]:
        """All that run."""
        return [slot for slot in self._slots if slot.is_running]

    async def keep(self) -> None:
        """Start what is missing, until cancelled."""
        was_running: set[Mortal] = set()
        while True:
            gone = {slot for slot in was_running if not slot.is_running and slot not in self._busy}
            for slot in gone - self._asked_for:
                self.ended_themselves += slot.exit_code != -signal.SIGKILL
                self._say(f"{slot.name} ended: {slot.exit_code}")
                if slot.exit_code != -signal.SIGKILL:
                    self._say(slot.log_tail())
            if gone:
                await pass_time(RESPAWN_S)
            await self._start_missing()
            was_running = set(self.alive)
            await pass_time(LOOK_S)

    async def _start_missing(self) -> None:
        idle = [slot for slot in self._slots if not slot.is_running and slot not in self._busy]
        for slot in idle[: max(0, self.wanted - len(self.alive))]:
            self._asked_for.discard(slot)
            await asyncio.to_thread(slot.start)

    @asynccontextmanager
    async def take(self, slot: Mortal) -> AsyncIterator[Mortal]:
        """Let something be done to a process without its being started again meanwhile."""
        self._busy.add(slot)
        try:
            yield slot
        finally:
            self._busy.discard(slot)
            if not slot.is_running:
                self._asked_for.add(slot)


def last_of(log: str, pid: int) -> str:
    """Return the last line about leadership of this process; one before it may have died leading."""
    ours = f"[{pid}]"
    return next(
        (line for line in reversed(log.splitlines()) if ours in line and _LEADERSHIP.search(line)), ""
    )


@dataclass
class Stack:
    """Everything that runs.

    Attributes:
        brokers: of three, by node id; empty where there is one.
        disks: of the servers that have one of their own.
        standbys: of Redis and PostgreSQL, where they are to fail over; the next failover starts one.
    """

    directory: Path
    servers: dict[str, Part]
    links: dict[str, Link]
    workers: Crew
    ingests: Crew
    tenants: list[str]
    environment: dict[str, str]
    death_row: DeathRow
    tap: Tap
    tap_attached: asyncio.Event
    brokers: dict[int, Kafka]
    disks: dict[str, Disk]
    standbys: dict[str, Part]

    @cached_property
    def build_before(self) -> Path:
        """The checkout of the build before this one."""
        return check_out(BUILD_BEFORE, self.directory / "before")

    @property
    def kafka(self) -> Kafka:
        """The broker."""
        part = self.servers["kafka"]
        assert isinstance(part, Kafka)
        return part

    @property
    def redis(self) -> Redis:
        """The Redis of the job queue."""
        part = self.servers["redis"]
        assert isinstance(part, Redis)
        return part

    @property
    def postgres(self) -> Postgres:
        """The database."""
        part = self.servers["postgres"]
        assert isinstance(part, Postgres)
        return part

    @property
    def bootstrap(self) -> str:
        """Kafka's address, through its link: it advertises no other; of three, every one's own."""
        if self.brokers:
            return ",".join(broker.bootstrap for broker in self.brokers.values())
        return f"127.0.0.1:{self.links['worker-kafka'].port}"


@asynccontextmanager
async def stack(say: Hears, *, kinds: Collection[str] = (), workers: int = 2) -> AsyncIterator[Stack]:
    """Start everything that faults of some kinds need; stop it in the end."""
    async with AsyncExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="metric-streams-storm-")))
        kafka_link_port = free_port()
        brokers = cluster(3) if OF_BROKERS & set(kinds) else {}
        with_disks = bool(OF_DISKS & set(kinds))
        servers = _servers(brokers, kafka_link_port, directory if with_disks else None)
        standbys = _pair(with_disks=with_disks) if OF_STANDBYS & set(kinds) else {}
        for server in (*servers.values(), *brokers.values(), *standbys.values()):
            exits.callback(server.remove)
        disks = {}
        for name, server in servers.items() if with_disks else ():
            disks[name] = exits.enter_context(Disk(server, DISK_MB))
        starting = {*servers.values(), *brokers.values()}
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in starting))
        links = await _links(exits, servers, kafka_link_port)
        await ensure_tables(_postgres(servers).url)
        tenants = [str(uuid.uuid4()) for _ in range(TENANTS)]
        await add_tenants(_postgres(servers).url, tenants)
        for disk in disks.values():
            disk.sync()
        death_row = DeathRow(directory)
        environment = _environment(links) | {DEATH_ROW: str(directory)} | _of_cluster(brokers)
        tap, attached = Tap(), asyncio.Event()
        await _background(exits, watch(tap, lambda: servers["redis"].port, attached))
        await attached.wait()
        crews = _crews(exits, environment, links, workers, say)
        for slot in crews[0].slots if "clock" in kinds else ():
            slot.give_a_clock()
        made = Stack(
            directory,
            servers,
            links,
            *crews,
            tenants,
            environment,
            death_row,
            tap,
            attached,
            brokers,
            disks,
            standbys,
        )
        for pool in crews:
            await _background(exits, pool.keep())
        yield made


def _servers(
    brokers: Mapping[int, Kafka], kafka_link_port: int, beside_disks: Path | None
) -> dict[str, Part]:
    kafka = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{kafka_link_port}"}
    if beside_disks is not None:
        # On a disk that is full Kafka 4.1 destroys this one log, and with it every topic: none of our doing.
        kafka |= DURABLE_KAFKA | {"metadata.log.dir": str(beside_disks / "metadata")}
    return {
        "mosquitto": Mosquitto(),
        "kafka": brokers[1] if brokers else Kafka(kafka),
        **_pair(with_disks=beside_disks is not None),
    }


def _pair(*, with_disks: bool) -> dict[str, Part]:
    """Return what may fail over: a Redis and a PostgreSQL."""
    # Killed, PostgreSQL must know what it has committed; that a power cut does not take it costs more.
    postgres = DURABLE_POSTGRES if with_disks else {"synchronous_commit": "on"}
    return {"redis": Redis(append_only=True), "postgres": Postgres(postgres)}


def _of_cluster(brokers: Mapping[int, Kafka]) -> dict[str, str]:
    """Return what differs where there are three brokers; Faust takes them with semicolons between."""
    if not brokers:
        return {}
    urls = ";".join(broker.url for broker in brokers.values())
    return {"BROKER_URL": urls, "TOPIC_REPLICATION_FACTOR": "3", "TOPIC_MIN_INSYNC_REPLICAS": "2"}


def _crews(
    exits: AsyncExitStack, environment: Mapping[str, str], links: Mapping[str, Link], workers: int, say: Hears
) -> tuple[Crew, Crew]:
    beside = {
        "REDIS_URL": f"redis://127.0.0.1:{links['ingest-redis'].port}/0",
        "DATABASE_URL": _postgres_url(links["ingest-postgres"]),
        "QUEUE_RETRY_AFTER_S": "30",
    }
    slots = [Mortal(f"worker-{n}", ["worker", "-l", "info"], environment) for n in range(1, SLOTS + 1)]
    ingest = Mortal("ingest-1", ["ingest"], {**environment, **beside})
    for mortal in (*slots, ingest):
        exits.callback(mortal.remove)
    return Crew(slots, workers, say), Crew([ingest], 1, say)


async def _links(exits: AsyncExitStack, servers: Mapping[str, Part], kafka_link_port: int) -> dict[str, Link]:
    links = {}
    for name in LINKS:
        server = servers[name.partition("-")[2]]
        link = links[name] = Link(name, server.port)
        link.port = kafka_link_port if name == "worker-kafka" else 0
        await exits.enter_async_context(link)
    return links


def _environment(links: Mapping[str, Link]) -> dict[str, str]:
    return {
        "BROKER_URL": f"kafka://127.0.0.1:{links['worker-kafka'].port}",
        "MQTT_URL": f"mqtt://127.0.0.1:{links['worker-mosquitto'].port}",
        "REDIS_URL": f"redis://127.0.0.1:{links['worker-redis'].port}/0",
        "DATABASE_URL": _postgres_url(links["worker-postgres"]),
        "TOPIC_PREFIX": TOPICS,
        "CONSUMER_GROUP": GROUP,
        "TOPIC_PARTITIONS": str(PARTITIONS),
        # Larger chunks: a storm counts messages, and the machine has other things to do than small records.
        "CHUNK_LINGER_MS": "50",
        "QUEUE_PREFIX": QUEUE_PREFIX,
    }


def _postgres_url(link: Link) -> str:
    return f"postgresql://postgres@127.0.0.1:{link.port}/postgres"


def _postgres(servers: Mapping[str, Part]) -> Postgres:
    part = servers["postgres"]
    assert isinstance(part, Postgres)
    return part


async def _background(exits: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    async def end() -> None:
        await ended_well(task)

    exits.push_async_callback(end)
