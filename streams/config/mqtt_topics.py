"""The topics that ingress subscribes to and speaks on: what MQTT allows (MQTT 5, 4.7), and what goes round.

Pure. paho knows how a filter matches (`topic_matches_sub`).
"""

from collections.abc import Iterator

from paho.mqtt.client import topic_matches_sub

LONGEST_BYTES = 60_000  # MQTT has room for 65,535 (1.5.4); the rest is for what is added to a topic
WILDCARDS = "+#"
SHARED = ("$share/", "$queue/")


def filter_faults(name: str, topic_filter: str) -> Iterator[str]:
    """Say what is wrong with a topic filter."""
    levels = topic_filter.split("/")
    yield from _text_faults(name, topic_filter)
    if topic_filter.startswith(SHARED):
        yield f"{name} must not begin with {SHARED[0]}: name the group in MQTT_SHARE_GROUP"
    elif topic_filter.startswith("$"):
        yield f"{name} must not begin with $: below it stands what the broker says of itself"
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        yield f"{name} may have a # only at its end, behind a slash, as in metrics/#"
    if any("+" in level and level != "+" for level in levels):
        yield f"{name} may have a + only as a whole level, as in metrics/+/edge-1/#"


def topic_faults(name: str, topic: str) -> Iterator[str]:
    """Say what is wrong with a topic to publish to."""
    yield from _text_faults(name, topic)
    if any(char in topic for char in WILDCARDS):
        yield f"{name} must not hold + or #: a message is published to one topic, as in bridge/status"
    if topic.startswith("$"):
        yield f"{name} must not begin with $: brokers keep such topics to themselves"


def level_faults(name: str, level: str) -> Iterator[str]:
    """Say what is wrong with what becomes one level of a topic, or a part of one."""
    yield from _text_faults(name, level)
    if any(char in level for char in f"{WILDCARDS}/"):
        yield f"{name} must not hold /, + or #: it becomes one level of an MQTT topic"


def is_caught(topic: str, topic_filter: str) -> bool:
    """Tell whether a subscription would bring our own messages back to us."""
    return topic_matches_sub(topic_filter, topic)


def _text_faults(name: str, text: str) -> Iterator[str]:
    if not text.isprintable():
        yield f"{name} holds a line break or another control character: take it out"
    if len(text.encode(errors="replace")) > LONGEST_BYTES:
        yield f"{name} must not have more than {LONGEST_BYTES} bytes: MQTT has no room for them"
