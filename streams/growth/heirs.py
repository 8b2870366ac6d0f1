"""Which partitions take over tenants of another one, and which numbers of partitions go together. Pure."""

from collections.abc import Iterable

from streams.errors import BadArgument
from streams.ingress.chunking import partition_of, tenant_level


def heirs(partition: int, before: int, after: int) -> range:
    """Return the new partitions to which a partition's tenants may move.

    >>> list(heirs(3, before=8, after=24))
    [11, 19]
    """
    return range(partition + before, after, before)


def check_numbers(counts: Iterable[int], after: int) -> None:
    """Return if topics can get a number of partitions.

    Args:
        counts: how many each of them has; they differ where a growth was cut off.
        after: how many it is to have.

    Raises:
        BadArgument: they cannot.
    """
    fewest, most = min(counts := list(counts)), max(counts)
    if after < most:
        raise BadArgument(f"the topics have {most} partitions already, and Kafka takes none away")
    if after % fewest:
        fits = after // fewest * fewest
        raise BadArgument(
            f"{after} is no multiple of {fewest}: tenants would move from any partition to any other, and "
            f"what is remembered of them could not follow. Use {fits + fewest}"
        )


def former_partitions(topic: str, partition: int, partitions: int) -> set[int]:
    """Return where a tenant's messages may stand since one of them stood in a partition.

    That is where they go now, and where they went in between; the numbers of partitions that there were in
    between are divisors of the present one.

    Args:
        topic: of such a message.
        partition: in which it stood.
        partitions: how many there are now.
    """
    tenant = tenant_level(topic)
    divisors = (number for number in range(partition + 1, partitions + 1) if partitions % number == 0)
    return {partition} | {each for number in divisors if (each := partition_of(tenant, number)) > partition}
