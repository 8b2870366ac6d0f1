"""The settings: one frozen value, built once from a mapping such as the environment.

Here is each setting, with its unit and default; `streams.config` knows how it is read, and what each
value must be like. ``.env.example`` is rendered from this file (`render_example`), and a test holds the two
together.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from streams.config.clashes import ClashesFound, clashes_of
from streams.config.environment import misspelt, read_environment
from streams.config.fields import (
    IN_WORDS,
    LONGEST_S,
    Bind,
    BrokerUrl,
    Count,
    DatabaseUrl,
    Endpoint,
    FaultsFound,
    MqttUrl,
    Name,
    PhpClass,
    PhpClassOrAlias,
    RedisUrl,
    Retention,
    Seconds,
    ShareGroup,
    StatusTopic,
    Time,
    Token,
    TopicFilter,
    WorkerId,
)
from streams.config.kafka_url import kafka_servers
from streams.config.wording import number_shown, refusal
from streams.errors import SettingsError
from streams.laravel.job import CONNECTION, JOB_CLASS, MODEL_CLASS, MODEL_CONNECTION, Extras
from streams.rules.timestamp import read_earliest
from streams.tls import TlsFiles

NEVER_EXPIRES_S = 0xFFFFFFFF  # MQTT 5, 3.1.2.11.2: a session expiry of this value never expires

PHP_NULL = "null"  # as an application's own .env says it (Illuminate\Support\Env)


class Settings(BaseModel):
    """Every setting with its unit and default. The names in the environment are these in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True, hide_input_in_errors=True)

    # --- Kafka
    broker_url: BrokerUrl = Field(
        "kafka://localhost:9092", description="Kafka bootstrap servers, as Faust takes them (a;b for several)"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL (TLS), SASL_PLAINTEXT (a login, in clear) or SASL_SSL (both)"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="of the login: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
    )
    kafka_sasl_username: str = Field("", description="who logs in, but with OAUTHBEARER")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="with which password")
    kafka_sasl_token_file: str = Field(
        "", description="file with the token for OAUTHBEARER; read again for each connection"
    )
    kafka_sasl_token_command: str = Field(
        "", description="or a command that prints the token; run for each connection, without a shell"
    )
    kafka_ca_file: str = Field(
        "",
        description="PEM file with what the brokers' certificates lead to; empty for what the system trusts",
    )
    kafka_cert_file: str = Field(
        "", description="PEM file with our own certificate and those up to its CA, where Kafka asks for one"
    )
    kafka_key_file: str = Field(
        "", description="PEM file with its key, not encrypted; empty if it stands in KAFKA_CERT_FILE"
    )
    topic_prefix: Name = Field("metrics", description="names the topics: {prefix}.raw, .unique, .rejected")
    topic_partitions: Count = Field(
        8, description="partitions of each topic; equal everywhere, and raised by `partitions` alone"
    )
    topic_replication_factor: int = Field(
        1, gt=0, le=2**15 - 1, description="copies of each partition; 3 on a cluster"
    )
    topic_min_insync_replicas: Count = Field(
        1, description="copies that must hold a record before it counts as written; 2 of 3"
    )
    raw_retention_s: Retention = Field(
        7 * 86_400, description="seconds that metrics.raw and .unique are kept"
    )
    rejected_retention_s: Retention = Field(30 * 86_400, description="seconds that metrics.rejected is kept")
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
    mqtt_url: MqttUrl = Field(
        SecretStr("mqtt://localhost:1883"),
        description="mqtt://, mqtts://, ws:// or wss://, with user:password@ where the broker asks for it",
    )
    mqtt_username: str = Field("", description="who connects, where MQTT_URL does not say it")
    mqtt_password: SecretStr = Field(SecretStr(""), description="with which password")
    mqtt_ca_file: str = Field(
        "",
        description="PEM file with what the broker's certificate leads to; empty for what the system trusts",
    )
    mqtt_cert_file: str = Field(
        "", description="PEM file with our own certificate and those up to its CA, where it asks for one"
    )
    mqtt_key_file: str = Field(
        "", description="PEM file with its key, not encrypted; empty if it stands in MQTT_CERT_FILE"
    )
    mqtt_admin_username: str = Field(
        "admin", description="for provision: the administrator of Mosquitto's dynamic security"
    )
    mqtt_admin_password: SecretStr = Field(SecretStr(""), description="for provision: its password")
    mqtt_transport: Literal["auto", "mqtt5", "aiomqtt"] = Field(
        "auto",
        description="auto, mqtt5 (the quickest; MQTT 5, no WebSockets) or aiomqtt; auto tries mqtt5 first",
    )
    mqtt_client_id: Name = Field("metric-streams", description="fixed: the broker keeps our session under it")
    mqtt_topic_filter: TopicFilter = Field("metrics/#", description="what to subscribe to")
    mqtt_share_group: ShareGroup = Field(
        "", description="set to share the subscription among workers (clusters)"
    )
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
    mqtt_status_topic: StatusTopic = Field("bridge/status", description="retained: online or offline")
    worker_id: WorkerId = Field(
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

    # --- quotas
    quota_messages_per_s: Annotated[float, Field(ge=0, le=1e9)] = Field(
        0.0,
        description="messages a second that a tenant may send; more are rejected as quota_exceeded; 0 "
        "for any number",
    )
    quota_bytes_per_s: Annotated[float, Field(ge=0, le=1e12)] = Field(
        0.0, description="bytes of payloads a second that a tenant may send, likewise; 0 for any number"
    )
    quota_action: Literal["reject", "hold"] = Field(
        "reject",
        description="what becomes of more: reject leaves it to `rejected replay`; hold puts it back by "
        "itself, as the quota allows",
    )
    quota_burst_s: Seconds = Field(
        10.0, description="seconds of its quota that a tenant may send at once, having sent nothing before"
    )

    # --- rules
    max_clock_skew_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = Field(
        86_400.0, description="seconds that a device's timestamp may lie ahead of its arrival"
    )
    min_timestamp: Time = Field(
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
    redis_url: RedisUrl = Field(
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
    handoff_max_memory_share: float = Field(
        0.8,
        gt=0,
        le=1,
        description="share of Redis's maxmemory (or its machine's memory) above which the hand-off waits",
    )
    fence_lost_rewind_s: Seconds = Field(
        7 * 86_400,
        description="seconds of metrics.unique that are handed off again where Redis has lost the fence",
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
    database_url: DatabaseUrl = Field(
        SecretStr("postgresql://postgres@localhost:5432/postgres"),
        description="the database with the tables tenants and metrics_raw",
    )

    # --- watchdog
    watchdog_limit_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = Field(
        300.0,
        description="seconds without progress, all parts being up, after which the worker ends; 0 for never",
    )

    # --- log
    log_format: Literal["plain", "json"] = Field(
        "plain", description="plain for people, or json: an object a line, for what collects logs"
    )

    # --- traces
    otel_exporter_otlp_endpoint: Endpoint = Field(
        "",
        description="where the spans of chunks are sent, as in http://collector:4318; needs the extra otel; "
        "empty for none",
    )
    otel_traces_sampler_arg: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of chunks whose spans are sent, beside those in which a device traces a message",
    )

    # --- web
    web_bind: Bind = Field(
        "127.0.0.1", description="address of the web pages; beyond loopback needs WEB_TOKEN"
    )
    web_port: int = Field(6066, ge=1, le=65_535, description="port of the worker's web pages")
    ingest_web_port: int = Field(6067, ge=0, le=65_535, description="port of ingest's web pages; 0 for none")
    web_token: Token = Field(SecretStr(""), description="bearer token that the web pages ask for")

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        """Check what no single field can."""
        clashes = list(clashes_of(self))
        if clashes:
            raise ClashesFound(clashes)
        return self

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str]) -> Self:
        """Build the settings from a mapping such as ``os.environ``.

        ``NAME_FILE`` names a file that holds the value of ``NAME`` (its last line break is dropped); an
        empty value counts as absent.

        Examples:
            >>> Settings.from_mapping({"TOPIC_PREFIX": "plant"}).raw_topic
            'plant.raw'
            >>> Settings.from_mapping({"TOPIC_PARTITIONS": "0", "WEB_PORT": "http"})
            Traceback (most recent call last):
            streams.errors.SettingsError: TOPIC_PARTITIONS=0: must be a whole number from 1 to 2147483647
            WEB_PORT=http: must be a whole number from 1 to 65535

        Raises:
            SettingsError: with one line for each problem, all at once.
        """
        values, unread = read_environment(environment, cls.model_fields)
        settings, problems = cls._of(values, set(unread))
        problems = [*misspelt(environment, cls.model_fields), *unread.values(), *problems]
        if settings is None or problems:
            raise SettingsError([" ".join(line.splitlines()) for line in problems])
        return settings

    @classmethod
    def _of(cls, values: Mapping[str, str], refused: set[str]) -> tuple[Self | None, list[str]]:
        """Build the settings, or find out all that is wrong with them.

        Args:
            values: by the names of the settings.
            refused: the settings of which something is known to be wrong; their defaults stand for them.
        """
        try:
            return cls(**{name: value for name, value in values.items() if name not in refused}), []
        except ValidationError as error:
            errors: list[dict[str, Any]] = [dict(item) for item in error.errors()]
        found = {str(item["loc"][0]): item for item in errors if item["loc"]}
        if not found:
            return None, [line for item in errors for line in _clash_lines(item, refused)]
        # pydantic looks at what must go together only once each value for itself is right.
        _, clashes = cls._of(values, refused | found.keys())
        return None, [line for name, item in found.items() for line in _value_lines(name, item)] + clashes

    @property
    def quota_hold_s(self) -> float:
        """Seconds after which a message that is held back is left to the operator."""
        # refine knows later values for as long as it remembers ids, and the way there takes time.
        return self.dedupe_window_s / 2

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
    def marks_topic(self) -> str:
        """The topic that tells what of metrics.rejected was put back or dismissed."""
        return f"{self.rejected_topic}-marks"

    @property
    def devices_topic(self) -> str:
        """The topic that tells when each device was heard last."""
        return f"{self.topic_prefix}.devices"

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
        """The Kafka servers as ``host:port``."""
        return kafka_servers(self.broker_url)

    @property
    def kafka_tls(self) -> TlsFiles | None:
        """The certificates of connections to Kafka; None where they are not encrypted."""
        if not self.kafka_security_protocol.endswith("SSL"):
            return None
        return TlsFiles(self.kafka_ca_file, self.kafka_cert_file, self.kafka_key_file)

    @property
    def mqtt_tls(self) -> TlsFiles:
        """The certificates of connections to the MQTT broker, where MQTT_URL asks for encryption."""
        return TlsFiles(self.mqtt_ca_file, self.mqtt_cert_file, self.mqtt_key_file)


def render_example() -> str:
    """Return the text of ``.env.example``: every setting, its meaning with unit, and its default."""
    lines = ["# Every setting, with its default. A secret may stand in a file named by NAME_FILE instead."]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}", f"{name.upper()}={shown_default(field.default)}"]
    return "\n".join(lines) + "\n"


def shown_default(value: Any) -> str:
    """Return a setting's default as the environment would say it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_shown(value) if isinstance(value, int | float) else str(value)


def _value_lines(name: str, item: dict[str, Any]) -> list[str]:
    """Turn what pydantic says of one value into lines that name the setting, the value and the mend."""
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, FaultsFound):
        return cause.lines
    field = Settings.model_fields[name]
    return [refusal(name, field, item["input"], IN_WORDS, secret=isinstance(field.default, SecretStr))]


def _clash_lines(item: dict[str, Any], refused: set[str]) -> list[str]:
    """Return what does not go together, but for what hangs on a value that is refused anyway."""
    return [clash.line for clash in item["ctx"]["error"].clashes if not clash.names & refused]
