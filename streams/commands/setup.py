"""``metric-streams setup``: creates the topics and, with ``--database``, tables and new columns."""

from collections.abc import Awaitable, Callable, Sequence

from faust.cli import option

from streams.commands.base import PlainCommand, command
from streams.database.schema import ensure_tables
from streams.errors import MetricStreamsError
from streams.kafka.admin import ensure_topics
from streams.laravel.push import RedisJobQueue
from streams.laravel.redis_client import connect
from streams.settings import Settings

Step = Callable[[], Awaitable[list[str]]]


async def take_steps(steps: Sequence[Step], say: Callable[[str], None]) -> None:
    """Take every step, whatever becomes of the others, and say what each has done.

    Raises:
        MetricStreamsError: with a line for each step that failed.
    """
    problems: list[str] = []
    for step in steps:
        try:
            lines = await step()
        except MetricStreamsError as error:
            problems.append(str(error))
        else:
            for line in lines:
                say(line)
    if problems:
        raise MetricStreamsError("\n".join(problems))


async def hand_over(settings: Settings) -> list[str]:
    """Mark the fence in Redis as this consumer group's, so that its workers may use topics and fence.

    Raises:
        Outage: if Redis does not answer.
    """
    redis = connect(settings.redis_url.get_secret_value())
    queue = RedisJobQueue.from_settings(redis, settings)
    try:
        await queue.adopt()
    finally:
        await queue.stop()
    return [f"topics {settings.topic_prefix}.* and their fence belong to {settings.consumer_group} now"]


@command(
    option(
        "--database", is_flag=True, help="Also create tables and new columns, for those who run no Laravel."
    ),
    option("--adopt", is_flag=True, help="Hand topics and fence over to this CONSUMER_GROUP, for good."),
)
async def setup(self: PlainCommand, *, database: bool, adopt: bool) -> None:
    """Create the topics and, with --database, the tables and new columns; what is there is left alone."""
    settings = self.settings
    steps: list[Step] = [lambda: ensure_topics(settings)]
    if database:
        steps.append(lambda: ensure_tables(settings.database_url.get_secret_value()))
    if adopt:
        steps.append(lambda: hand_over(settings))
    await take_steps(steps, self.say)
