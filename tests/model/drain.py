"""The end of a run: everything is mended, and flows until nothing moves any more."""

from tests.model.devices import SETTLED, Publication
from tests.model.workers import Worker
from tests.model.world import World

ROUNDS = 500


def drain(world: World) -> None:
    """Bring all that was published to its end."""
    world.zombies_die()
    for process in world.past_ingress:
        process.close()
    _flow(world)
    # A Redis that came back with older data shows in the next push of a partition, so each gets one.
    for tenant in SETTLED:
        world.publish(Publication(tenant))
    _flow(world)


def _flow(world: World) -> None:
    world.carry()
    assert world.broker.waiting == 0, "ingress does not come to an end"
    for worker in [*world.refine, *world.handoff]:
        catch_up(worker)


def catch_up(worker: Worker) -> None:
    """Let a worker work until it has nothing to do."""
    for _ in range(ROUNDS):
        if not worker.has_work:
            return
        worker.step()
    raise AssertionError("a worker does not come to an end")
