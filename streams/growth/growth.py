"""From some partitions to more, step by step: refused or finished, and after a kill just run again.

The changelog of refine's table gets its partitions first, and metrics.raw its own last. In between the topics
differ, so that no worker starts, whatever TOPIC_PARTITIONS it has; and no tenant has moved until the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streams.errors import MetricStreamsError
from streams.growth.devices import Buckets, moves, take_in
from streams.growth.estate import Estate
from streams.growth.heirs import check_numbers, heirs
from streams.growth.logs import PURPOSE, CompactedLogs, reading
from streams.growth.standing import check_idle, check_nobody_works, count_workers
from streams.kafka.admin import add_partitions, count_partitions
from streams.kafka.standalone import PartitionWriter, writing
from streams.progress import OnProgress, quiet
from streams.settings import Settings
from streams.topics import seen_changelog, topic_specs


@dataclass(frozen=True)
class GrowthPlan:
    """What a growth does."""

    before: int
    """How many partitions there are."""
    after: int
    """How many there are to be."""
    counts: Mapping[str, int]
    """By topic how many partitions it has."""
    decided: Mapping[int, int | None]
    """By partition the raw offset that refine has decided on last."""
    ids: int = 0
    """How many ids are remembered; each new partition inherits those of its former one."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return set(self.counts.values()) == {self.after}

    @property
    def copied_ids(self) -> int:
        """How many ids are written."""
        return self.ids * (self.after // self.before - 1)


class Growth:
    """Adds partitions.

    Args:
        settings: name the topics; how many partitions they tell does not matter.
        after: how many partitions there are to be.
        say: told of each step that is done.
        on_progress: told how many former partitions of how many were read.
    """

    def __init__(
        self,
        settings: Settings,
        after: int,
        *,
        say: Callable[[str], object],
        on_progress: OnProgress = quiet,
    ) -> None:
        self._settings = settings
        self._after = after
        self._say = say
        self._on_progress = on_progress
        self._changelog = seen_changelog(settings)

    async def plan(self) -> GrowthPlan:
        """Look what there is to do.

        Raises:
            BadArgument: if the topics cannot get that many partitions.
            MetricStreamsError: if workers run, records are still to be handled, or a topic is missing.
            Outage: Kafka or Redis does not answer.
        """
        counts = await count_partitions(self._settings)
        missing = [spec.name for spec in topic_specs(self._settings) if spec.name not in counts]
        if missing:
            raise MetricStreamsError(
                f"there is no topic {', '.join(missing)}: metric-streams setup creates it"
            )
        # They differ where a growth was cut off.
        check_numbers(counts.values(), self._after)
        # That of metrics.raw, which comes last: where a growth was cut off it still has the number of before.
        before = min(counts.values())
        if before == self._after:
            return GrowthPlan(before, self._after, counts, {})
        await check_nobody_works(self._settings)
        decided: dict[int, int | None] = {}
        ids = 0
        async with reading(self._settings) as logs:
            for partition in range(before):
                estate = await self._estate(logs, partition)
                decided[partition], ids = estate.decided, ids + estate.ids
                self._on_progress(partition + 1, before)
        plan = GrowthPlan(before, self._after, counts, decided, ids)
        await self._check_idle(plan)
        return plan

    async def carry_out(self, plan: GrowthPlan) -> None:
        """Do it.

        Raises:
            MetricStreamsError: if a worker was started meanwhile, or something was written to metrics.raw.
            Outage: Kafka or Redis does not answer. Run again, it goes on.
        """
        # First of all: from here on the topics differ, and no worker starts.
        await self._add(plan, [self._changelog])
        # A worker that had looked at the topics before may have joined the group since.
        await self._check_idle(plan)
        async with reading(self._settings) as logs, writing(self._settings, PURPOSE) as writer:
            await self._bequeath(plan, logs, writer)
            if (devices := self._settings.devices_topic) in plan.counts:
                await self._add(plan, [devices])
                await self._move_devices(plan, logs, writer)
        raw = self._settings.raw_topic
        await self._add(plan, [topic for topic in plan.counts if topic != raw])
        await self._check_idle(plan)
        # Last, by which all tenants move at once. Until then everything can be done again.
        await self._add(plan, [raw])
        # Looked at afterwards as well: one that had seen the topics before may have joined just then.
        if await count_workers(self._settings):
            raise MetricStreamsError(
                f"the topics have {plan.after} partitions, but a worker was started meanwhile, and shares "
                "out tenants as before: stop it at once"
            )

    async def _check_idle(self, plan: GrowthPlan) -> None:
        """Look at every former partition, whatever number the settings tell by now."""
        former = self._settings.model_copy(update={"topic_partitions": plan.before})
        await check_idle(former, plan.decided)

    async def _add(self, plan: GrowthPlan, topics: Sequence[str]) -> None:
        for topic in topics:
            if await add_partitions(self._settings, topic, plan.after):
                self._say(f"{topic} has {plan.after} partitions")

    async def _bequeath(self, plan: GrowthPlan, logs: CompactedLogs, writer: PartitionWriter) -> None:
        for partition in range(plan.before):
            estate = await self._estate(logs, partition)
            for heir in heirs(partition, plan.before, plan.after):
                await writer.write(self._changelog, ((heir, *row) for row in estate.rows_for(heir)))
            self._on_progress(partition + 1, plan.before)
        self._say(f"the new partitions remember {plan.copied_ids:,} ids")

    async def _estate(self, logs: CompactedLogs, partition: int) -> Estate:
        estate = Estate(partition)
        await logs.read(self._changelog, partition, estate.take)
        return estate

    async def _move_devices(self, plan: GrowthPlan, logs: CompactedLogs, writer: PartitionWriter) -> None:
        moved = 0
        for partition in range(plan.before):
            ours = await self._devices(logs, partition)
            theirs = {
                heir: await self._devices(logs, heir) for heir in heirs(partition, plan.before, plan.after)
            }
            # One by one: Kafka has what goes to another partition before it goes from this one.
            for row in moves(ours, partition, plan.after, theirs):
                await writer.write(self._settings.devices_topic, [row])
                moved += row[0] != partition
        self._say(f"{self._settings.devices_topic}: {moved:,} buckets of devices follow their tenants")

    async def _devices(self, logs: CompactedLogs, partition: int) -> Buckets:
        buckets: Buckets = {}
        await logs.read(
            self._settings.devices_topic, partition, lambda key, value: take_in(buckets, key, value)
        )
        return buckets
