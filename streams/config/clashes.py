"""What settings do not go together, each of them being right for itself. Pure."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING

from streams.config.certificates import certificate_clashes
from streams.config.clash import Clash
from streams.config.logins import login_clashes
from streams.config.mqtt_topics import is_caught
from streams.config.mqtt_url import is_websocket
from streams.config.wording import number_shown, shown_value
from streams.rules.payload import MAX_BYTES

if TYPE_CHECKING:
    from streams.settings import Settings

LEAST_HELD_S = 60.0
"""A shorter time would be over before a message is put back."""


class ClashesFound(ValueError):  # noqa: N818 - says what has happened
    """Settings do not go together."""

    def __init__(self, clashes: list[Clash]) -> None:
        super().__init__("\n".join(clash.line for clash in clashes))
        self.clashes = clashes


def clashes_of(settings: "Settings") -> Iterator[Clash]:
    """Yield what does not go together."""
    yield from _mqtt_clashes(settings)
    yield from login_clashes(settings)
    yield from certificate_clashes(settings)
    yield from _quota_clashes(settings)
    linger_ms, most_ms = settings.chunk_linger_ms, settings.chunk_linger_max_ms
    if linger_ms > most_ms:
        yield Clash(
            {"chunk_linger_ms", "chunk_linger_max_ms"},
            f"CHUNK_LINGER_MS={number_shown(linger_ms)} is more than "
            f"CHUNK_LINGER_MAX_MS={number_shown(most_ms)}: lower the one or raise the other",
        )
    insync, copies = settings.topic_min_insync_replicas, settings.topic_replication_factor
    if insync > copies:
        yield Clash(
            {"topic_min_insync_replicas", "topic_replication_factor"},
            f"TOPIC_MIN_INSYNC_REPLICAS={insync} is more than TOPIC_REPLICATION_FACTOR={copies}, and nothing "
            "could be written: lower the one or raise the other",
        )
    if not is_loopback(settings.web_bind) and not settings.web_token.get_secret_value():
        yield Clash(
            {"web_bind", "web_token"},
            f"WEB_BIND={shown_value(settings.web_bind)} is reachable from outside: set WEB_TOKEN, or bind "
            "127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address to bind is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _mqtt_clashes(settings: "Settings") -> Iterator[Clash]:
    if settings.mqtt_transport == "mqtt5" and is_websocket(settings.mqtt_url.get_secret_value()):
        yield Clash(
            {"mqtt_transport", "mqtt_url"},
            "MQTT_TRANSPORT=mqtt5 speaks no WebSockets, which MQTT_URL asks for: take auto or aiomqtt",
        )
    if is_caught(_status_topic(settings), settings.mqtt_topic_filter):
        yield Clash(
            {"mqtt_status_topic", "mqtt_topic_filter", "mqtt_share_group", "worker_id"},
            f"MQTT_STATUS_TOPIC={shown_value(settings.mqtt_status_topic)} is among what "
            f"MQTT_TOPIC_FILTER={shown_value(settings.mqtt_topic_filter)} brings, so our own status would "
            "come back as a metric: choose another topic, or a narrower filter",
        )


def _quota_clashes(settings: "Settings") -> Iterator[Clash]:
    burst_s = settings.quota_burst_s
    messages, size_bytes = settings.quota_messages_per_s * burst_s, settings.quota_bytes_per_s * burst_s
    # 0 is no quota at all.
    if 0 < messages < 1:
        yield Clash(
            {"quota_messages_per_s", "quota_burst_s"},
            f"QUOTA_MESSAGES_PER_S={number_shown(settings.quota_messages_per_s)} with QUOTA_BURST_S="
            f"{number_shown(burst_s)} is less than one message at once, and not one message would ever pass: "
            "raise either",
        )
    if 0 < size_bytes < MAX_BYTES:
        yield Clash(
            {"quota_bytes_per_s", "quota_burst_s"},
            f"QUOTA_BYTES_PER_S={number_shown(settings.quota_bytes_per_s)} with QUOTA_BURST_S="
            f"{number_shown(burst_s)} is less than the largest message, and a payload of {MAX_BYTES:,} bytes "
            "would never pass: raise either",
        )
    if settings.quota_action != "hold":
        return
    held_s = settings.quota_hold_s
    if held_s < LEAST_HELD_S:
        yield Clash(
            {"quota_action", "dedupe_window_s"},
            f"QUOTA_ACTION=hold with DEDUPE_WINDOW_S={number_shown(settings.dedupe_window_s)} puts back "
            "nothing, since a message may be held for half of that: take reject, or a window of "
            f"{number_shown(2 * LEAST_HELD_S)} s or more",
        )
    if settings.rejected_retention_s < held_s:
        yield Clash(
            {"quota_action", "rejected_retention_s"},
            f"QUOTA_ACTION=hold with REJECTED_RETENTION_S={number_shown(settings.rejected_retention_s)} "
            f"loses what is held for longer, which may be {number_shown(held_s)} s, half of "
            "DEDUPE_WINDOW_S: raise it",
        )


def _status_topic(settings: "Settings") -> str:
    """Return the topic as `streams.mqtt.transport.MqttSession` makes it."""
    worker = f"/{settings.worker_id or 'a-host'}" if settings.mqtt_share_group else ""
    return f"{settings.mqtt_status_topic}{worker}"
