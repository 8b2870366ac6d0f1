"""The settings: one frozen value, built once from a mapping such as the environment.

``.env.example`` is rendered from this file (`render_example`), and a test holds the two together.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from streams.errors import SettingsError
from streams.rules.timestamp import read_earliest
from streams.wire.job import CONNECTION, JOB_CLASS, MODEL_CLASS, MODEL_CONNECTION, Extras

URL_SCHEMES = {
    "mqtt_url": ("mqtt", "mqtts", "ws", "wss"),
    "redis_url": ("redis", "rediss", "unix"),
    "database_url": ("postgresql", "postgres"),
}
NEVER_EXPIRES_S = 0xFFFFFFFF  # MQTT 5, 3.1.2.11.2: a session expiry of this value never expires

LONGEST_S = 100 * 365 * 86_400.0  # a century: in milliseconds still within Kafka's 64 bits

Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
Count = Annotated[int, Field(gt=0, le=2**31 - 1)]  # what Kafka's protocol has room for
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")]
PhpClass = Annotated[str, Field(max_length=200, pattern=r"^[^\W\d]\w*(\\[^\W\d]\w*)*$")]
PhpClassOrAlias = Annotated[str, Field(max_length=200, pattern=r"^([^\W\d]\w*(\\[^\W\d]\w*)*|[\w.-]+)$")]


def _time(text: str) -> str:
    """Return a text as it came if it is a time that the rules can read."""
    read_earliest(text)
    return text


PHP_NULL = "null"  # as an application's own .env says it (Illuminate\Support\Env)


class Settings(BaseModel):
    """Every setting with its unit and default. The names in the environment are these in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    # --- Kafka
    broker_url: str = Field(
        "kafka://localhost:9092", description="Kafka bootstrap servers, as Faust takes them (a;b for several)"
    )
    topic_prefix: Name = Field("metrics", description="names the topics: {prefix}.raw, .unique, .rejected")
    topic_partitions: Count = Field(
        8, description="partitions of each topic; equal everywhere, fixed for good"
    )
    topic_replication_factor: int = Field(
        1, gt=0, le=2**15 - 1, description="copies of each partition; 3 on a cluster"
    )
    topic_min_insync_replicas: Count = Field(
        1, description="copies that must hold a record before it counts as written; 2 of 3"
    )
    raw_retention_s: Seconds = Field(7 * 86_400, description="seconds that metrics.raw and .unique are kept")
    rejected_retention_s: Seconds = Field(30 * 86_400, description="seconds that metrics.rejected is kept")
    producer_idempotence: bool = Field(
        default=True, description="off only for a broker without InitProducerId"
    )
    compression: Literal["none", "lz4", "zstd"] = Field("zstd", description="none, lz4 or zstd")
    consumer_group: Name = Field("metric-streams", description="Faust app id, and so the consumer group")
    consumer_session_s: float = Field(
        10.0,
        ge=1,
        le=60,
        description="seconds without a heartbeat after which Kafka gives a worker's partitions to others; "
        "Kafka's own least is 6",
    )

    # --- MQTT
    mqtt_url: SecretStr = Field(
        SecretStr("mqtt://localhost:1883"),
        description="mqtt://, mqtts://, ws:// or wss://, with user:password@ where the broker asks for it",
    )
    mqtt_transport: Literal["auto", "mqtt5", "aiomqtt"] = Field(
        "auto",
        description="auto, mqtt5 (the quickest; MQTT 5, no WebSockets) or aiomqtt; auto tries mqtt5 first",
    )
    mqtt_client_id: Name = Field("metric-streams", description="fixed: the broker keeps our session under it")
    mqtt_topic_filter: str = Field("metrics/#", min_length=1, description="what to subscribe to")
    mqtt_share_group: str = Field("", description="set to share the subscription among workers (clusters)")
    mqtt_receive_maximum: int = Field(
        5_000, gt=0, le=65_535, description="messages in flight from the broker"
    )
    mqtt_session_expiry_s: int = Field(
        NEVER_EXPIRES_S,
        ge=0,
        le=NEVER_EXPIRES_S,
        description="seconds the broker keeps our session while away",
    )
    mqtt_keepalive_s: int = Field(
        30, ge=5, le=3600, description="seconds between pings on an idle connection"
    )
    mqtt_status_topic: str = Field("bridge/status", min_length=1, description="retained: online or offline")
    worker_id: str = Field(
        "", description="stable name of this worker for MQTT_SHARE_GROUP; default host name"
    )

    # --- chunks
    chunk_linger_ms: Annotated[float, Field(ge=0, le=1_000)] = Field(
        2.0, description="milliseconds that messages wait for others, for each chunk that is open"
    )
    chunk_linger_max_ms: Annotated[float, Field(ge=0, le=1_000)] = Field(
        50.0,
        description="milliseconds that they wait at most: longer, the busier the worker, or Kafka, is",
    )
    chunk_max_messages: int = Field(500, gt=0, le=500, description="messages in a chunk at most")
    chunk_max_bytes: int = Field(512 * 1024, ge=1_024, le=512 * 1024, description="bytes of a chunk at most")

    # --- rules
    max_clock_skew_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = Field(
        86_400.0, description="seconds that a device's timestamp may lie ahead of its arrival"
    )
    min_timestamp: Annotated[str, AfterValidator(_time)] = Field(
        "2000-01-01",
        description="a device's timestamp may not lie before: its clock is not set (1970-01-01 for any)",
    )
    dedupe_window_s: Seconds = Field(3_600.0, description="seconds that an id is remembered")
    dedupe_max_ids: Count = Field(5_000_000, description="ids remembered by one worker at most")
    dedupe_id_when_missing: Literal["derive", "none"] = Field(
        "derive", description="derive: rows without a dedupe_id get one, so a retried job cannot double them"
    )
    tenant_known_s: Seconds = Field(60.0, description="seconds that a known tenant is trusted")
    tenant_unknown_s: Seconds = Field(5.0, description="seconds that an unknown tenant stays unknown")

    # --- Redis and the job
    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="the Redis of the job queue"
    )
    queue_prefix: str = Field("laravel_database_", description="Laravel's key prefix (config/database.php)")
    queue_name: str = Field("default", min_length=1, description="Laravel's queue")
    queue_connection: str = Field(
        CONNECTION,
        min_length=1,
        max_length=200,
        description="Laravel's queue connection (config/queue.php), to which queue:retry brings jobs back",
    )
    queue_retry_after_s: Count = Field(90, description="seconds after which a reserved job is taken again")
    handoff_max_queued_jobs: Count = Field(
        100_000, description="above this the hand-off waits, and Kafka holds"
    )
    job_class: PhpClass = Field(JOB_CLASS, description="the application's job, without a backslash in front")
    tenant_model_class: PhpClassOrAlias = Field(
        MODEL_CLASS, description="the application's model of a tenant, or its alias in the morph map"
    )
    tenant_model_connection: str = Field(
        MODEL_CONNECTION,
        min_length=1,
        max_length=200,
        description="that model's connection (config/database.php); null for the application's default one",
    )
    job_created_at: bool = Field(
        default=False, description="jobs tell when they were made (createdAt), as Laravel's do since 12.11"
    )
    job_horizon: bool = Field(
        default=False, description="jobs carry type, tags, silenced and pushedAt, by which Horizon finds them"
    )
    job_delete_when_missing_models: bool = Field(
        default=False, description="the job's $deleteWhenMissingModels: without its tenant it is no failure"
    )
    ingest_concurrency: int = Field(
        1, ge=1, le=64, description="batches that ingest has under way at once; only 1 keeps their order"
    )

    ingest_wait_limit_s: Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)] = Field(
        60.0,
        description="seconds without progress, a part being away, after which ingest --once and "
        "--until-empty end with exit code 75; 0 for never",
    )

    # --- PostgreSQL
    database_url: SecretStr = Field(
        SecretStr("postgresql://postgres@localhost:5432/postgres"),
        description="the database with the tables tenants and metrics_raw",
    )

    # --- watchdog
    watchdog_limit_s: Annotated[float, Field(ge=0)] = Field(
        300.0,
        description="seconds without progress, all parts being up, after which the worker ends; 0 for never",
    )

    # --- web
    web_bind: str = Field(
        "127.0.0.1", description="address of the web pages; beyond loopback needs WEB_TOKEN"
    )
    web_port: int = Field(6066, ge=1, le=65_535, description="port of the worker's web pages")
    ingest_web_port: int = Field(6067, ge=0, le=65_535, description="port of ingest's web pages; 0 for none")
    web_token: SecretStr = Field(SecretStr(""), description="bearer token that the web pages ask for")

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        """Check what no single field can."""
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        for name, schemes in URL_SCHEMES.items():
            yield from _url_problems(name, getattr(self, name).get_secret_value(), schemes)
        for server in _servers(self.broker_url):
            yield from _url_problems("broker_url", server)
        if self.mqtt_transport == "mqtt5" and _is_websocket(self.mqtt_url):
            yield "MQTT_TRANSPORT=mqtt5 speaks no WebSockets, which MQTT_URL asks for: take auto or aiomqtt"
        if self.topic_min_insync_replicas > self.topic_replication_factor:
            yield (
                f"TOPIC_MIN_INSYNC_REPLICAS={self.topic_min_insync_replicas} is more than "
                f"TOPIC_REPLICATION_FACTOR={self.topic_replication_factor}: nothing could be written"
            )
        if not is_loopback(self.web_bind) and not self.web_token.get_secret_value():
            yield f"WEB_BIND={self.web_bind} is reachable from outside: set WEB_TOKEN, or bind 127.0.0.1"

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str]) -> Self:
        """Build the settings from a mapping such as ``os.environ``.

        ``NAME_FILE`` names a file that holds the value of ``NAME`` (its last line break is dropped); an
        empty value counts as absent.

        Raises:
            SettingsError: with one line for each problem, all at once.
        """
        problems: list[str] = []
        values = dict(_values(environment, cls.model_fields, problems))
        try:
            settings = cls(**values)
        except ValidationError as error:
            problems += [line for item in error.errors() for line in _explain(dict(item))]
        else:
            if not problems:
                return settings
        raise SettingsError(problems)

    @property
    def raw_topic(self) -> str:
        """The topic with what devices sent, in chunks."""
        return f"{self.topic_prefix}.raw"

    @property
    def unique_topic(self) -> str:
        """The topic with valid readings, duplicates dropped."""
        return f"{self.topic_prefix}.unique"

    @property
    def rejected_topic(self) -> str:
        """The topic with what was refused, and why."""
        return f"{self.topic_prefix}.rejected"

    @property
    def earliest(self) -> str:
        """MIN_TIMESTAMP in the form that rows have."""
        return read_earliest(self.min_timestamp)

    @property
    def model_connection(self) -> str | None:
        """The connection of the tenant's model, as a job names it."""
        return None if self.tenant_model_connection == PHP_NULL else self.tenant_model_connection

    @property
    def job_extras(self) -> Extras:
        """What a job holds beyond what every version of Laravel needs."""
        return Extras(
            created_at=self.job_created_at,
            horizon=self.job_horizon,
            delete_when_missing_models=self.job_delete_when_missing_models,
        )

    @property
    def bootstrap_servers(self) -> list[str]:
        """The Kafka servers as ``host:port``, for clients other than Faust."""
        hosts = map(urlsplit, _servers(self.broker_url))
        return [f"{_bracketed(host.hostname or '')}:{host.port or 9092}" for host in hosts]


