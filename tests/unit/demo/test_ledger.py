"""The ledger finds every fate that a message can have, and cannot be fooled by a loss."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.dedupe import dedupe
from agents.parse import parse
from agents.validate import validate
from streams.demo.ledger import Ledger, LedgerRow, RawChunk, reconcile
from streams.demo.simulation import Planned, PlannedPublication, PublicationKind, Shares, Simulation
from streams.models import Candidate, Message, Origin, Reading, Reason, RejectedMessage, Rejection, Stage
from streams.wire import raw
from streams.wire.rejected import RejectedChunk
from streams.wire.unique import UniqueChunk

TENANT = "11111111-1111-4111-8111-111111111111"
OTHER_TENANT = "22222222-2222-4222-8222-222222222222"
AT = "2026-11-23 14:00:00.000001"


class Pipeline:
    """What the topics and the table look like after a run; tests then take things away from it."""

    def __init__(self, sent: Sequence[PlannedPublication] = ()) -> None:
        self.sent = list(sent)
        self.raw: list[RawChunk] = []
        self.unique: list[UniqueChunk] = []
        self.rejected: list[RejectedChunk] = []
        self.rows: list[LedgerRow] = []

    def ledger(self) -> Ledger:
        return reconcile(self.sent, self.rows, self.raw, self.unique, self.rejected)

    def send(self, publication: PlannedPublication) -> Origin:
        """Send and receive a publication in a chunk of its own."""
        self.sent.append(publication)
        return self.receive(publication)

    def receive(self, publication: PlannedPublication) -> Origin:
        at = Origin(0, len(self.raw))
        self.raw.append(RawChunk(at, [Message(publication.topic, publication.payload.decode())]))
        return at

    def accept(self, at: Origin, planned: Planned) -> None:
        reading = Reading(
            index=0,
            tenant_id=planned.tenant_id,
            agent_id=planned.agent_id,
            metric_name=planned.metric_name,
            value=planned.value,
            timestamp=planned.timestamp,
            dedupe_id=planned.dedupe_id,
            key="k" * 32,
        )
        self.unique.append(UniqueChunk(at, [reading]))

    def reject(self, at: Origin, reason: Reason) -> None:
        self.rejected.append(RejectedChunk(at, Stage.PARSE, reason, [RejectedMessage(0, "")]))

    def land(self, planned: Planned, dedupe_id: str | None = None) -> None:
        fields = (planned.tenant_id, planned.agent_id, planned.metric_name, planned.value, planned.timestamp)
        self.rows.append(LedgerRow(*fields, dedupe_id or planned.dedupe_id or "derived"))


def planned(value: float = 1, dedupe_id: str | None = "d-1") -> Planned:
    return Planned(TENANT, "edge-1", "cpu", value, AT, dedupe_id)


def publication(reading: Planned, kind: PublicationKind = PublicationKind.VALID) -> PlannedPublication:
    return PlannedPublication(kind, "metrics/t/a/m", f"{reading.dedupe_id} {reading.value}".encode(), reading)


MALFORMED = PlannedPublication(
    PublicationKind.MALFORMED, "metrics/t/a/m", b"{", reason=Reason.PAYLOAD_NOT_JSON
)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture
def landed(pipeline: Pipeline) -> Pipeline:
    """A pipeline through which one reading has gone."""
    pipeline.accept(pipeline.send(publication(planned())), planned())
    pipeline.land(planned())
    return pipeline


def test_nothing_sent_adds_up(pipeline: Pipeline) -> None:
    assert pipeline.ledger().adds_up


def test_a_reading_with_its_row_has_landed(landed: Pipeline) -> None:
    ledger = landed.ledger()
    assert ledger.adds_up
    assert (ledger.sent, ledger.landed, ledger.rows) == (1, 1, 1)


def test_a_reading_without_dedupe_id_is_found_by_device_metric_and_time(pipeline: Pipeline) -> None:
    reading = planned(dedupe_id=None)
    pipeline.accept(pipeline.send(publication(reading)), reading)
    pipeline.land(reading, dedupe_id="0f3c0e0a6f2f4b0f8f2f9d5a7c1e2b3d")
    assert pipeline.ledger().adds_up
    assert pipeline.ledger().landed == 1


def test_a_corrected_reading_has_landed_in_the_row_that_replaced_it(landed: Pipeline) -> None:
    landed.accept(landed.send(publication(planned(2))), planned(2))
    landed.rows.clear()
    landed.land(planned(2))
    ledger = landed.ledger()
    assert ledger.adds_up
    assert (ledger.landed, ledger.superseded, ledger.rows) == (2, 1, 1)


def test_a_row_that_still_has_the_old_value_is_missing_its_readings(landed: Pipeline) -> None:
    landed.accept(landed.send(publication(planned(2))), planned(2))
    ledger = landed.ledger()
    assert not ledger.adds_up
    assert (ledger.landed, ledger.missing) == (0, 2)


def test_a_copy_that_went_nowhere_is_a_duplicate(landed: Pipeline) -> None:
    landed.send(publication(planned(), PublicationKind.DUPLICATE))
    ledger = landed.ledger()
    assert ledger.adds_up
    assert (ledger.sent, ledger.landed, ledger.duplicates) == (2, 1, 1)


def test_what_is_dropped_without_being_a_copy_is_missing(landed: Pipeline) -> None:
    landed.send(publication(planned(2)))
    ledger = landed.ledger()
    assert not ledger.adds_up
    assert (ledger.duplicates, ledger.missing) == (0, 1)


def test_the_old_value_after_a_correction_is_no_duplicate(landed: Pipeline) -> None:
    landed.accept(landed.send(publication(planned(2))), planned(2))
    landed.send(publication(planned(1), PublicationKind.DUPLICATE))
    landed.rows.clear()
    landed.land(planned(2))
    assert landed.ledger().missing == 1


def test_a_malformed_message_in_rejected_is_accounted_for(pipeline: Pipeline) -> None:
    pipeline.reject(pipeline.send(MALFORMED), Reason.PAYLOAD_NOT_JSON)
    ledger = pipeline.ledger()
    assert ledger.adds_up
    assert (ledger.rejected, ledger.by_reason) == (1, {"payload_not_json": 1})


def test_a_rejection_for_another_reason_is_misjudged(pipeline: Pipeline) -> None:
    pipeline.reject(pipeline.send(MALFORMED), Reason.VALUE_MISSING)
    ledger = pipeline.ledger()
    assert not ledger.adds_up
    assert (ledger.rejected, ledger.misjudged) == (1, 1)


def test_a_valid_message_in_rejected_is_misjudged(pipeline: Pipeline) -> None:
    pipeline.reject(pipeline.send(publication(planned())), Reason.INTERNAL_ERROR)
    assert not pipeline.ledger().adds_up
    assert pipeline.ledger().misjudged == 1


def test_a_malformed_message_that_is_accepted_is_misjudged(pipeline: Pipeline) -> None:
    pipeline.accept(pipeline.send(MALFORMED), planned())
    assert pipeline.ledger().misjudged == 1


def test_a_message_that_never_reached_raw_is_missing(pipeline: Pipeline) -> None:
    pipeline.sent.append(publication(planned()))
    assert pipeline.ledger().missing == 1


def test_a_malformed_message_that_went_nowhere_is_missing(pipeline: Pipeline) -> None:
    pipeline.send(MALFORMED)
    assert pipeline.ledger().missing == 1


def test_a_reading_without_its_row_is_missing(landed: Pipeline) -> None:
    landed.rows.clear()
    assert landed.ledger().missing == 1


def test_a_reading_with_two_rows_is_doubled(landed: Pipeline) -> None:
    landed.land(planned())
    assert not landed.ledger().adds_up
    assert landed.ledger().doubled == 1


def test_two_rows_under_different_derived_ids_are_doubled(pipeline: Pipeline) -> None:
    reading = planned(dedupe_id=None)
    pipeline.accept(pipeline.send(publication(reading)), reading)
    pipeline.land(reading, dedupe_id="first")
    pipeline.land(reading, dedupe_id="second")
    assert pipeline.ledger().doubled == 1


def test_a_message_both_accepted_and_rejected_is_doubled(landed: Pipeline) -> None:
    landed.reject(Origin(0, 0), Reason.VALUE_MISSING)
    assert landed.ledger().doubled == 1


def test_a_record_that_was_emitted_twice_counts_once(landed: Pipeline) -> None:
    landed.accept(Origin(0, 0), planned())
    landed.reject(landed.send(MALFORMED), Reason.PAYLOAD_NOT_JSON)
    landed.reject(Origin(0, 1), Reason.PAYLOAD_NOT_JSON)
    ledger = landed.ledger()
    assert ledger.adds_up
    assert (ledger.landed, ledger.rejected) == (1, 1)


def test_a_message_that_mqtt_brought_twice_is_no_second_message(landed: Pipeline) -> None:
    landed.receive(landed.sent[0])
    ledger = landed.ledger()
    assert ledger.adds_up
    assert (ledger.sent, ledger.redelivered, ledger.duplicates) == (1, 1, 0)


def test_what_others_publish_is_left_out(landed: Pipeline) -> None:
    stranger = Planned(OTHER_TENANT, "my-device", "cpu", 42.17, AT, None)
    landed.accept(landed.receive(publication(stranger)), stranger)
    landed.land(stranger)
    ledger = landed.ledger()
    assert ledger.adds_up
    assert (ledger.sent, ledger.rows, ledger.others) == (1, 1, 1)


def test_a_payload_that_was_cut_is_known_by_its_size(pipeline: Pipeline) -> None:
    large = MALFORMED._replace(payload=b"x" * 70_000, reason=Reason.PAYLOAD_TOO_LARGE)
    pipeline.sent.append(large)
    pipeline.raw.append(RawChunk(Origin(0, 0), [Message(large.topic, "x" * 1024, size_bytes=70_000)]))
    pipeline.reject(Origin(0, 0), Reason.PAYLOAD_TOO_LARGE)
    assert pipeline.ledger().adds_up


def carried(seed: int, count: int = 300) -> Pipeline:
    """Carry a simulation through the pipeline's own rules, in chunks over two partitions."""
    shares = Shares(0.2, 0.1, 0.2)
    simulation = Simulation(
        [TENANT, OTHER_TENANT],
        shares=shares,
        seed=seed,
        start=datetime(2026, 11, 23, 14, tzinfo=UTC),
        step=timedelta(milliseconds=1),
    )
    pipeline = Pipeline(simulation.take(count))
    by_partition: dict[int, list[PlannedPublication]] = {0: [], 1: []}
    for each in pipeline.sent:
        by_partition[OTHER_TENANT in each.topic].append(each)
    for partition, publications in by_partition.items():
        _carry_partition(pipeline, partition, publications)
    return pipeline


