"""The settings: what is accepted can be used, what is not is named, and no secret is shown."""

from pathlib import Path
from urllib.parse import quote

import pytest

from streams.config.urls import shown_url
from streams.errors import SettingsError
from streams.mqtt.address import Address
from streams.settings import Settings
from streams.topics import topic_specs


def problems(**environment: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping(environment)
    return refused.value.problems


@pytest.mark.parametrize(
    "url",
    [
        "http://broker",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://broker:99999",
        "mqtt://broker:0",
        "mqtt://broker:x",
        "mqtt://[broker",
        "broker:1883",
    ],
)
def test_an_mqtt_url_that_names_no_host_and_port_is_refused(url: str) -> None:
    (problem,) = problems(MQTT_URL=url)
    assert problem.startswith("MQTT_URL ")


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://a;", "kafka://a:b", "kafka://a;b:99999", "kafka://[a", "a:0"]
)
def test_a_broker_url_of_which_a_server_has_no_host_or_port_is_refused(url: str) -> None:
    (problem,) = problems(BROKER_URL=url)
    assert problem.startswith("BROKER_URL ")


def test_every_server_of_an_accepted_broker_url_is_host_and_port() -> None:
    settings = Settings.from_mapping({"BROKER_URL": "kafka://a;b:1;kafka://[::1]:2"})
    assert settings.bootstrap_servers == ["a:9092", "b:1", "[::1]:2"]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("REDIS_URL", "http://h"),
        ("REDIS_URL", "redis://h:x"),
        ("REDIS_URL", "redis://[h"),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_URL", "postgresql://[h/d"),
    ],
)
def test_a_url_that_its_client_cannot_read_is_refused(name: str, url: str) -> None:
    (problem,) = problems(**{name: url})
    assert problem.startswith(f"{name} ")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("REDIS_URL", "redis:///0"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("DATABASE_URL", "postgresql:///d?host=/run/postgresql"),
        ("DATABASE_URL", "postgres://u:p@a:5432,b:5433/d"),
        ("MQTT_URL", "wss://u:p%40@[::1]/path"),
    ],
)
def test_every_form_of_url_that_its_client_knows_is_accepted(name: str, url: str) -> None:
    settings = Settings.from_mapping({name: url})
    assert Address.parse(settings.mqtt_url.get_secret_value()).port


@pytest.mark.parametrize("name", ["MQTT_URL", "REDIS_URL", "DATABASE_URL"])
@pytest.mark.parametrize(
    "rest",
    ["h\N{ACCOUNT OF}", "[h", "h:x", "\udcff", ""],
    ids=["not NFKC", "bracket", "port", "surrogate", "none"],
)
def test_no_problem_shows_a_password(name: str, rest: str) -> None:
    found = problems(**{name: f"x://user:s3cr3t@{rest}", "TOPIC_PARTITIONS": "0"})
    assert len(found) >= 1
    assert "s3cr3t" not in "".join(found)


@pytest.mark.parametrize("path", ["nowhere/at/all", "nul\0", ".", "s3cr3t", "x" * 5_000])
def test_a_file_of_a_secret_that_cannot_be_read_is_a_problem(path: str) -> None:
    (problem,) = problems(WEB_TOKEN_FILE=path)
    assert problem.startswith("WEB_TOKEN_FILE names no file that can be read: ")
    assert "s3cr3t" not in problem
    assert len(problem) < 200


@pytest.mark.parametrize(
    "name", ["RAW_RETENTION_S", "REJECTED_RETENTION_S", "DEDUPE_WINDOW_S", "MAX_CLOCK_SKEW_S"]
)
@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-1"])
def test_a_time_without_end_is_refused(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}=")


def test_the_longest_retention_is_within_kafkas_64_bits() -> None:
    settings = Settings.from_mapping({"RAW_RETENTION_S": str(100 * 365 * 86_400)})
    assert int(topic_specs(settings)[0].configs["retention.ms"]) < 2**63


@pytest.mark.parametrize(
    ("name", "value"), [("TOPIC_PARTITIONS", "2147483648"), ("TOPIC_REPLICATION_FACTOR", "32768")]
)
def test_a_number_that_kafkas_protocol_has_no_room_for_is_refused(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}=")


