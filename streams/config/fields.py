"""The kinds of values that settings take, each with what is checked of it.

Between `streams.settings`, which says what there is, and the modules beside this one, which know each value.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from streams.config.database_url import database_url_faults
from streams.config.kafka_url import kafka_url_faults
from streams.config.mqtt_topics import filter_faults, level_faults, topic_faults
from streams.config.mqtt_url import mqtt_url_faults
from streams.config.redis_url import redis_url_faults
from streams.config.urls import is_host
from streams.config.wording import shown_value
from streams.rules.timestamp import read_earliest

LONGEST_S = 100 * 365 * 86_400.0  # a century: in milliseconds still within Kafka's 64 bits

NAME = r"^[A-Za-z0-9._-]+$"
PHP_CLASS = r"^[^\W\d]\w*(\\[^\W\d]\w*)*$"
PHP_CLASS_OR_ALIAS = r"^([^\W\d]\w*(\\[^\W\d]\w*)*|[\w.-]+)$"
ENDPOINT = r"^(https?://[^\s/@]+/?)?$"
IN_WORDS = {
    ENDPOINT: "http:// or https:// with a host and a port, without a path, or empty",
    NAME: "letters, digits, dots, underscores and hyphens",
    PHP_CLASS: r"a PHP class as in App\Jobs\Job, without a backslash in front",
    PHP_CLASS_OR_ALIAS: r"a PHP class as in App\Models\Tenant, without a backslash in front, or an alias",
}

Faults = Callable[[str], Iterator[str]]


class FaultsFound(ValueError):  # noqa: N818 - says what has happened
    """What is wrong with a value: whole lines, each with its mend."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _checked(faults: Faults) -> AfterValidator:
    """Refuse a text, or a secret one, of which `faults` says that something is wrong."""

    def check(value: str | SecretStr) -> str | SecretStr:
        lines = list(faults(value.get_secret_value() if isinstance(value, SecretStr) else value))
        if lines:
            raise FaultsFound(lines)
        return value

    return AfterValidator(check)


def _bind_faults(bind: str) -> Iterator[str]:
    if not is_host(bind):
        yield "WEB_BIND must be an address or a host name alone, as in 127.0.0.1, ::1 or 0.0.0.0"


def _token_faults(token: str) -> Iterator[str]:
    if not token.isprintable() or not token.isascii() or " " in token:
        yield "WEB_TOKEN holds a space, a line break, or what is not ASCII: no HTTP header could carry it"


def _time_faults(text: str) -> Iterator[str]:
    try:
        read_earliest(text)
    except ValueError as error:
        yield f"MIN_TIMESTAMP={shown_value(text)}: {error}"


Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
Retention = Annotated[float, Field(ge=1, le=LONGEST_S)]
Count = Annotated[int, Field(gt=0, le=2**31 - 1)]  # what Kafka's protocol has room for
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)]
Endpoint = Annotated[str, Field(max_length=200, pattern=ENDPOINT)]
PhpClass = Annotated[str, Field(max_length=200, pattern=PHP_CLASS)]
PhpClassOrAlias = Annotated[str, Field(max_length=200, pattern=PHP_CLASS_OR_ALIAS)]
BrokerUrl = Annotated[str, _checked(kafka_url_faults)]
MqttUrl = Annotated[SecretStr, _checked(mqtt_url_faults)]
RedisUrl = Annotated[SecretStr, _checked(redis_url_faults)]
DatabaseUrl = Annotated[SecretStr, _checked(database_url_faults)]
Time = Annotated[str, _checked(_time_faults)]
Token = Annotated[SecretStr, _checked(_token_faults)]
Bind = Annotated[str, _checked(_bind_faults)]
TopicFilter = Annotated[
    str, Field(min_length=1), _checked(lambda text: filter_faults("MQTT_TOPIC_FILTER", text))
]
StatusTopic = Annotated[
    str, Field(min_length=1), _checked(lambda text: topic_faults("MQTT_STATUS_TOPIC", text))
]
ShareGroup = Annotated[
    str, Field(max_length=200), _checked(lambda text: level_faults("MQTT_SHARE_GROUP", text))
]
WorkerId = Annotated[str, Field(max_length=200), _checked(lambda text: level_faults("WORKER_ID", text))]
