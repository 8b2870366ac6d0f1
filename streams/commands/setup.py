"""``metric-streams setup``: creates the topics and, with ``--database``, the tables."""

from collections.abc import Awaitable, Callable, Sequence

from faust.cli import option

from streams.application import app, settings
from streams.commands.base import PlainCommand
from streams.errors import MetricStreamsError
from streams.kafka.admin import ensure_topics
from streams.postgres.schema import ensure_tables

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


@app.command(
    option("--database", is_flag=True, help="Also create the tables, for those who run no Laravel."),
    base=PlainCommand,
)
async def setup(self: PlainCommand, *, database: bool) -> None:
    """Create the topics and, with --database, the tables; what is there is left alone."""
    steps: list[Step] = [lambda: ensure_topics(settings)]
    if database:
        steps.append(lambda: ensure_tables(settings.database_url.get_secret_value()))
    await take_steps(steps, self.say)
