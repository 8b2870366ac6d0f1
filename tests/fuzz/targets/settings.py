"""An environment: lines of NAME=value; a NAME may be a setting's number, as in ``7=value``."""

from urllib.parse import urlsplit

from streams.errors import SettingsError
from streams.laravel.redis_client import connect
from streams.mqtt.address import Address
from streams.mqtt.transport import MqttSession
from streams.settings import Settings, render_example
from streams.topics import topic_specs

MARK = "s3cr3t"
NAMES = [name.upper() for name in Settings.model_fields]
SECRETS = ["BROKER_URL", "MQTT_URL", "REDIS_URL", "DATABASE_URL", "WEB_TOKEN"]
MOST = {"topic_partitions": 2**31 - 1, "topic_replication_factor": 2**15 - 1}
"""What Kafka's protocol has room for (CreateTopics: num_partitions INT32, replication_factor INT16)."""
_EXAMPLE = [line.encode() for line in render_example().splitlines() if line and line[0] != "#"]
_URLS = [
    b"mqtt://user:s3cr3t@[::1]:1883",
    b"wss://user:s3cr3t@broker:99999/path?a=b",
    b"mqtt://user:s3cr3t@[broker",
    b"ws://u:s3cr3t%ff@b\xe2\x84\x80ker",
]
SEEDS = [
    b"\n".join(_EXAMPLE),
    *(b"MQTT_URL=" + url for url in _URLS),
    b"BROKER_URL=kafka://a:9092;b;[::1]:9093;kafka://",
    b"BROKER_URL=kafka://a:b\nREDIS_URL=redis://:s3cr3t@h:x\nDATABASE_URL=postgresql://u:s3cr3t@[h/",
    b"RAW_RETENTION_S=inf\nDEDUPE_WINDOW_S=nan\nMAX_CLOCK_SKEW_S=1e309\nTOPIC_PARTITIONS=99999999999999999999",
    b"REDIS_URL=rediss://:s3cr3t@h/1?ssl_cert_reqs=none\nMQTT_SHARE_GROUP=a/b\nMQTT_STATUS_TOPIC=metrics/x",
    b"DATABASE_URL=postgresql://u:s3cr3t@a:1,b/d?schema=app&sslmode=no\nREDIS_URI=x\nCHUNK_LINGER_MS=60",
    b"WEB_BIND=0.0.0.0\nWEB_TOKEN=s3cr3t\nTOPIC_MIN_INSYNC_REPLICAS=3",
    b"MQTT_URL_FILE=nowhere\nWEB_TOKEN_FILE=\x00",
]
WORDS = [
    *(name.encode() + b"=" for name in NAMES),
    b"_FILE=",
    b"inf",
    b"nan",
    b"1e308",
    b"s3cr3t",
    b"://",
    b"[::1]",
]


def fuzz(data: bytes) -> None:
    """An environment gives settings that can be used, or all its problems, which show no secret."""
    environment = dict(_lines(data))
    try:
        settings = Settings.from_mapping(environment)
    except SettingsError as error:
        _says_what_is_wrong(error, environment)
        return
    _can_be_used(settings)


def _lines(data: bytes) -> list[tuple[str, str]]:
    """Read the lines as Python reads the environment (PEP 383)."""
    found = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        name, _, value = line.partition("=")
        if name.isdecimal():
            name = NAMES[int(name[:2]) % len(NAMES)]
        # A file of this machine, such as a terminal, is none of our business.
        if not (name.endswith("_FILE") and "/" in value):
            found.append((name, value))
    return found


def _says_what_is_wrong(error: SettingsError, environment: dict[str, str]) -> None:
    assert error.problems
    assert all(error.problems)
    not_secret = "".join(value for name, value in environment.items() if name not in SECRETS)
    if MARK not in not_secret:
        assert MARK not in str(error), str(error)


def _can_be_used(settings: Settings) -> None:
    address = Address.parse(settings.mqtt_url.get_secret_value())
    assert address.host
    assert 0 < address.port < 2**16
    assert MARK not in str(address) or MARK in f"{address.host}{address.path}"
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        assert host not in ("", "None")
        assert 0 < int(port) < 2**16
    assert connect(settings.redis_url.get_secret_value()).connection_pool.make_connection()
    assert urlsplit(settings.database_url.get_secret_value()).scheme
    assert MqttSession.of(settings, "host").client_id
    for name, most in MOST.items():
        assert getattr(settings, name) <= most
    for spec in topic_specs(settings):
        assert 0 <= int(spec.configs.get("retention.ms", "0")) < 2**63
