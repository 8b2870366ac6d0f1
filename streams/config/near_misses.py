"""Names in the environment that were meant for a setting, and are none: they would be ignored. Pure.

An environment holds much that is none of our business, so a name counts only where the setting that it is
near to is not set, and only if it differs in one way of those below. Whoever needs both sets both.
"""

import re
from collections.abc import Collection, Iterator

ALSO_KNOWN_AS = {
    "BROKER_URI": "BROKER_URL",
    "KAFKA_URL": "BROKER_URL",
    "KAFKA_BROKER": "BROKER_URL",
    "KAFKA_BROKERS": "BROKER_URL",
    "KAFKA_BOOTSTRAP_SERVERS": "BROKER_URL",
    "MQTT_URI": "MQTT_URL",
    "MQTT_BROKER": "MQTT_URL",
    "MQTT_BROKER_URL": "MQTT_URL",
    "REDIS_URI": "REDIS_URL",
    "DATABASE_URI": "DATABASE_URL",
    "DATABASE_DSN": "DATABASE_URL",
}
PREFIX = re.compile(r"(METRIC_?STREAMS|FAUST|KAFKA)_")
UNIT = re.compile(r"_(S|SECS?|SECONDS?|MS|MILLISECONDS?|MIN|MINUTES|H|HOURS|BYTES|KB|MB)$")
LEAST_LENGTH = 9
"""Of names that may differ in one letter: shorter ones are near to anything."""


def near_misses(names: Collection[str], settings: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that was meant for a setting, with that setting.

    Args:
        names: those of the environment that have a value.
        settings: the names of all settings, in capitals; each may also have ``_FILE`` behind it.
    """
    ours = {*settings, *(f"{setting}_FILE" for setting in settings)}
    for name in sorted(set(names) - ours):
        meant = _meant(name, settings)
        if meant is not None and meant not in names and f"{meant}_FILE" not in names:
            yield name, meant


def _meant(name: str, settings: Collection[str]) -> str | None:
    capitals = name.upper().replace("-", "_")
    stem = capitals.removesuffix("_FILE")
    if stem in ALSO_KNOWN_AS:
        return ALSO_KNOWN_AS[stem]
    bare = PREFIX.sub("", stem, count=1)
    return next((setting for setting in settings if _is_near(bare, setting)), None)


def _is_near(name: str, setting: str) -> bool:
    one, other = name.replace("_", ""), setting.replace("_", "")
    if one == other:
        return True
    if UNIT.search(setting) and UNIT.sub("", name) == UNIT.sub("", setting):
        return True
    return len(other) >= LEAST_LENGTH and _one_letter_apart(one, other)


def _one_letter_apart(one: str, other: str) -> bool:
    """Tell whether a letter is missing, is one too many, is another, or has changed places with the next."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    a, b = one[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[1::-1] + a[2:] == b and len(a) > 1)
