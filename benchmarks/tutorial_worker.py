"""The tutorial's pipeline (``benchmarks/tutorial.py``) as a process, started as a user would start it."""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.tutorial import ANNOUNCED, topic_of
from streams.settings import Settings
from tests.parts.topics import eventually_stands
from tests.parts.worker import Worker


class Tutorial(Worker):
    """The tutorial's worker; its topic is created before it starts, as its reader is told to do."""

    name = "tutorial"

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._settings["DATADIR"] = str(self.directory / "data")

    def start(self) -> None:
        """Create the topic and start."""
        asyncio.run(_create_topic(Settings.from_mapping(self._settings)))
        super().start()

    def is_ready(self) -> bool:
        """Tell whether it has subscribed and its agent is at work."""
        log = self.log_text()
        return ANNOUNCED in log and "Worker ready" in log

    def _argv(self) -> Sequence[str]:
        return [sys.executable, "-m", "faust", "-A", "benchmarks.tutorial", *self.command]


async def _create_topic(settings: Settings) -> None:
    topic = topic_of(settings.consumer_group)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, settings.topic_partitions, 1)])
    finally:
        await admin.close()
    await eventually_stands(settings.bootstrap_servers[0], topic)
