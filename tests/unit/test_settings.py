"""The settings: what is accepted can be used, what is not is named, and no secret is shown."""

import pytest

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


@pytest.mark.parametrize("path", ["nowhere/at/all", "nul\0", "."])
def test_a_file_of_a_secret_that_cannot_be_read_is_a_problem(path: str) -> None:
    (problem,) = problems(WEB_TOKEN_FILE=path)
    assert problem.startswith(f"WEB_TOKEN_FILE={path} cannot be read")


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
    assert problem == f"{name.removesuffix('_FILE')} is not UTF-8"


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
    assert problem.startswith(f"MIN_TIMESTAMP={text!r}: must be a time")


def test_min_timestamp_is_any_time_in_any_form_that_a_device_may_use() -> None:
    assert Settings.from_mapping({}).earliest == "2000-01-01 00:00:00.000000"
    found = Settings.from_mapping({"MIN_TIMESTAMP": "2020-01-01T02:00+02:00"}).earliest
    assert found == "2020-01-01 00:00:00.000000"