def is_loopback(host: str) -> bool:
    """Tell whether an address to bind is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_websocket(url: SecretStr) -> bool:
    return url.get_secret_value().lower().startswith(("ws://", "wss://"))


def _bracketed(host: str) -> str:
    """Return a host as it stands before a port: ``::1:2`` would be an address without one."""
    return f"[{host}]" if ":" in host else host


def _servers(broker_url: str) -> list[str]:
    """Return the URL of each Kafka server."""
    return [part if "://" in part else f"kafka://{part}" for part in broker_url.split(";")]


def _url_problems(name: str, url: str, schemes: Sequence[str] = ()) -> Iterator[str]:
    """Say what is wrong with a URL, but nothing of it: it may be secret, and so may urllib's own words."""
    key = name.upper()
    try:
        parts = urlsplit(url)
        # Redis and PostgreSQL have a host by default, and PostgreSQL takes several with a port each.
        has_place = name in ("redis_url", "database_url") or bool(parts.hostname)
        has_port = name == "database_url" or parts.port != 0
    except ValueError:
        yield f"{key} is no URL: its host or its port is malformed"
        return
    if schemes and parts.scheme not in schemes:
        yield f"{key} must begin with {', '.join(f'{scheme}://' for scheme in schemes)}"
    elif not (has_place and has_port):
        yield f"{key} must name a host, and no port 0"