@pytest.mark.parametrize(
    "name", ["WEB_BIND", "TOPIC_PARTITIONS", "TOPIC_PREFIX", "WEB_TOKEN", "WEB_TOKEN_FILE"]
)
def test_a_value_that_is_not_utf_8_is_refused(name: str) -> None:
    (problem,) = problems(**{name: "a\udcff"})
    assert problem == f"{name} is not UTF-8: write it in UTF-8"


@pytest.mark.parametrize("name", ["JOB_CLASS", "TENANT_MODEL_CLASS"])
@pytest.mark.parametrize("value", [r"\App\Job", "App/Job", "App\\", r"App\\Job", r"App\1st", 'A"', "A\n"])
def test_what_php_takes_for_no_class_is_refused(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}=")


@pytest.mark.parametrize("alias", ["tenant", "team-tenant", "acme.client", "7"])
def test_a_model_may_go_by_its_alias_in_the_morph_map(alias: str) -> None:
    assert Settings.from_mapping({"TENANT_MODEL_CLASS": alias}).tenant_model_class == alias


def test_a_class_of_any_namespace_and_a_connection_of_any_name_are_taken() -> None:
    environment = {"JOB_CLASS": r"Acme\Übung\Job_2", "TENANT_MODEL_CONNECTION": "tenants"}
    settings = Settings.from_mapping(environment)
    assert (settings.job_class, settings.model_connection) == (r"Acme\Übung\Job_2", "tenants")


def test_a_connection_null_is_the_applications_default_one() -> None:
    assert Settings.from_mapping({"TENANT_MODEL_CONNECTION": "null"}).model_connection is None


@pytest.mark.parametrize("text", ["yesterday", "11/20/2026", "2040-01-01"])
def test_a_min_timestamp_that_is_no_time_is_refused(text: str) -> None:
    (problem,) = problems(MIN_TIMESTAMP=text)
    assert problem.startswith(f"MIN_TIMESTAMP={text}: must be a time")


