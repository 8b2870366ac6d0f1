"""What would become of a message, step by step, and why. Pure: runs the steps of refine on it alone."""

from enum import StrEnum

import msgspec

from agents.examine import examine
from agents.validate import arrival, tenant_unknown
from streams.ingress.chunking import partition_of, tenant_level
from streams.laravel.redis_keys import QueueKeys, channel_of
from streams.models import FIELDS, Candidate, Message, Origin, Reading, Rejection
from streams.mqtt.topics import matches
from streams.settings import Settings
from streams.wire import raw


class Prospect(StrEnum):
    """What would become of it."""

    NOT_RECEIVED = "not received"
    REJECTED = "rejected"
    ACCEPTED = "accepted"


class Step(msgspec.Struct, frozen=True):
    """What one step does with it."""

    step: str
    says: str


class Explanation(msgspec.Struct, frozen=True):
    """What would become of a message."""

    outcome: Prospect
    steps: list[Step]
    rejection: Rejection | None = None
    row: dict[str, object] | None = None
    """The row that would be written. Its dedupe id is None where it would be derived from where the message
    stands, or there is none."""


class ExaminedAlone(msgspec.Struct, frozen=True):
    """A message after the steps that need no part."""

    message: Message
    partition: int
    result: Candidate | Rejection

    @property
    def tenant_id(self) -> str | None:
        """The tenant to be asked for; None if it does not come to that."""
        return self.result.reading.tenant_id if isinstance(self.result, Candidate) else None


def examine_alone(topic: str, payload: bytes, received_at: str, settings: Settings) -> ExaminedAlone:
    """Run parse and validate over a message.

    Args:
        topic: as published.
        payload: as published.
        received_at: when it would arrive: RFC 3339 in UTC with microseconds.
        settings: those that the worker has.
    """
    (message,) = raw.decode(raw.join([raw.encode_message(topic, payload, received_at, 1)]))
    partition = partition_of(tenant_level(topic), settings.topic_partitions)
    examined = examine([message], Origin(partition, 0), settings.max_clock_skew_s, earliest=settings.earliest)
    return ExaminedAlone(message, partition, examined.candidates.get(0) or examined.rejections[0])


def explain(
    examined: ExaminedAlone, settings: Settings, *, exists: bool | None, why_unknown: str = ""
) -> Explanation:
    """Return what would become of it.

    Args:
        examined: the message.
        settings: those that the worker has.
        exists: whether the application has its tenant; None if nobody could tell.
        why_unknown: why nobody could.
    """
    topic = examined.message.topic
    if not matches(settings.mqtt_topic_filter, topic):
        says = f"not subscribed to: MQTT_TOPIC_FILTER={settings.mqtt_topic_filter} does not match {topic}"
        return Explanation(Prospect.NOT_RECEIVED, [Step("ingress", says)])
    says = f"received by {settings.mqtt_topic_filter}, written to {settings.raw_topic}[{examined.partition}]"
    steps = [Step("ingress", says)]
    result = examined.result
    if isinstance(result, Candidate):
        steps += [_parsed(result.reading), _validated(result.reading, examined.message)]
        if exists is False:
            result = tenant_unknown(result.reading.tenant_id)
    if isinstance(result, Rejection):
        step = Step(result.stage, f"rejected as {result.reason}: {result.detail}")
        goes = Step("refine", f"written to {settings.rejected_topic}, as it came")
        return Explanation(Prospect.REJECTED, [*steps, step, goes], result)
    reading = result.reading
    tenant = Step("tenant", "exists" if exists else f"not known whether it exists: {why_unknown}")
    steps += [tenant, _deduped(reading, examined.message, settings), _handed_off(reading, settings)]
    return Explanation(Prospect.ACCEPTED, steps, row=_row(reading, examined.message, settings))


def _parsed(reading: Reading) -> Step:
    return Step(
        "parse", f"tenant {reading.tenant_id}, agent {reading.agent_id}, metric {reading.metric_name}"
    )


def _validated(reading: Reading, message: Message) -> Step:
    whose = "the time of its arrival, since it has none" if _lacks_time(reading, message) else "its own"
    return Step("validate", f"value {reading.value}, timestamp {reading.timestamp} ({whose})")


def _deduped(reading: Reading, message: Message, settings: Settings) -> Step:
    window = f"within {settings.dedupe_window_s:g} s"
    if reading.dedupe_id is not None:
        says = f"known by its dedupe_id: dropped if the same came {window}; with other content it corrects"
    elif not _lacks_time(reading, message):
        says = f"known by its metric, value and timestamp: dropped if the same came {window}"
    else:
        says = "known by nothing: it has neither dedupe_id nor timestamp, so a copy is a second reading"
    return Step("dedupe", says)


def _handed_off(reading: Reading, settings: Settings) -> Step:
    queue = QueueKeys.of(settings.queue_prefix, settings.queue_name).list
    channel = channel_of(settings.queue_prefix, reading.tenant_id)
    return Step("handoff", f"in a job on {queue}; its worker announces it on {channel}")


def _lacks_time(reading: Reading, message: Message) -> bool:
    return reading.timestamp == arrival(message.received_at)


def _row(reading: Reading, message: Message, settings: Settings) -> dict[str, object]:
    dedupe_id = reading.dedupe_id
    # That of a message without a timestamp is made of where it stands.
    if (
        dedupe_id is None
        and settings.dedupe_id_when_missing == "derive"
        and not _lacks_time(reading, message)
    ):
        dedupe_id = reading.key
    row = {name: getattr(reading, name) for name in ("tenant_id", *FIELDS)}
    return {**row, "dedupe_id": dedupe_id}