def render_example() -> str:
    """Return the text of ``.env.example``: every setting, its meaning with unit, and its default."""
    lines = ["# Every setting, with its default. A secret may stand in a file named by NAME_FILE instead."]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}", f"{name.upper()}={_shown(field.default)}"]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _values(
    environment: Mapping[str, str], names: Mapping[str, Any], problems: list[str]
) -> Iterator[tuple[str, str]]:
    for name in names:
        key = name.upper()
        path = environment.get(f"{key}_FILE")
        given = path or environment.get(key, "")
        if not _is_text(given):
            problems.append(f"{key} is not UTF-8")
        elif path:
            try:
                yield name, Path(path).read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, ValueError) as error:  # no UTF-8, or a NUL in the path
                problems.append(f"{key}_FILE={path} cannot be read: {error}")
        elif given:
            yield name, given


def _is_text(value: str) -> bool:
    """Tell whether a value of the environment was UTF-8; else Python has put surrogates into it (PEP 383)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _explain(item: dict[str, Any]) -> list[str]:
    """Turn one pydantic error into lines that name the setting, the value and the mend."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return message.split("\n")
    name = str(item["loc"][0])
    shown = "(secret)" if isinstance(Settings.model_fields[name].default, SecretStr) else repr(item["input"])
    return [f"{name.upper()}={shown}: {message}"]