def test_min_timestamp_is_any_time_in_any_form_that_a_device_may_use() -> None:
    assert Settings.from_mapping({}).earliest == "2000-01-01 00:00:00.000000"
    found = Settings.from_mapping({"MIN_TIMESTAMP": "2020-01-01T02:00+02:00"}).earliest
    assert found == "2020-01-01 00:00:00.000000"


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("http://h", "kafka://host:9092"),
        ("confluent://h", "kafka://host:9092"),
        ("kafka+ssl://h:9093", "set KAFKA_SECURITY_PROTOCOL to SSL"),
        ("SASL_SSL://h:9093", "set KAFKA_SECURITY_PROTOCOL to SSL"),
        ("kafka://user:s3cr3t@h:9092", "set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        ("a:9092;user:s3cr3t@b", "set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        ("kafka://h:9092/topic", "behind the port"),
        ("kafka://h:9092?acks=1", "behind the port"),
        ("kafka://a b:9092", "space"),
        ("kafka://300.1.1.1", "must name a host"),
        ("kafka://::1:9092", "must name a host"),
    ],
)
def test_a_broker_url_that_would_be_read_otherwise_than_it_is_meant_is_refused(url: str, mend: str) -> None:
    found = problems(BROKER_URL=url)
    assert mend in found[0]
    assert all(line.startswith("BROKER_URL ") and "s3cr3t" not in line for line in found)


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("a", ["a:9092"]),
        ("a:1,b", ["a:1", "b:9092"]),
        ("kafka://a, b:1; kafka://[::1]/", ["a:9092", "b:1", "[::1]:9092"]),
        ("KAFKA://my_host", ["my_host:9092"]),
    ],
)
def test_several_kafka_servers_may_be_written_in_every_way(url: str, servers: list[str]) -> None:
    assert Settings.from_mapping({"BROKER_URL": url}).bootstrap_servers == servers


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("mqtt://h/metrics", "MQTT_TOPIC_FILTER"),
        ("mqtts://h?keepalive=1", "would be ignored"),
        ("mqtt://u:s3cr3t#x@h", "# as %23"),
        ("mqtt://u:s3cr3t/x@h", "/ as %2F"),
        ("mqtt://u:s3cr3t?x@h", "? as %3F"),
        ("mqtt://u:s3cr3t@x@h", "@ as %40"),
        ("mqtt://u:s3cr3t[x@h", "[ as %5B"),
        ("mqtt://u:s3cr3t%00@h", "control character"),
        ("mqtt://u:s3cr3t%ff@h", "no UTF-8"),
        ("mqtt://u:s3cr3t@h\n", "line break"),
        ("mqtt://u:s3cr3t@h\r", "line break"),
        ("mqtt://a..b", "must name a host"),
        (f"mqtt://u:{'s3cr3t' * 11_000}@h", "no room"),
    ],
)
def test_an_mqtt_url_that_would_be_read_otherwise_than_it_is_meant_is_refused(url: str, mend: str) -> None:
    (problem,) = problems(MQTT_URL=url)
    assert problem.startswith("MQTT_URL ")
    assert mend in problem
    assert "s3cr3t" not in problem


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("redis://h/laravel", "number of a database"),
        ("redis://h/0/1", "number of a database"),
        ("redis://h/-1", "number of a database"),
        ("redis://h?db=x", "db=0"),
        ("redis://h/1?db=2", "twice"),
        ("redis://h?db=1&db=2", "twice"),
        ("redis://h?db", "name=value"),
        ("redis://h?read_timeout=60", "read_timeout: take it out"),
        ("redis://h?socket_timeout=1", "socket_timeout: take it out"),
        ("redis://h?decode_responses=yes", "decode_responses: take it out"),
        ("redis://h?prefix=app", "set QUEUE_PREFIX"),
        ("redis://h?database=1", "redis://host:6379/1"),
        ("redis://h?password=s3cr3t", "write it before the host"),
        ("redis://h?s3cr3t9=1", "no use here: take it out"),
        ("redis://h?ssl_cert_reqs=none", "rediss://"),
        ("rediss://h?ssl_cert_reqs=perhaps", "redis-py refuses"),
        ("rediss://h?ssl_min_version=x", "ssl_min_version"),
        ("rediss://h?ssl_ca_certs=/nowhere", "certificate"),
        ("rediss://h?ssl_ciphers=none", "cipher"),
        ("redis+sentinel://h/mymaster", "Sentinel"),
        ("redis://a:1,b:2/0", "must name a host"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("redis://:s3cr3t/x@h", "/ as %2F"),
        ("redis://h?client_name=a%20b", "client_name"),
    ],
)
def test_a_redis_url_that_would_be_read_otherwise_than_it_is_meant_is_refused(url: str, mend: str) -> None:
    found = problems(REDIS_URL=url)
    assert any(mend in line for line in found), found
    assert all(line.startswith("REDIS_URL ") and "s3cr3t" not in line for line in found)


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("postgresql://u:s3cr3t#x@h/d", "# as %23"),
        ("postgresql://u:s3cr3t/x@h/d", "/ as %2F"),
        ("postgresql://u:12/s3cr3t@h/d", "/ as %2F"),
        ("postgresql://u:s3cr3t?x@h/d", "? as %3F"),
        ("postgresql://u:s3cr3t@x@h/d", "@ as %40"),
        ("postgresql://u:s3cr3t/d", "must name a host"),
        ("postgresql://h:0/d", "port from 1"),
        ("postgresql://h:5432,i:99999/d", "port from 1"),
        ("postgresql://a,,b/d", "must name a host"),
        ("postgresql://a%20b/d", "must name a host"),
        ("postgresql://h/d?channel_binding=require", "no channel binding"),
        ("postgresql://h/d?schema=app", "search_path=NAME"),
        ("postgresql://h/d?connect_timeout=5", "waits 5 s"),
        ("postgresql://h/d?application_name=x", "its own name"),
        ("postgresql://h/d?TimeZone=CET", "UTC"),
        ("postgresql://h/d?pgbouncer=true", "pgbouncer: take it out"),
        ("postgresql://h/d?s3cr3t9=1", "no use here: take it out"),
        ("postgresql://h/d?sslmode=", "without a value"),
        ("postgresql://h/d?s3cr3t", "name=value"),
        ("postgresql://h/d?sslmode=always", "sslmode parameter must be one of"),
        ("postgresql://h/d?sslmode=verify-full&sslrootcert=/nowhere", "certificate"),
        ("postgresql://h/d?target_session_attrs=best", "target_session_attrs"),
        ("postgresql+asyncpg://h/d", "must begin with postgresql://"),
        ("host=h dbname=d password=s3cr3t", "space"),
    ],
)
def test_a_database_url_that_would_be_read_otherwise_than_it_is_meant_is_refused(url: str, mend: str) -> None:
    (problem,) = problems(DATABASE_URL=url)
    assert problem.startswith("DATABASE_URL ")
    assert mend in problem
    assert "s3cr3t" not in problem


