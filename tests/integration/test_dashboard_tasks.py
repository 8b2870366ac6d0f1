"""What the page asks of the rejected messages is done by a process of its own, on a real Kafka."""

import pytest
from aiokafka import AIOKafkaProducer

from streams.dashboard.task import Chosen, Task
from streams.dashboard.tasks import Tasks
from streams.errors import MetricStreamsError
from streams.kafka.admin import ensure_topics
from streams.models import Origin, Reason, RejectedMessage, Stage
from streams.settings import Settings
from streams.wire import rejected
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
async def settings(kafka: Kafka, unique: str) -> Settings:
    settings = Settings(broker_url=kafka.url, topic_prefix=unique, consumer_group=unique, topic_partitions=2)
    await ensure_topics(settings)
    values = []
    for offset, (reason, count) in enumerate([(Reason.VALUE_MISSING, 3), (Reason.TENANT_UNKNOWN, 2)]):
        messages = [
            RejectedMessage(index, f"metrics/{TENANT}/edge-{index}/cpu", '{"a": 1}', detail=f"{reason} here")
            for index in range(count)
        ]
        values.append(rejected.encode(Origin(0, offset), Stage.VALIDATE, reason, messages))
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for value in values:
            await producer.send_and_wait(settings.rejected_topic, value, partition=0)
    return settings


async def test_it_lists_the_newest_and_counts_all(settings: Settings) -> None:
    tasks = Tasks(settings)
    found = await tasks.search(Task("list", limit=2))
    assert found["counted"] == 5
    assert found["by_reason"] == {"value_missing": 3, "tenant_unknown": 2}
    assert len(found["messages"]) == 2
    chosen = Chosen(["tenant_unknown"], agent="edge-1")
    (message,) = (await tasks.search(Task("list", chosen)))["messages"]
    assert (message["coordinate"], message["detail"]) == ("0-1-1", "tenant_unknown here")


async def test_a_dismissal_tells_how_it_fares_and_hides_what_it_was_about(settings: Settings) -> None:
    tasks = Tasks(settings)
    chosen = Chosen(["value_missing"])
    plan = await tasks.search(Task("plan", chosen))
    assert plan["messages"] == 3
    state = tasks.change(Task("dismiss", chosen, ends={int(at): end for at, end in plan["ends"].items()}))
    with pytest.raises(MetricStreamsError, match="another"):
        tasks.change(Task("dismiss", chosen))
    await eventually(lambda: state.is_over)
    assert (state.done, state.error) == ({"dismissed": 3}, "")
    assert (await tasks.search(Task("list")))["counted"] == 2
    assert (await tasks.search(Task("list", Chosen(hidden=True))))["counted"] == 5


async def test_why_it_cannot_be_done_is_told(settings: Settings) -> None:
    tasks = Tasks(settings)
    with pytest.raises(MetricStreamsError, match="no time"):
        await tasks.search(Task("list", Chosen(since="yesterday")))
    away = Tasks(settings.model_copy(update={"broker_url": "kafka://127.0.0.1:1"}))
    with pytest.raises(MetricStreamsError, match="kafka"):
        await away.search(Task("list"))


async def test_a_change_that_is_stopped_says_so(settings: Settings) -> None:
    tasks = Tasks(settings)
    state = tasks.change(Task("replay", rate=0.001))
    await tasks.cancel()
    assert state.is_over
    assert "stopped" in state.error
    assert not tasks.is_changing
    await tasks.stop()


async def test_no_process_is_left_behind(settings: Settings) -> None:
    tasks = Tasks(settings)
    tasks.change(Task("replay", rate=0.001))
    await eventually(lambda: tasks._processes)
    (process,) = tasks._processes
    await tasks.stop()
    assert process.returncode is not None
