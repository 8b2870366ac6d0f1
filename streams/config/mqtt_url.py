"""MQTT_URL: what `streams.mqtt.address` can read, and both transports can use. Pure."""

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from streams.config.urls import place_fault, scheme_fault, unreadable

NAME = "MQTT_URL"
SCHEMES = ("mqtt", "mqtts", "ws", "wss")
WEBSOCKETS = ("ws", "wss")
EXAMPLE = "mqtt://user:password@host:1883"
LONGEST_BYTES = 65_535  # MQTT 5, 1.5.4: the length of a string stands in two bytes


def is_websocket(url: str) -> bool:
    """Tell whether a URL asks for MQTT over WebSockets."""
    return url.lower().startswith(tuple(f"{scheme}://" for scheme in WEBSOCKETS))


def mqtt_url_faults(url: str) -> Iterator[str]:
    """Say what is wrong with MQTT_URL."""
    fault = unreadable(NAME, url)
    if fault is not None:
        yield fault
        return
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        yield scheme_fault(NAME, SCHEMES)
        return
    if parts.scheme not in WEBSOCKETS and (parts.path not in ("", "/") or parts.query):
        yield (
            f"{NAME} holds something behind the port, which would be ignored: write {EXAMPLE}; what to "
            "subscribe to stands in MQTT_TOPIC_FILTER"
        )
    if any(len(unquote(part or "").encode()) > LONGEST_BYTES for part in (parts.username, parts.password)):
        yield f"{NAME} holds a user name or a password of more than {LONGEST_BYTES} bytes: MQTT has no room"
    yield from place_fault(NAME, parts, example=EXAMPLE)