@pytest.mark.parametrize("char", "#/?@[]% :;&=+\\$é")
@pytest.mark.parametrize(("name", "scheme"), [("DATABASE_URL", "postgresql"), ("REDIS_URL", "redis")])
def test_every_password_gets_through_once_it_is_written_with_escapes(
    name: str, scheme: str, char: str
) -> None:
    url = f"{scheme}://u:{quote(f's{char}x', safe='')}@h/0"
    settings = Settings.from_mapping({name: url, "MQTT_URL": f"mqtt://u:{quote(f's{char}x', safe='')}@h"})
    assert Address.parse(settings.mqtt_url.get_secret_value()).password == f"s{char}x"
    assert getattr(settings, name.lower()).get_secret_value() == url


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("MQTT_SHARE_GROUP", "a/b", "must not hold /, + or #"),
        ("MQTT_SHARE_GROUP", "a+", "must not hold /, + or #"),
        ("MQTT_SHARE_GROUP", "#", "must not hold /, + or #"),
        ("MQTT_SHARE_GROUP", "a\n", "line break"),
        ("WORKER_ID", "a/b", "must not hold /, + or #"),
        ("WORKER_ID", "a#", "must not hold /, + or #"),
        ("MQTT_TOPIC_FILTER", "metrics/#/x", "# only at its end"),
        ("MQTT_TOPIC_FILTER", "metrics#", "# only at its end"),
        ("MQTT_TOPIC_FILTER", "metrics/a+/x", "+ only as a whole level"),
        ("MQTT_TOPIC_FILTER", "$SYS/#", "begin with $"),
        ("MQTT_TOPIC_FILTER", "$share/g/metrics/#", "MQTT_SHARE_GROUP"),
        ("MQTT_TOPIC_FILTER", "x" * 70_000, "bytes"),
        ("MQTT_STATUS_TOPIC", "a/#", "must not hold + or #"),
        ("MQTT_STATUS_TOPIC", "a/+/b", "must not hold + or #"),
        ("MQTT_STATUS_TOPIC", "$SYS/bridge", "begin with $"),
        ("MQTT_STATUS_TOPIC", "metrics/bridge/status/x", "come back as a metric"),
        ("MQTT_STATUS_TOPIC", "metrics", "come back as a metric"),
        ("MQTT_TOPIC_FILTER", "#", "come back as a metric"),
        ("MQTT_TOPIC_FILTER", "+/status", "come back as a metric"),
        ("CHUNK_LINGER_MS", "60", "CHUNK_LINGER_MAX_MS=50"),
        ("CHUNK_LINGER_MAX_MS", "1", "CHUNK_LINGER_MS=2"),
        ("TOPIC_MIN_INSYNC_REPLICAS", "2", "TOPIC_REPLICATION_FACTOR=1"),
        ("RAW_RETENTION_S", "0.0001", "from 1 to 3153600000"),
        ("WATCHDOG_LIMIT_S", "inf", "from 0 to 3153600000"),
        ("WEB_BIND", "127.0.0.1:6066", "address or a host name alone"),
        ("WEB_BIND", "[::1]", "address or a host name alone"),
        ("WEB_BIND", "a b", "address or a host name alone"),
        ("WEB_TOKEN", "s3cr3t\r", "no HTTP header"),
        ("WEB_TOKEN", "s3cr3té", "no HTTP header"),
        ("WEB_PORT", "0", "a whole number from 1 to 65535"),
        ("WEB_PORT", "tcp://10.0.0.1:80", "enableServiceLinks: false"),
        ("TOPIC_PARTITIONS", "many", "a whole number from 1 to 2147483647"),
        ("COMPRESSION", "gzip", "none or lz4 or zstd"),
        ("JOB_HORIZON", "perhaps", "true or false"),
        ("TOPIC_PREFIX", "a b", "letters, digits, dots, underscores and hyphens"),
        ("TOPIC_PREFIX", "x" * 201, "1 to 200 characters"),
        ("JOB_CLASS", r"\App", "without a backslash in front"),
        ("QUEUE_CONNECTION", "x" * 201, "1 to 200 characters"),
    ],
)
def test_a_value_with_which_nothing_could_run_is_told_in_plain_words(
    name: str, value: str, mend: str
) -> None:
    (problem,) = problems(**{name: value})
    assert name in problem
    assert mend in problem
    assert "^" not in problem
    assert "s3cr3t" not in problem
    assert len(problem.splitlines()) == 1


