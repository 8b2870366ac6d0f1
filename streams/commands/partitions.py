"""``metric-streams partitions``: adds partitions to the topics, while the workers are stopped."""

from collections.abc import Iterator

import click
from faust.cli import argument, option

from streams.commands.base import PlainCommand, command
from streams.commands.rejected import confirmed, progress
from streams.errors import MetricStreamsError, Outage
from streams.growth.growth import Growth, GrowthPlan


@command(
    argument("count", type=click.IntRange(min=1)),
    option("--dry-run", is_flag=True, help="only look whether it can be done, and what it would do"),
    option("--yes", is_flag=True, help="do not ask"),
)
async def partitions(self: PlainCommand, count: int, *, dry_run: bool, yes: bool) -> None:
    """Let every topic have COUNT partitions, a multiple of what they have. All workers must be stopped.

    Nothing is lost or doubled by it, and doing it twice, or again after it was cut off, is safe.

    For example: metric-streams partitions 16
    """
    settings = self.settings
    with progress("reading what is remembered") as on_progress:
        plan = await Growth(settings, count, say=self.say, on_progress=on_progress).plan()
    if plan.is_done:
        self.say(f"the topics have {count} partitions: there is nothing to do")
        return
    for line in plan_lines(plan):
        self.say(line)
    if dry_run:
        return
    if not yes and not confirmed("partitions"):
        raise MetricStreamsError("nothing was done")
    try:
        with progress("copying what is remembered") as on_progress:
            await Growth(settings, count, say=self.say, on_progress=on_progress).carry_out(plan)
    except Outage as outage:
        raise MetricStreamsError(f"{outage}. Run it again, it goes on where it was cut off") from outage
    self.say(f"done: set TOPIC_PARTITIONS={count} for every worker and command, and start the workers")


def plan_lines(plan: GrowthPlan) -> Iterator[str]:
    """Yield what a growth would do."""
    if len(set(plan.counts.values())) > 1:
        yield "this was cut off before, and goes on"
    yield f"{plan.before} to {plan.after} partitions, which cannot be undone; nothing is left to be handled"
    for topic, partitions_ in plan.counts.items():
        yield f"{partitions_:12,}  partitions has {topic}"
    yield f"{plan.copied_ids:12,}  ids are copied, which {plan.before} partitions remember"
