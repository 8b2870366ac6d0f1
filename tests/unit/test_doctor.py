"""What the doctor says of what it has seen: a line with its mend for each fault; and a part that hangs."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from faust.types import TP
from rich.console import Console

from streams.doctor import (
    clocks,
    consumers,
    fences,
    kafka,
    mqtt,
    postgres,
    processes,
    records,
    redis,
    tenants,
)
from streams.doctor.examination import NamedCheck, examine
from streams.doctor.finding import Finding, Severity, broken, is_well, ok, warning
from streams.doctor.logs import LogEnds
from streams.doctor.pages import FetchedPage
from streams.doctor.seen import Sightings, across
from streams.doctor.shown import as_json, lines, show, summary
from streams.errors import Outage, StartupRefused
from streams.kafka.group import GroupState
from streams.kafka.log_reader import LogRecord
from streams.kafka.positions import LogRange
from streams.kafka.topic_checks import Found
from streams.laravel.fence import Fence
from streams.laravel.reserve import Backlog
from streams.mqtt.probe import ProbeResult
from streams.mqtt.transport import MqttSession
from streams.settings import Settings
from streams.topics import topic_specs
from streams.wire.decision import digest

SETTINGS = Settings.from_mapping({})
SESSION = MqttSession.of(SETTINGS, "host")
RAW, UNIQUE = TP("metrics.raw", 0), TP("metrics.unique", 0)
NOW = 1_764_000_000.0


def states(found: Sequence[Finding] | Any) -> list[Severity]:
    return [finding.state for finding in found]


def says(found: Any, *words: str, state: Severity = Severity.BROKEN) -> bool:
    """Tell whether there is a line with these words, that has a mend where it needs one."""
    fitting = [each for each in found if each.state is state and all(word in each.seen for word in words)]
    return any(each.mend or state is Severity.OK for each in fitting)


# --- Running the checks


async def test_a_check_that_hangs_holds_up_no_other() -> None:
    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def answers() -> list[Finding]:
        return [ok("redis", "7.0")]

    found = await examine(
        [NamedCheck("kafka", "the topics", hangs), NamedCheck("redis", "it", answers)], 0.05
    )
    assert says(found, "the topics", "no answer within 0.05 s")
    assert found[0].mend == "Start Kafka, or let BROKER_URL say where it is"
    assert says(found, "7.0", state=Severity.OK)


def raising(error: Exception) -> Callable[[], Awaitable[list[Finding]]]:
    async def check() -> list[Finding]:
        raise error

    return check


async def test_that_a_part_is_away_is_said_once_and_by_others_as_not_looked_at() -> None:
    away = raising(Outage("kafka", "connection refused"))
    checks = [
        NamedCheck("kafka", "the topics", away),
        NamedCheck("kafka", "records", away),
        NamedCheck("redis", "fence", away),
    ]
    found = await examine(checks, 5)
    assert [(each.part, each.state) for each in found] == [
        ("kafka", Severity.BROKEN),
        ("redis", Severity.WARNING),
    ]
    assert all(each.mend for each in found)


async def test_a_right_that_one_check_lacks_is_told_there_since_the_parts_own_line_may_be_well() -> None:
    lacks = raising(Outage("redis", "no right. Grant it", seen="NOPERM zrevrange", mend="Grant it"))
    found = await examine([NamedCheck("queue", "who works", lacks)], 5)
    assert found[0] == warning("queue", "who works: not looked at: redis: NOPERM zrevrange", "Grant it")


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (Outage("redis", "it evicts. Do this", seen="it evicts", mend="Do this"), "Do this"),
        (Outage("redis", "WRONGPASS invalid username-password pair"), "Look at user and password"),
        (Outage("mqtt", "the broker refuses us: Not authorized"), "Look at user and password"),
        (StartupRefused("the fence is another's"), "Do what it says"),
        (ZeroDivisionError("oh"), "the doctor has a bug"),
        (ConnectionRefusedError("refused"), "Start Redis"),
    ],
)
async def test_whatever_a_check_raises_is_a_line_with_a_mend(error: Exception, mend: str) -> None:
    part = error.part if isinstance(error, Outage) else "redis"
    (line,) = await examine([NamedCheck(part, "it", raising(error))], 5)
    assert line.state is Severity.BROKEN
    assert mend in line.mend


# --- Showing


FOUND = [
    ok("kafka", "stands"),
    warning("redis", "old", "raise it"),
    broken("mqtt", "is\x1b[2Jaway", "start it"),
]


def test_the_lines_have_state_part_what_was_seen_and_the_mend() -> None:
    assert lines(FOUND).splitlines() == [
        "ok       kafka    stands",
        "warning  redis    old -> raise it",
        r"broken   mqtt     is\x1b[2Jaway -> start it",
        "1 broken, 1 warning, 1 ok",
    ]


def test_as_json_it_says_whether_all_is_well() -> None:
    told = json.loads(as_json(FOUND))
    assert told["well"] is False
    assert [each["state"] for each in told["findings"]] == ["ok", "warning", "broken"]
    assert is_well(FOUND[:2])
    assert summary([]) == "0 broken, 0 warnings, 0 ok"


def test_the_table_fits_80_columns() -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    long = [broken("kafka", "word " * 40, "kafka-configs --bootstrap-server " * 5), *FOUND]
    show(long, console)
    shown = console.export_text().splitlines()
    assert max(map(len, shown)) <= 80
    assert any("kafka-configs" in line for line in shown)
    console.file.close()


# --- MQTT


@pytest.mark.parametrize(
    ("look", "words", "state"),
    [
        (ProbeResult("5", matching=3, statuses=["online"]), ["metrics/#", "messages come"], Severity.OK),
        (ProbeResult("5", matching=3, statuses=["offline"]), ["offline"], Severity.WARNING),
        (ProbeResult("5", refusal="answered with Not authorized"), ["Not authorized"], Severity.BROKEN),
        (ProbeResult("5", others=Counter(sensors=9)), ["nothing matched", "sensors/…"], Severity.WARNING),
        (ProbeResult("5"), ["nothing came"], Severity.WARNING),
        (ProbeResult("5", max_qos=0), ["QoS 0 alone"], Severity.BROKEN),
        (ProbeResult("5", dropped=7), ["dropped 7"], Severity.WARNING),
        (ProbeResult("5", statuses=["online", "offline", "online"]), ["another client"], Severity.BROKEN),
    ],
)
def test_of_the_broker(look: ProbeResult, words: list[str], state: Severity) -> None:
    found = [*mqtt.of_broker(look), *mqtt.of_filter(look, SESSION), *mqtt.of_session(look, SESSION)]
    assert says(found, *words, state=state)


def test_a_status_of_nobody_of_ours_is_told() -> None:
    assert says(across(Sightings("online", 0), "metric-streams"), "no worker of ours", "metric-streams")
    for seen in (
        Sightings("online", 1),
        Sightings("online", None),
        Sightings("offline", 0),
        Sightings("", 0),
    ):
        assert not list(across(seen, "metric-streams"))


# --- Kafka


def standing(**changed: Any) -> dict[str, Found]:
    return {
        spec.name: Found(8, 1, {**spec.configs, **changed.get(spec.name, {})})
        for spec in topic_specs(SETTINGS)
    }


def of_topics(found: dict[str, Found]) -> list[Finding]:
    return list(kafka.of_topics(topic_specs(SETTINGS), found, SETTINGS))


def test_of_the_topics() -> None:
    assert states(of_topics(standing())) == [Severity.OK]
    assert says(of_topics({}), "none of the topics")
    missing = standing()
    del missing["metrics.rejected"]
    assert says(of_topics(missing), "no topic metrics.rejected")
    assert says(of_topics(standing() | {"metrics.raw": Found(6, 1, {})}), "6 partitions")
    changelog = {"metric-streams-seen-changelog": {"cleanup.policy": "delete"}}
    assert says(of_topics(standing(**changelog)), "must be compact")
    bounded = {"metrics.raw": {"retention.bytes": "1000"}}
    assert says(of_topics(standing(**bounded)), "retention.bytes=1000", state=Severity.WARNING)
    shorter = {"metrics.raw": {"retention.ms": "1000"}}
    assert says(of_topics(standing(**shorter)), "retention.ms=1000", state=Severity.WARNING)
    assert says(
        of_topics(dict.fromkeys(standing(), Found(8, 1, None))), "does not tell", state=Severity.WARNING
    )


@pytest.mark.parametrize(
    ("group", "unheld", "words", "state"),
    [
        (None, [], "does not describe", Severity.WARNING),
        (GroupState("Empty", 0, []), [], "no worker", Severity.BROKEN),
        (GroupState("PreparingRebalance", 2, []), [], "share the partitions anew", Severity.WARNING),
        (
            GroupState("Stable", 2, [RAW]),
            [f"metrics.raw[{n}]" for n in range(6)],
            "and 2 more",
            Severity.BROKEN,
        ),
        (GroupState("Stable", 1, [RAW]), [], "1 worker is in the group", Severity.OK),
        (GroupState("Stable", 2, []), [], "2 workers are in the group", Severity.OK),
    ],
)
def test_of_the_group(group: GroupState | None, unheld: list[str], words: str, state: Severity) -> None:
    assert says(kafka.of_group(group, unheld, "metric-streams"), words, state=state)


def unique_record(raw_offset: int, raw_value: bytes, **headers: str) -> LogRecord:
    value = b'{"origin":{"partition":0,"offset":%d},"readings":[]}' % raw_offset
    told = {"epoch": "0", "digest": digest(raw_value).hex(), "group": "metric-streams", **headers}
    return LogRecord(0, value, {name: text.encode() for name, text in told.items()}, round(NOW * 1_000))


def read(unique: LogRecord, raw_range: LogRange, source: LogRecord | None) -> records.Read:
    ends = LogEnds({RAW: raw_range, UNIQUE: LogRange(0, 1)}, {UNIQUE: unique})
    return records.Read(ends, {} if source is None else {RAW: source}, {}, [])


RAW_VALUE = b'{"messages":[]}'
RAW_RECORD = LogRecord(7, RAW_VALUE, {"session": b"metric-streams"}, round(NOW * 1_000))


@pytest.mark.parametrize(
    ("raw_range", "source", "is_other"),
    [
        (LogRange(0, 8), RAW_RECORD, False),
        (LogRange(8, 9), None, False),  # retention
        (LogRange(0, 0), None, True),
        (LogRange(0, 3), None, True),
        (LogRange(0, 8), RAW_RECORD._replace(value=b'{"messages":[1]}'), True),
    ],
)
def test_a_raw_log_that_is_another_one_is_told(
    raw_range: LogRange,
    source: LogRecord | None,
    is_other: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    found = records.of_histories(read(unique_record(7, RAW_VALUE), raw_range, source), SETTINGS)
    assert says(found, "metrics.raw[0]", "not the log any more") is is_other


def test_of_who_wrote_and_in_which_format() -> None:
    ends = read(unique_record(7, RAW_VALUE, group="other"), LogRange(0, 8), RAW_RECORD).ends
    assert says(records.of_writers(ends, SETTINGS), "written by the group other")
    newer = read(unique_record(7, RAW_VALUE, format="9"), LogRange(0, 8), None).ends
    assert says(records.of_formats(newer, SETTINGS), "newer version")
    strange = LogEnds({RAW: LogRange(0, 1)}, {RAW: LogRecord(0, b"hello", {}, 0)})
    assert says(records.of_formats(strange, SETTINGS), "cannot be read", state=Severity.WARNING)
    session = LogEnds({RAW: LogRange(0, 1)}, {RAW: LogRecord(0, RAW_VALUE, {"session": b"another"}, 0)})
    assert says(records.of_writers(session, SETTINGS), "MQTT session another", state=Severity.WARNING)


def test_of_lag_and_of_kafkas_clock() -> None:
    assert says(
        records.of_lags({"metrics.raw": records.GroupLag(9, 600.0)}), "9 records", state=Severity.WARNING
    )
    assert says(records.of_lags({"metrics.raw": records.GroupLag(9, 1.0)}), "9 records", state=Severity.OK)
    ahead = LogEnds({}, {RAW: RAW_RECORD._replace(timestamp_ms=round((NOW + 3_600) * 1_000))})
    assert says(records.of_kafkas_clock(ahead, NOW), "1:00:00 ahead")
    assert not list(records.of_kafkas_clock(LogEnds({}, {RAW: RAW_RECORD}), NOW))


# --- Redis


def test_of_redis() -> None:
    info = {"redis_version": "7.2", "aof_enabled": 1, "maxmemory": 100 << 20, "used_memory": 1 << 20}
    assert states(redis.of_server(info)) == [Severity.OK]
    assert says(redis.of_server(info | {"aof_enabled": 0}), "appendonly is off", state=Severity.WARNING)
    assert says(redis.of_server(info | {"role": "slave"}), "a replica")
    assert says(redis.of_server(info | {"aof_last_write_status": "err"}), "cannot save")
    assert says(redis.of_server({}), "INFO", state=Severity.WARNING)
    evicts = info | {"maxmemory_policy": "allkeys-lru"}
    assert says(redis.of_memory(evicts, 0.8), "throws away jobs")
    assert says(redis.of_memory(info | {"used_memory": 90 << 20}, 0.8), "handoff waits")
    assert says(redis.of_memory(info | {"used_memory": 75 << 20}, 0.8), "75 of 100", state=Severity.WARNING)
    assert says(redis.of_queue(Backlog(100, 0, 0, 100), 1 << 20, "q", 100), "at HANDOFF_MAX_QUEUED_JOBS")
    assert says(redis.of_queue(Backlog(95, 0, 0, 95), None, "q", 100), "from HANDOFF", state=Severity.WARNING)
    assert states(redis.of_queue(Backlog(1, 0, 0, 1), None, "q", 100)) == [Severity.OK]


def fenced(fence: Fence | None, log: LogRange, record: LogRecord | None) -> dict[int, fences.Fenced]:
    return {0: fences.Fenced(fence, log, record)}


def test_of_the_fence() -> None:
    record = unique_record(7, RAW_VALUE)
    right, topic = Fence(0, 7, 0, digest(RAW_VALUE)), "metrics.unique"
    assert says(
        fences.of_fences(fenced(right, LogRange(0, 3), record), topic), "2 records", state=Severity.OK
    )
    assert says(fences.of_fences(fenced(right, LogRange(0, 0), None), topic), "not about")
    assert says(
        fences.of_fences(fenced(right, LogRange(0, 3), unique_record(8, RAW_VALUE)), topic), "not about"
    )
    assert says(
        fences.of_fences(fenced(None, LogRange(0, 3), None), topic), "no fence", state=Severity.WARNING
    )
    assert states(fences.of_fences(fenced(right, LogRange(5, 6), None), topic)) == [Severity.OK]  # retention


# --- The queue's consumers


def watched(
    before: Backlog, after: Backlog, *, taken_s: float | None = None, clients: int = 0
) -> consumers.QueueWatch:
    glances = consumers.QueueGlance(before, b"x", None), consumers.QueueGlance(after, b"x", taken_s)
    return consumers.QueueWatch(*glances, clients, NOW)


IDLE, TWO = Backlog(0, 0, 0, 0), Backlog(2, 0, 0, 2)


@pytest.mark.parametrize(
    ("seen", "words", "state"),
    [
        (watched(IDLE, IDLE, clients=1), "1 worker waits", Severity.OK),
        (watched(TWO, TWO), "nobody works the queue default", Severity.BROKEN),
        (watched(TWO, Backlog(1, 0, 0, 1)), "they are worked", Severity.OK),
        (watched(TWO, Backlog(2, 0, 1, 2), taken_s=NOW), "they are worked", Severity.OK),
        (watched(TWO, Backlog(2, 0, 1, 3)), "nobody works", Severity.BROKEN),  # whoever held one has died
    ],
)
def test_of_who_works_the_queue(seen: consumers.QueueWatch, words: str, state: Severity) -> None:
    assert says(consumers.of_queue(seen, "default", SETTINGS.job_class), words, state=state)


def test_since_when_a_job_waits_is_told_by_its_payload() -> None:
    assert consumers.waiting_since_s(b'{"pushedAt": "1764000000.5"}', "J") == 1764000000.5
    assert consumers.waiting_since_s(b"rubbish", "J") is None
    assert consumers.waiting_since_s(None, "J") is None


# --- PostgreSQL, tenants, processes, clocks


def test_of_postgres() -> None:
    server = postgres.Server("15", is_standby=False, is_read_only=False, synchronous_commit="on", user="u")
    assert states(postgres.of_server(server)) == [Severity.OK]
    assert says(postgres.of_server(server._replace(is_read_only=True)), "read-only")
    assert says(postgres.of_server(server._replace(is_standby=True)), "a standby")
    off = server._replace(synchronous_commit="off")
    assert says(postgres.of_server(off), "synchronous_commit", state=Severity.WARNING)
    assert says(postgres.of_tables({"tenants": None}), "no table tenants")
    assert says(postgres.of_rights("u", [("metrics_raw", "insert")]), "u may not insert on metrics_raw")
    assert says(postgres.of_tenants(0), "no tenant", state=Severity.WARNING)
    assert states(postgres.of_tenants(None)) == []


def test_of_unknown_tenants() -> None:
    counts = Counter({f"tenant-{n}": n for n in range(1, 6)})
    assert says(tenants.of_unknown(counts), "tenant-5 (5)", "2 more", state=Severity.WARNING)
    assert not list(tenants.of_unknown(Counter()))


def page(**body: Any) -> FetchedPage:
    return FetchedPage(200, body, NOW)


def test_of_the_worker() -> None:
    url = "http://127.0.0.1:6066"
    down = page(parts={"redis": {"up": False, "detail": "is away"}, "kafka": {"up": True, "detail": ""}})
    assert says(processes.of_worker(url, down, None, SETTINGS), "not ready, redis: is away")
    well = page(parts={"redis": {"up": True, "detail": ""}})
    assert states(processes.of_worker(url, well, None, SETTINGS)) == [Severity.OK]
    assert says(processes.of_worker(url, None, None, SETTINGS), "none answers", state=Severity.WARNING)
    other = page(app="another", version="0")
    assert says(processes.of_worker(url, well, other, SETTINGS), "it runs as another")
    assert says(processes.of_worker(url, well, other, SETTINGS), "version 0", state=Severity.WARNING)
    refused = FetchedPage(401, {}, NOW)
    assert says(processes.of_worker(url, well, refused, SETTINGS), "WEB_TOKEN", state=Severity.WARNING)


@pytest.mark.parametrize(
    ("ahead", "words", "state"),
    [
        ({"redis": 0.0, "postgres": 0.1}, "agree", Severity.OK),
        ({"redis": 3_600.0, "postgres": 0.0}, "redis is 1:00:00 ahead", Severity.BROKEN),
        ({"redis": 0.0, "postgres": -3_600.0}, "postgres is 1:00:00 behind", Severity.BROKEN),
        ({"redis": 20.0, "postgres": 0.0}, "redis is 0:00:20 ahead", Severity.WARNING),
        ({"redis": 3_600.0, "postgres": 3_601.0}, "this machine is 1:00:00 behind", Severity.BROKEN),
        ({"redis": 3_600.0}, "redis is 1:00:00 ahead", Severity.BROKEN),
        ({}, "no part told", Severity.WARNING),
    ],
)
def test_of_the_clocks(ahead: dict[str, float], words: str, state: Severity) -> None:
    assert says(clocks.of_clocks(ahead), words, state=state)


def lacking(what: str) -> Outage:
    seen = f"the user in REDIS_URL has no right to: {what}"
    return Outage("redis", f"{seen}. Grant it", seen=seen, mend="Grant it")


def test_a_user_of_redis_may_be_the_workers_alone_or_ingests_but_not_nobodys() -> None:
    whose = ["the worker", "ingest"]
    found = list(redis.of_rights(whose, {"ingest": lacking("publish")}))
    assert [each.state for each in found] == [Severity.OK, Severity.WARNING]
    assert says(found, "ingest cannot work with this user", "publish", state=Severity.WARNING)
    assert "if ingest logs in as another user; else: Grant it" in found[1].mend
    found = list(redis.of_rights(whose, {who: lacking("evalsha") for who in whose}))
    assert [each.state for each in found] == [Severity.BROKEN] * 2


def test_a_redis_that_nothing_can_be_done_with_is_broken_whoever_asks() -> None:
    refusal = Outage("redis", "WRONGTYPE. Do this", seen="WRONGTYPE", mend="Do this")
    found = list(redis.of_rights(["the worker", "ingest"], {"ingest": refusal}))
    assert says(found, "ingest cannot work there: WRONGTYPE")


def test_a_broker_that_asks_for_no_login_is_a_warning_where_the_client_id_is_known_to_all() -> None:
    found = mqtt.of_exposure("metric-streams")
    assert says(found, "asks for no login", "MQTT_CLIENT_ID=metric-streams", state=Severity.WARNING)