class _Remembered(dict[bytes, bytes]):
    def known(self, ids: Iterable[bytes], horizon: float) -> dict[bytes, bytes]:
        del horizon
        return {id_: self[id_] for id_ in ids if id_ in self}


def _carry_partition(pipeline: Pipeline, partition: int, publications: list[PlannedPublication]) -> None:
    seen = _Remembered()
    table: dict[tuple[str, str], LedgerRow] = {}
    for offset, start in enumerate(range(0, len(publications), 7)):
        at = Origin(partition, offset)
        encoded = [
            raw.encode_message(each.topic, each.payload, "2026-11-23T14:00:00.000000Z", 1)
            for each in publications[start : start + 7]
        ]
        messages = raw.decode(raw.join(encoded))
        pipeline.raw.append(RawChunk(at, messages))
        candidates: dict[int, Candidate] = {}
        for index, (message, each) in enumerate(zip(messages, publications[start : start + 7], strict=True)):
            verdict = _judge(message, at, index)
            if each.reason is Reason.TENANT_UNKNOWN:
                verdict = Rejection(Stage.VALIDATE, Reason.TENANT_UNKNOWN, "")
            if isinstance(verdict, Rejection):
                refused = [RejectedMessage(index, message.topic)]
                pipeline.rejected.append(RejectedChunk(at, verdict.stage, verdict.reason, refused))
            else:
                candidates[index] = verdict
        dropped = dedupe(candidates, seen, 0).duplicates
        accepted = [candidate for index, candidate in candidates.items() if index not in dropped]
        seen |= {candidate.id: candidate.content for candidate in accepted if candidate.id}
        pipeline.unique.append(UniqueChunk(at, [candidate.reading for candidate in accepted]))
        for reading in pipeline.unique[-1].readings:
            row_id = reading.dedupe_id or reading.key
            fields = (reading.tenant_id, reading.agent_id, reading.metric_name, reading.value)
            table[reading.tenant_id, row_id] = LedgerRow(*fields, reading.timestamp, row_id)
    pipeline.rows += table.values()


def _judge(message: Message, at: Origin, index: int) -> Candidate | Rejection:
    parsed = parse(message)
    if isinstance(parsed, Rejection):
        return parsed
    return validate(parsed, at, index, message.received_at, 86_400)


@given(st.integers())
def test_a_run_through_the_rules_adds_up(seed: int) -> None:
    ledger = carried(seed).ledger()
    assert ledger.adds_up
    assert min(ledger.landed, ledger.duplicates, ledger.rejected, ledger.superseded) > 0


@given(st.integers(), st.sampled_from(["raw", "unique", "rejected", "rows"]))
def test_whatever_is_lost_on_the_way_the_ledger_shows_it(seed: int, lost_from: str) -> None:
    pipeline = carried(seed, 100)
    records = getattr(pipeline, lost_from)
    lost = random.Random(seed).choice([record for record in records if getattr(record, "readings", True)])  # noqa: S311
    records.remove(lost)
    ledger = pipeline.ledger()
    assert not ledger.adds_up
    assert ledger.missing > 0
