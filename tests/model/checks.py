"""What must hold of everything that the agents left behind, once all has come to rest."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from streams.ingress.chunking import partition_of
from streams.kafka.testing import FakeRecord
from streams.laravel.job import Job, decode_job
from streams.models import Origin, Reason, Stage
from streams.wire import rejected, unique
from streams.wire.headers import EPOCH, SEQ, WRITER, read_digest
from tests.model.devices import AGENT, METRIC, PARTITIONS, STAMPS
from tests.model.expected import Accepted, Content, Expected, Label
from tests.model.history import Place
from tests.model.world import World


class Emitted(msgspec.Struct):
    """What records of metrics.unique and of metrics.rejected have in common."""

    origin: Origin


def origin_of(record: bytes) -> Origin:
    """Return the chunk that an emitted record is about."""
    return msgspec.json.decode(record, type=Emitted).origin


@lru_cache(maxsize=1_000)
def uuid_of(payload: bytes) -> str:
    """Return a job's uuid."""
    return decode_job(payload).uuid


def check(world: World) -> None:
    """Hold everything that stands now to what must have become of it."""
    expected = Expected(world.history, world.settings.dedupe_window_s)
    _check_decisions(expected)
    _check_unique(expected, world.topics.all(world.settings.unique_topic))
    _check_rejected(expected, world.topics.all(world.settings.rejected_topic))
    jobs = [decode_job(payload) for payload in world.redis.jobs]
    _check_jobs(expected, jobs)
    _check_database(expected, jobs)


def _check_decisions(expected: Expected) -> None:
    """Whoever decides on a chunk, and however often, decides the same: what the plain retelling says."""
    epochs: dict[tuple[int, int], int] = {}
    for place, outcome in expected.outcomes.items():
        for decision, _ in expected.history.decided[place]:
            refused = {refusal.index: refusal.reason for refusal in decision.refusals}
            assert (decision.duplicates, refused) == (outcome.duplicates, outcome.refused), place
            epoch = epochs.setdefault((place.life, place.partition), decision.epoch)
            assert decision.epoch == epoch, f"{place} has another epoch than its log"


def _check_unique(expected: Expected, records: list[FakeRecord]) -> None:
    """Every accepted message is on metrics.unique; chunks come in order, and again only word for word."""
    places = {
        (decided[0].decision.epoch, decided[0].decision.digest, place.origin): place
        for place, decided in expected.history.decided.items()
    }
    emitted: dict[Place, FakeRecord] = {}
    for record in records:
        chunk = unique.decode(record.value)
        place = places[int(record.headers[EPOCH]), read_digest(record.headers), chunk.origin]
        record.headers.pop(WRITER), record.headers.pop(SEQ)
        assert emitted.setdefault(place, record) == record, f"{place} was emitted in two forms"
        assert [
            (reading.index, reading.tenant_id, Content(reading.value, _stamp(reading.timestamp)))
            for reading in chunk.readings
        ] == [(item.index, item.tenant, item.content) for item in expected.outcomes[place].accepted]
    for partition in range(PARTITIONS):
        assert [place for place in emitted if place.partition == partition] == [
            place
            for place, outcome in expected.outcomes.items()
            if place.partition == partition and outcome.accepted
        ]


def _check_rejected(expected: Expected, records: list[FakeRecord]) -> None:
    """Every refused message is on metrics.rejected as it came, twice only if its chunk was tried twice."""
    places = {
        (place.origin, message.received_at): place
        for place, messages in expected.history.raw.items()
        for message in messages
    }
    emitted: dict[tuple[Place, Stage, Reason], FakeRecord] = {}
    times: Counter[tuple[Place, Stage, Reason]] = Counter()
    found: dict[Place, dict[int, Reason]] = defaultdict(dict)
    for record in records:
        chunk = rejected.decode(record.value)
        place = places[chunk.origin, chunk.messages[0].received_at]
        group = place, chunk.stage, chunk.reason
        times[group] += 1
        assert emitted.setdefault(group, record) == record, f"{group} was emitted in two forms"
        for refused in chunk.messages:
            original = expected.history.raw[place][refused.index]
            assert (refused.topic, refused.payload) == (original.topic, original.payload)
            assert refused.detail
            found[place][refused.index] = chunk.reason
    assert found == {place: told.refused for place, told in expected.outcomes.items() if told.refused}
    for group, count in times.items():
        assert count <= expected.history.tries[group[0]], f"{group} was emitted more often than it was tried"


def _check_jobs(expected: Expected, jobs: list[Job]) -> None:
    """The queue holds each partition's jobs once and in order."""
    for partition in range(PARTITIONS):
        found = [job.uuid for job in jobs if partition_of(job.tenant_id, PARTITIONS) == partition]
        assert found == list(expected.jobs(partition))


def _check_database(expected: Expected, jobs: list[Job]) -> None:
    """The rows are those of a plain upsert of all that was accepted, whatever was dropped as a duplicate."""
    rows: dict[tuple[str, str | None], tuple[Content, str]] = {}
    for job in jobs:
        for metric in job.metrics:
            assert (metric.agent_id, metric.metric_name) == (AGENT, METRIC)
            content = Content(int(metric.value), _stamp(metric.timestamp))
            rows[job.tenant_id, metric.dedupe_id] = content, metric.timestamp
    accepted = _last(item for outcome in expected.outcomes.values() for item in outcome.accepted)
    by_label = {label: rows[key] for key in rows for label in [_label(*key, *rows[key], accepted.values())]}
    assert len(by_label) == len(rows)
    assert {label: content for label, (content, _) in by_label.items()} == expected.plain
    assert {label: timestamp for label, (_, timestamp) in by_label.items()} == {
        label: item.timestamp for label, item in accepted.items()
    }


def _last(accepted: Iterable[Accepted]) -> dict[Label, Accepted]:
    return {item.label: item for item in accepted}


def _label(
    tenant: str, dedupe_id: str | None, content: Content, timestamp: str, accepted: Iterable[Accepted]
) -> Label:
    """Find out which row this is: by the device's id, by what it says, or by its arrival, which is unique."""
    if dedupe_id in ("a", "b"):
        return ("id", tenant, dedupe_id)
    if content.timestamp is not None:
        return ("reading", tenant, *content)
    return next(item.label for item in accepted if item.arrival == timestamp and item.label[0] == "place")


def _stamp(timestamp: str) -> str | None:
    return timestamp if timestamp in STAMPS.values() else None
