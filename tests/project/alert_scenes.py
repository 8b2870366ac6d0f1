"""For each alert: figures on which it must fire, and such on which it must not.

Series are in the notation of ``promtool test rules``, a value every 15 s; each is looked at after 20 minutes.
"""

from collections.abc import Mapping
from typing import NamedTuple

STEADY = 120
"""Values of a series: half an hour."""
WORKER = 'job="metric-streams-worker", instance="worker:6066"'
INGEST = 'job="metric-streams-ingest", instance="ingest:6067"'

Series = Mapping[str, str]


class Scene(NamedTuple):
    """What an alert is shown."""

    fires: Series
    quiet: Series


def steady(value: float, step: float = 0) -> str:
    """Return a series that stands still, or rises evenly."""
    return f"{value}+{step}x{STEADY}"


def late(before: float, after: float, *, at: int = 60) -> str:
    """Return a series that jumps, by default after 15 minutes."""
    return f"{before}+0x{at} {after}+0x{STEADY - at}"


def own(name: str, labels: str = "", of: str = WORKER) -> str:
    """Return the name of a series of a process of ours."""
    return f"metric_streams_{name}{{{', '.join(filter(None, [labels, of]))}}}"


def note(reason: str) -> Scene:
    """Return what an alert on a note is shown: one that rises, and one that has risen long ago."""
    name = own("notes_total", f'reason="{reason}"')
    return Scene({name: late(0, 3)}, {name: steady(3)})


def rejected(reason: str) -> Scene:
    """Likewise on a reason of rejections."""
    name = own("rejected_messages_total", f'reason="{reason}"')
    other = own("rejected_messages_total", 'reason="payload_not_json"')
    return Scene({name: steady(0, 1)}, {name: steady(7), other: steady(0, 5)})


RECEIVED = own("messages_total", 'stage="ingress", outcome="received"')
ACCEPTED = own("messages_total", 'stage="refine", outcome="accepted"')
REJECTED = own("messages_total", 'stage="refine", outcome="rejected"')
MQTT_UP = own("part_up", 'part="mqtt"')
IN_FLIGHT = own("mqtt_in_flight_messages")
ACKNOWLEDGED = own("mqtt_last_timestamp_seconds", 'outcome="acknowledged"')
CLOCK = own("clock_timestamp_seconds")
LAG = own("lag_seconds", 'topic="metrics.unique", partition="3"')
FAST = own("latency_seconds_bucket", 'stage="handoff", le="1.0"')
LONG = own("latency_seconds_bucket", 'stage="handoff", le="60.0"')
ALL = own("latency_seconds_bucket", 'stage="handoff", le="+Inf"')
FAILED = own("ingest_jobs_total", 'outcome="failed"', INGEST)
WAITING, QUEUE_LIMIT = own("queue_jobs", 'state="waiting"'), own("queue_limit_jobs")
USED, LIMIT = own("redis_memory_bytes"), own("redis_memory_limit_bytes")
IDS, MOST_IDS = own("dedupe_ids"), own("dedupe_limit_ids")
OPEN = own("book_unaccounted_messages", 'topic="metrics.raw", partition="3"')
PLACED = own("partition_placed", 'topic="metrics.raw", partition="3"')
REDIS_UP = own("part_up", 'part="redis"')
OTHER_LEADS = 'metric_streams_leader{job="metric-streams-worker", instance="other:6066"}'

SCENES = {
    "ProcessDown": Scene({f"up{{{INGEST}}}": late(1, 0)}, {f"up{{{INGEST}}}": steady(1)}),
    "NoWorker": Scene(
        {f"up{{{WORKER}}}": late(1, 0), f"up{{{INGEST}}}": steady(1)},
        {f"up{{{WORKER}}}": steady(1), 'up{job="metric-streams-worker", instance="gone:6066"}': steady(0)},
    ),
    "PartDown": Scene({REDIS_UP: late(1, 0)}, {REDIS_UP: f"1+0x70 0 0 1+0x{STEADY - 72}"}),
    "PartFlaps": Scene({REDIS_UP: "1 1 1 1 1 1 1 1 0 0 " * 12}, {REDIS_UP: f"1+0x50 0 0 1+0x{STEADY}"}),
    "NoLeader": Scene({own("leader"): late(1, 0)}, {own("leader"): steady(0), OTHER_LEADS: steady(1)}),
    "PositionUnknown": Scene({PLACED: late(1, 0)}, {PLACED: steady(1)}),
    "Lagging": Scene({LAG: late(0, 300)}, {LAG: steady(60)}),
    "Slow": Scene(
        {FAST: steady(0), LONG: steady(0, 10), ALL: steady(0, 10)},
        {FAST: steady(0, 10), LONG: steady(0, 10), ALL: steady(0, 10)},
    ),
    "NothingReceived": Scene(
        {RECEIVED: steady(900), MQTT_UP: steady(1)}, {RECEIVED: steady(0, 1), MQTT_UP: steady(1)}
    ),
    "NotAcknowledging": Scene(
        {IN_FLIGHT: steady(40), ACKNOWLEDGED: steady(0), CLOCK: steady(0, 15)},
        {IN_FLIGHT: steady(40), ACKNOWLEDGED: steady(0, 15), CLOCK: steady(0, 15)},
    ),
    "QueueNotWorked": Scene(
        {own("queue_front_still_seconds"): steady(0, 15)}, {own("queue_front_still_seconds"): steady(20)}
    ),
    "QueueFilling": Scene(
        {WAITING: steady(90_000), QUEUE_LIMIT: steady(100_000)},
        {WAITING: steady(70_000), QUEUE_LIMIT: steady(100_000)},
    ),
    "RedisFilling": Scene({USED: steady(80), LIMIT: steady(100)}, {USED: steady(80), LIMIT: steady(0)}),
    "JobsFailed": Scene({FAILED: late(0, 1)}, {FAILED: steady(4)}),
    "TenantUnknown": rejected("tenant_unknown"),
    "ManyRejected": Scene(
        {ACCEPTED: steady(0, 90), REJECTED: steady(0, 10)},
        {ACCEPTED: steady(0, 990), REJECTED: steady(0, 10)},
    ),
    "InternalError": rejected("internal_error"),
    "Bug": note("bugs"),
    "BookOpen": Scene({OPEN: late(0, 2)}, {OPEN: steady(0)}),
    "RecordsCut": note("records_cut"),
    "SessionLost": note("sessions_lost"),
    "SessionTakenOver": note("sessions_taken_over"),
    "Qos0Dropped": note("qos0_dropped"),
    "PositionSetBack": note("positions_set_back"),
    "UnprovedReplay": note("unproved_replays"),
    "Rebalancing": Scene({own("rebalances_total"): steady(0, 1)}, {own("rebalances_total"): late(1, 3)}),
    "Restarting": Scene(
        {own("start_timestamp_seconds"): "0+0x19 300+0x19 600+0x19 900+0x60"},
        {own("start_timestamp_seconds"): late(0, 900)},
    ),
    "DedupeFull": Scene(
        {IDS: steady(4_800_000), MOST_IDS: steady(5_000_000)},
        {IDS: steady(4_000_000), MOST_IDS: steady(5_000_000)},
    ),
    "ClockOff": Scene({CLOCK: steady(3_600, 15)}, {CLOCK: steady(5, 15)}),
}
"""By the name of the alert, without the MetricStreams in front of each."""
