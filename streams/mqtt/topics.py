"""Topic names and filters (MQTT 5 and 3.1.1, 4.7). Pure."""

from itertools import product

MOST_LEVELS = 5
"""Of a topic, so that the filters that match it can be counted out: 2 to the power of it, twice."""


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a filter lets a topic through.

    >>> matches("metrics/+/+/cpu", "metrics/a/b/cpu"), matches("metrics/#", "metrics"), matches("+", "a/b")
    (True, True, False)
    """
    wanted, found = topic_filter.split("/"), topic.split("/")
    if found[0].startswith("$") and wanted[0] in ("#", "+"):  # 4.7.2
        return False
    for number, level in enumerate(wanted):
        # It also takes the level above it: "metrics/#" lets "metrics" through (4.7.1.2).
        if level == "#":
            return True
        if number >= len(found) or level not in ("+", found[number]):
            return False
    return len(wanted) == len(found)


def filters_of(topic: str) -> list[str]:
    """Return the filters that let a topic through: all of them, or the usual ones where there are too many.

    >>> filters_of("a/b")
    ['a/b', 'a/+', '+/b', '+/+', '#', 'a/#', '+/#', 'a/b/#', 'a/+/#', '+/b/#', '+/+/#']
    """
    levels = topic.split("/")
    choices = [(level, "+") if len(levels) <= MOST_LEVELS else (level,) for level in levels]
    exact = ["/".join(chosen) for chosen in product(*choices)]
    deeper = ["#"]
    for depth in range(1, len(levels) + 1):
        deeper += ["/".join([*chosen, "#"]) for chosen in product(*choices[:depth])]
    return [*exact, *deeper]
