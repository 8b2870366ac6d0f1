"""What the simulated devices publish, and what is expected to come of it."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.parse import parse
from agents.validate import validate
from streams.demo.malformed import FAULTS
from streams.demo.simulation import (
    Planned,
    PlannedPublication,
    PublicationKind,
    RowId,
    Shares,
    Simulation,
    expect,
)
from streams.models import Candidate, Message, Origin, Reason, Rejection
from streams.rules.payload import MAX_BYTES

START = datetime(2026, 11, 23, 14, tzinfo=UTC)
TENANTS = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"]


def simulation(seed: int = 1, shares: Shares = Shares(0.2, 0.1, 0.1)) -> Simulation:  # noqa: B008 - immutable
    return Simulation(TENANTS, seed=seed, shares=shares, start=START, step=timedelta(milliseconds=1))


def judged(publication: PlannedPublication) -> Candidate | Rejection:
    """Judge a publication by the pipeline's own rules."""
    large = len(publication.payload) > MAX_BYTES
    message = Message(
        publication.topic,
        publication.payload[: 1024 if large else None].decode(),
        received_at="2026-11-23T14:00:00Z",
        size_bytes=len(publication.payload) if large else None,
    )
    parsed = parse(message)
    if isinstance(parsed, Rejection):
        return parsed
    return validate(parsed, Origin(0, 0), 0, message.received_at, 86_400)


def reading(value: float, dedupe_id: str | None = "d-1") -> Planned:
    return Planned(TENANTS[0], "edge-1", "cpu", value, "2026-11-23 14:00:00.000001", dedupe_id)


def published(planned: Planned) -> PlannedPublication:
    return PlannedPublication(PublicationKind.VALID, "", b"", planned)


@given(st.integers())
def test_the_same_seed_publishes_the_same(seed: int) -> None:
    assert simulation(seed).take(50) == simulation(seed).take(50)


def test_another_seed_publishes_other_ids() -> None:
    assert not expect(simulation(1).take(200)).rows.keys() & expect(simulation(2).take(200)).rows.keys()


def test_the_shares_are_kept() -> None:
    kinds = Counter(publication.kind for publication in simulation().take(20_000))
    assert kinds[PublicationKind.DUPLICATE] == pytest.approx(4_000, rel=0.1)
    assert kinds[PublicationKind.CORRECTION] == pytest.approx(2_000, rel=0.1)
    assert kinds[PublicationKind.MALFORMED] == pytest.approx(2_000, rel=0.1)


def test_without_shares_every_publication_is_valid() -> None:
    assert {publication.kind for publication in simulation(shares=Shares(0, 0, 0)).take(500)} == {
        PublicationKind.VALID
    }


def test_every_tenant_and_device_takes_part() -> None:
    readings = [publication.reading for publication in simulation().take(2_000) if publication.reading]
    assert {(r.tenant_id, r.agent_id) for r in readings} == {
        (tenant, f"edge-{number}") for tenant in TENANTS for number in range(1, 6)
    }


def test_every_reason_that_a_device_can_cause_is_reached_in_turn() -> None:
    malformed = [
        p.reason
        for p in simulation(shares=Shares(0, 0, 0.5)).take(200)
        if p.kind is PublicationKind.MALFORMED
    ]
    reasons = [reason for reason in Reason if reason not in (Reason.QUOTA_EXCEEDED, Reason.INTERNAL_ERROR)]
    assert malformed[: len(reasons)] == reasons
    assert malformed[len(reasons)] is reasons[0]


def test_the_rules_reject_what_is_malformed_for_the_planned_reason() -> None:
    # Whether a tenant is known only the database can tell.
    malformed = [
        p
        for p in simulation(shares=Shares(0, 0, 0.9)).take(10 * len(FAULTS))
        if p.kind is PublicationKind.MALFORMED and p.reason is not Reason.TENANT_UNKNOWN
    ]
    verdicts = [judged(publication) for publication in malformed]
    assert [v.reason for v in verdicts if isinstance(v, Rejection)] == [p.reason for p in malformed]


def test_an_unknown_tenant_is_the_only_fault_of_its_publication() -> None:
    unknown = [p for p in simulation(shares=Shares(0, 0, 0.9)).take(200) if p.reason is Reason.TENANT_UNKNOWN]
    verdicts = [judged(publication) for publication in unknown]
    assert unknown
    assert not [v for v in verdicts if not isinstance(v, Candidate) or v.reading.tenant_id in TENANTS]


@given(st.integers())
def test_the_rules_read_what_the_devices_mean(seed: int) -> None:
    for publication in simulation(seed).take(100):
        planned = publication.reading
        if planned is None:
            continue
        verdict = judged(publication)
        assert isinstance(verdict, Candidate)
        read = verdict.reading
        assert (read.tenant_id, read.agent_id, read.metric_name) == planned[:3]
        assert (read.value, read.dedupe_id) == (planned.value, planned.dedupe_id)
        assert read.timestamp == planned.timestamp or b"timestamp" not in publication.payload


@given(st.integers())
def test_the_expected_duplicates_are_those_that_the_rules_cannot_tell_apart(seed: int) -> None:
    publications = simulation(seed).take(300)
    last: dict[bytes | None, bytes] = {}
    duplicates = 0
    for publication in publications:
        verdict = judged(publication)
        if publication.reading is not None and isinstance(verdict, Candidate):
            duplicates += last.get(verdict.id) == verdict.content
            last[verdict.id] = verdict.content
    assert duplicates == expect(publications).duplicates > 0
    assert len(last) == len(expect(publications).rows)


@given(st.integers())
def test_the_expectation_accounts_for_every_publication(seed: int) -> None:
    publications = simulation(seed).take(300)
    rows, superseded, duplicates, rejected = expect(publications)
    assert len(rows) + superseded + duplicates + rejected.total() == len(publications)


def test_the_last_value_of_an_id_wins() -> None:
    expected = expect([published(reading(1)), published(reading(2)), published(reading(2))])
    assert expected.rows == {RowId(TENANTS[0], "d-1"): 2}
    assert (expected.superseded, expected.duplicates) == (1, 1)


def test_the_old_value_after_a_correction_is_no_duplicate() -> None:
    expected = expect([published(reading(1)), published(reading(2)), published(reading(1))])
    assert expected.rows == {RowId(TENANTS[0], "d-1"): 1}
    assert (expected.superseded, expected.duplicates) == (2, 0)


def test_the_order_between_tenants_does_not_matter() -> None:
    publications = [p for p in simulation().take(500) if p.reading]
    by_tenant = sorted(publications, key=lambda p: p.reading.tenant_id if p.reading else "")
    assert expect(by_tenant).rows == expect(publications).rows


@pytest.mark.parametrize("shares", [Shares(-0.1, 0, 0), Shares(0.5, 0.3, 0.2)])
def test_shares_that_leave_nothing_valid_are_refused(shares: Shares) -> None:
    with pytest.raises(ValueError, match="add up to less than 1"):
        simulation(shares=shares)


@pytest.mark.parametrize(("tenants", "devices", "step_us"), [([], 1, 1), (TENANTS, 0, 1), (TENANTS, 1, 0)])
def test_a_simulation_needs_tenants_devices_and_time(tenants: list[str], devices: int, step_us: int) -> None:
    with pytest.raises(ValueError, match="needs a tenant, a device"):
        Simulation(tenants, devices=devices, start=START, step=timedelta(microseconds=step_us))
