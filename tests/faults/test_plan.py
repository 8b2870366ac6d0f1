"""What a storm is made of."""

from collections import Counter

from tests.faults.killable import Point
from tests.faults.plan import LINKS, SERVERS, Plan, long_form, only, short_form


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
    long = [step.fault for step in plan.lanes["servers"] if step.fault.seconds == 300]
    assert {name for fault in long for name in fault.target.split("+")} == set(SERVERS)
    assert {"kill", "stop", "freeze", "join", "leave", "flood", "slow-postgres"} <= set(plan.counts())
    assert {"redis-set-back", "raw-recreated", "rebalance-without"} <= set(plan.counts())


def test_a_plan_can_be_narrowed_to_some_kinds() -> None:
    assert set(only(long_form(1), ["cut", "kill"]).counts()) == {"cut", "kill"}
