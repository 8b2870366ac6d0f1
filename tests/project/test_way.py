"""A message goes through the code without coming back again and again to the same module."""

from agents.parse import parse
from streams.models import Message
from tests.project import way

MESSAGE = Message("metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-1/cpu", '{"value": 1}')


def test_no_module_is_entered_more_than_twice() -> None:
    entered = way.entered()
    assert {module for module, times in entered.items() if times > way.OFTEN} == set()
    # It was followed indeed.
    steps = {"agents.refine", "agents.decide", "agents.parse", "agents.validate", "agents.dedupe"}
    assert steps | {"agents.examine", "agents.handoff", "streams.laravel.push"} <= set(entered)


def test_coming_back_is_noticed_and_a_look_up_is_not() -> None:
    async def three_times() -> None:
        for _ in range(3):
            parse(MESSAGE)
            MESSAGE.payload_bytes()

    followed = way.Way()
    followed.follow(three_times)
    assert followed.entered["agents.parse"] == 3
    assert "streams.models" not in followed.entered