def test_in_a_share_group_the_status_below_the_topic_must_not_come_back_either() -> None:
    alone = {"MQTT_STATUS_TOPIC": "bridge", "MQTT_TOPIC_FILTER": "bridge/+", "WORKER_ID": "w1"}
    assert Settings.from_mapping(alone)
    (problem,) = problems(**alone, MQTT_SHARE_GROUP="g")
    assert "come back as a metric" in problem


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = problems(
        MQTT_URL="http://h",
        TOPIC_PARTITIONS="0",
        CHUNK_LINGER_MS="60",
        WEB_TOKEN_FILE="nowhere",  # noqa: S106 - the name of a file
        WEB_BIND="0.0.0.0",  # noqa: S104 - never bound
        REDIS_URI="redis://h",
        DATABASE_URL="postgresql://h:0/d?sslmode=no",
    )
    names = ["REDIS_URI", "WEB_TOKEN_FILE", "TOPIC_PARTITIONS", "MQTT_URL", "DATABASE_URL", "CHUNK_LINGER_MS"]
    assert [line.partition("=")[0].partition(" ")[0] for line in found] == names


def test_a_value_that_is_refused_is_not_held_against_another() -> None:
    (problem,) = problems(TOPIC_REPLICATION_FACTOR="x", TOPIC_MIN_INSYNC_REPLICAS="2")
    assert problem.startswith("TOPIC_REPLICATION_FACTOR=x")


def test_a_setting_and_its_file_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    (problem,) = problems(WEB_TOKEN="two", WEB_TOKEN_FILE=str(tmp_path / "token"))  # noqa: S106 - no secret
    assert problem == "WEB_TOKEN and WEB_TOKEN_FILE are both set: take one out"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"s3cr3t\xff", "not UTF-8"), (b"s3cr3t" * 20_000, "more than 65536 bytes")]
)
def test_a_file_that_holds_no_value_is_a_problem(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "token").write_bytes(content)
    (problem,) = problems(WEB_TOKEN_FILE=str(tmp_path / "token"))
    assert reason in problem
    assert "s3cr3t" not in problem


def test_a_device_is_no_file_of_a_secret() -> None:
    (problem,) = problems(WEB_TOKEN_FILE="/dev/zero")  # noqa: S106 - the name of a file
    assert "device" in problem


def test_a_secret_in_a_setting_that_is_none_is_not_shown() -> None:
    (problem,) = problems(MQTT_CLIENT_ID="mqtt://user:s3cr3t@h")
    assert problem.startswith("MQTT_CLIENT_ID=mqtt://h: must be")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://app:s3cr3t@cache:6379/0?password=s3cr3t", "redis://cache:6379/0"),
        ("postgresql://app:s3/cr3t@db/app", "postgresql://db/app"),
        ("postgresql://app:s3?cr3t@db/app", "postgresql://(not shown)"),
        ("kafka://a:1,b", "kafka://a:1,b"),
        ("app:s3cr3t@cache", "cache"),
        ("ws://h/mqtt?token=s3cr3t", "ws://h/mqtt"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_an_address_is_shown_without_the_options_of_its_websocket() -> None:
    assert str(Address.parse("wss://u:s3cr3t@h/mqtt?token=s3cr3t")) == "wss://h:443/mqtt"
