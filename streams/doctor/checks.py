"""All checks of the doctor, side by side."""

from collections.abc import Mapping
from functools import partial

from streams.doctor.clocks import Clock, ahead_of_ours, of_clocks, postgres_time, redis_time
from streams.doctor.consumers import examine_consumers
from streams.doctor.examination import NamedCheck, examine
from streams.doctor.fences import examine_fences
from streams.doctor.finding import Finding
from streams.doctor.kafka import examine_group, examine_topics
from streams.doctor.mqtt import examine_mqtt
from streams.doctor.pages import read_page, worker_url
from streams.doctor.postgres import examine_postgres
from streams.doctor.processes import READY, examine_ingest, examine_worker
from streams.doctor.records import examine_records
from streams.doctor.redis import examine_redis
from streams.doctor.seen import Sightings, across
from streams.doctor.tenants import examine_tenants
from streams.settings import Settings

CHECK_LIMIT_S = 10.0
"""For each check. All run at once, so that all are over a little later."""


async def diagnose(settings: Settings, *, before_start: bool) -> list[Finding]:
    """Look at everything.

    Args:
        settings: as the worker has them.
        before_start: leave out whether a worker, and somebody who works the queue, runs.
    """
    seen = Sightings()
    found = await examine(checks(settings, seen, before_start=before_start), CHECK_LIMIT_S)
    return [*found, *across(seen, settings.mqtt_client_id)]


def checks(settings: Settings, seen: Sightings, *, before_start: bool) -> list[NamedCheck]:
    """Return the checks, in the order in which messages pass the parts."""
    database_url = settings.database_url.get_secret_value()
    running = not before_start
    wanted = [
        (True, NamedCheck("mqtt", "the broker", partial(examine_mqtt, settings, seen))),
        (True, NamedCheck("kafka", "the topics", partial(examine_topics, settings))),
        (running, NamedCheck("kafka", "the consumer group", partial(examine_group, settings, seen))),
        (True, NamedCheck("kafka", "the records", partial(examine_records, settings))),
        (True, NamedCheck("redis", "the server", partial(examine_redis, settings))),
        (True, NamedCheck("redis", "the fence", partial(examine_fences, settings))),
        (running, NamedCheck("queue", "its workers", partial(examine_consumers, settings))),
        (True, NamedCheck("postgres", "the database", partial(examine_postgres, database_url))),
        (True, NamedCheck("tenants", "those that are unknown", partial(examine_tenants, settings))),
        (running, NamedCheck("worker", "its pages", partial(examine_worker, settings))),
        (running, NamedCheck("ingest", "its pages", partial(examine_ingest, settings))),
        (True, NamedCheck("clocks", "the clocks", partial(examine_clocks, settings))),
    ]
    return [check for is_wanted, check in wanted if is_wanted]


async def examine_clocks(settings: Settings) -> list[Finding]:
    """Compare the clocks of those that answer."""
    clocks: Mapping[str, Clock] = {
        "redis": partial(redis_time, settings),
        "postgres": partial(postgres_time, settings),
        "worker": partial(_worker_time, settings),
    }
    ahead = {name: await ahead_of_ours(clock) for name, clock in clocks.items()}
    return list(of_clocks({name: each for name, each in ahead.items() if each is not None}))


async def _worker_time(settings: Settings) -> float | None:
    page = await read_page(settings, worker_url(settings) + READY)
    return None if page is None else page.date_s
