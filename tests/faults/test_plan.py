"""What a storm is made of."""

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.bounds import BOUNDS_S, table
from tests.faults.injector import FAULTS
from tests.faults.killable import Point
from tests.faults.plan import (
    ALONE,
    KINDS,
    LINKS,
    OF_BROKERS,
    OF_DISKS,
    OF_STANDBYS,
    SERVERS,
    Fault,
    Plan,
    brokers_form,
    disks_form,
    histories_form,
    long_form,
    only,
    read_fault,
    short_form,
    these,
)

GUARANTEES = Path(__file__).parents[2] / "docs" / "guarantees.md"


def targets(plan: Plan, kind: str) -> Counter[str]:
    faults = [step.fault for lane in plan.lanes.values() for step in lane]
    return Counter(fault.target for fault in faults if fault.kind == kind)


def test_a_seed_repeats_the_order_of_faults() -> None:
    assert long_form(5) == long_form(5)
    assert short_form(5) == short_form(5)
    assert long_form(5) != long_form(6)


def test_the_long_form_has_every_fault_for_every_part() -> None:
    plan = long_form(1)
    assert plan.counts().total() >= 60
    assert min(targets(plan, "die-at")[point] for point in Point) >= 7
    for kind in ("cut", "stall", "slow"):
        assert set(targets(plan, kind)) == set(LINKS)
    assert set(targets(plan, "restart")) == set(SERVERS)
    assert targets(plan, "failover") == {"redis": 2, "postgres": 2}
    long = [step.fault for step in plan.lanes["servers"] if step.fault.seconds == 300]
    assert {name for fault in long for name in fault.target.split("+")} == set(SERVERS)
    assert {"kill", "stop", "freeze", "join", "leave", "flood", "slow-postgres"} <= set(plan.counts())
    assert {"redis-set-back", "raw-recreated", "rebalance-without"} <= set(plan.counts())


def test_a_plan_can_be_narrowed_to_some_kinds() -> None:
    assert set(only(long_form(1), ["cut", "kill"]).counts()) == {"cut", "kill"}


def test_a_fault_is_read_as_it_is_shown() -> None:
    assert read_fault("outage kafka 300") == Fault("outage", "kafka", 300)
    assert str(read_fault("outage kafka 300")) == "outage kafka 300 s"
    assert read_fault("kill worker") == Fault("kill", "worker", 0)
    with pytest.raises(ValueError, match="there are die-at"):
        read_fault("explode kafka")


def test_a_storm_of_some_faults_has_these_alone() -> None:
    assert these([Fault("kill", "worker")] * 2).counts() == {"kill": 2}


def test_every_kind_belongs_to_a_form_and_has_a_bound() -> None:
    forms = (long_form, histories_form, disks_form, brokers_form)
    assert set().union(*(form(1).counts() for form in forms)) == set(KINDS) == set(FAULTS) == set(BOUNDS_S)
    assert set(KINDS) >= ALONE | OF_DISKS | OF_BROKERS | OF_STANDBYS


def test_the_document_shows_the_bounds() -> None:
    assert table() in GUARANTEES.read_text()
