from hypothesis import given
from hypothesis import strategies as st

from streams.database.tenant_cache import TenantCache


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def make(max_entries: int = 100) -> tuple[TenantCache, Clock]:
    clock = Clock()
    return TenantCache(known_s=60, unknown_s=5, clock=clock, max_entries=max_entries), clock


def learn(cache: TenantCache, *, known: str = "", unknown: str = "") -> None:
    cache.remember({*known, *unknown}, set(known), generation=cache.generation)


def test_nothing_is_known_at_first() -> None:
    cache, _ = make()
    assert cache.look_up({"a"}) == (set(), {"a"})


def test_an_answer_is_believed_for_its_own_time() -> None:
    cache, clock = make()
    learn(cache, known="a", unknown="b")
    clock.now_s += 4.9
    assert cache.look_up({"a", "b"}) == ({"a"}, set())
    clock.now_s += 0.1
    assert cache.look_up({"a", "b"}) == ({"a"}, {"b"})
    clock.now_s += 55
    assert cache.look_up({"a", "b"}) == (set(), {"a", "b"})


def test_a_tenant_that_existed_is_stale_but_not_gone_when_its_time_is_over() -> None:
    cache, clock = make()
    learn(cache, known="a", unknown="b")
    clock.now_s += 1_000
    assert cache.stale({"a", "b", "c"}) == {"a"}


def test_a_newer_answer_replaces_the_older() -> None:
    cache, _ = make()
    learn(cache, known="a", unknown="b")
    learn(cache, known="b", unknown="a")
    assert cache.look_up({"a", "b"}) == ({"b"}, set())
    assert cache.stale({"a", "b"}) == {"b"}


def test_forgetting_one_leaves_the_others() -> None:
    cache, _ = make()
    learn(cache, known="ab", unknown="c")
    cache.forget("a")
    cache.forget("c")
    assert cache.look_up({"a", "b", "c"}) == ({"b"}, {"a", "c"})
    assert cache.stale({"a"}) == set()


def test_forgetting_all_leaves_nothing() -> None:
    cache, _ = make()
    learn(cache, known="a", unknown="b")
    cache.forget_all()
    assert cache.look_up({"a", "b"}) == (set(), {"a", "b"})
    assert cache.stale({"a"}) == set()


def test_after_expiring_all_are_asked_for_again_and_yet_pass_in_an_outage() -> None:
    cache, _ = make()
    learn(cache, known="a", unknown="b")
    cache.expire_all()
    assert cache.look_up({"a", "b"}) == (set(), {"a", "b"})
    assert cache.stale({"a", "b"}) == {"a"}


def test_an_answer_that_was_overtaken_by_a_change_is_not_believed() -> None:
    cache, _ = make()
    asked_at = cache.generation
    cache.forget("a")
    cache.remember({"a"}, set(), generation=asked_at)
    assert cache.look_up({"a"}) == (set(), {"a"})


def test_invented_tenants_do_not_push_out_real_ones() -> None:
    cache, _ = make(max_entries=3)
    learn(cache, known="abc")
    learn(cache, unknown="defghij")
    assert cache.look_up(set("abc")) == (set("abc"), set())
    assert len(cache.look_up(set("defghij")).missing) == 4


def test_the_least_recently_used_goes_first() -> None:
    cache, _ = make(max_entries=2)
    learn(cache, known="a")
    learn(cache, known="b")
    cache.look_up({"a"})
    learn(cache, known="c")
    assert cache.look_up({"a", "b", "c"}) == ({"a", "c"}, {"b"})


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.floats(0, 100)), max_size=50))
def test_what_is_believed_was_answered_within_its_time(steps: list[tuple[str, bool, float]]) -> None:
    cache, clock = make()
    answers: dict[str, tuple[bool, float]] = {}
    for tenant_id, exists, pause_s in steps:
        clock.now_s += pause_s
        believed = cache.look_up({tenant_id})
        fresh = tenant_id in answers and clock.now_s < answers[tenant_id][1]
        assert (tenant_id in believed.missing) is not fresh
        assert (tenant_id in believed.known) is (fresh and answers[tenant_id][0])
        learn(cache, **{"known" if exists else "unknown": tenant_id})
        answers[tenant_id] = (exists, clock.now_s + (60 if exists else 5))
