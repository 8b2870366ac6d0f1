"""A misspelt setting is pointed out, and what an ordinary environment holds is not."""

import pytest

from streams.config.near_misses import near_misses
from streams.errors import SettingsError
from streams.settings import Settings

NAMES = [name.upper() for name in Settings.model_fields]

# Of shells, systemd, Docker, Kubernetes, CI machines, Laravel, and the servers that we talk to.
ORDINARY = """
PATH HOME LANG LC_ALL TERM SHELL USER LOGNAME PWD OLDPWD SHLVL HOSTNAME TMPDIR TZ EDITOR DISPLAY MAIL
PYTHONPATH PYTHONUNBUFFERED VIRTUAL_ENV PIP_INDEX_URL UV_INDEX_URL SSL_CERT_FILE REQUESTS_CA_BUNDLE NO_COLOR
http_proxy HTTPS_PROXY no_proxy XDG_RUNTIME_DIR XDG_SESSION_ID INVOCATION_ID JOURNAL_STREAM NOTIFY_SOCKET
SYSTEMD_EXEC_PID CREDENTIALS_DIRECTORY LISTEN_PID DOCKER_HOST COMPOSE_PROJECT_NAME COMPOSE_FILE container
KUBERNETES_SERVICE_HOST KUBERNETES_PORT KUBERNETES_PORT_443_TCP_ADDR REDIS_PORT REDIS_SERVICE_HOST
REDIS_HOST REDIS_SERVICE_PORT REDIS_PORT_6379_TCP KAFKA_PORT KAFKA_SERVICE_HOST KAFKA_PORT_9092_TCP_PROTO
MQTT_PORT MQTT_SERVICE_PORT MQTT_PORT_1883_TCP WEB_SERVICE_HOST WEB_PORT_80_TCP POSTGRES_PORT DATABASE_PORT
POD_NAME CI JOB_NAME JOB_URL JOB_BASE_NAME BUILD_ID BUILD_NUMBER BUILD_URL WORKSPACE EXECUTOR_NUMBER
NODE_NAME CI_JOB_ID CI_JOB_NAME CI_JOB_TOKEN CI_PIPELINE_ID CI_COMMIT_SHA CI_REGISTRY GITLAB_CI
GITHUB_ACTIONS GITHUB_JOB GITHUB_TOKEN GITHUB_RUN_ID RUNNER_OS RUNNER_TEMP DYNO PORT WEB_CONCURRENCY
HEROKU_APP_NAME REDIS_TLS_URL APP_NAME APP_ENV APP_KEY APP_DEBUG APP_URL LOG_CHANNEL LOG_LEVEL DB_CONNECTION
DB_HOST DB_PORT DB_DATABASE DB_USERNAME DB_PASSWORD DB_URL CACHE_STORE CACHE_PREFIX SESSION_DRIVER
SESSION_LIFETIME BROADCAST_CONNECTION REDIS_CLIENT REDIS_PASSWORD REDIS_PREFIX REDIS_DB REDIS_QUEUE
REDIS_QUEUE_CONNECTION REDIS_QUEUE_RETRY_AFTER HORIZON_PREFIX HORIZON_PATH MAIL_MAILER AWS_REGION
AWS_ACCESS_KEY_ID VITE_APP_NAME QUEUE_FAILED_DRIVER MQTT_HOST MQTT_USERNAME MQTT_USER MQTT_PASSWORD MQTT_TLS
KAFKA_OPTS KAFKA_HEAP_OPTS KAFKA_LIBS KAFKA_LOG4J_OPTS KAFKA_HOME KAFKA_ADVERTISED_LISTENERS KAFKA_NODE_ID
KAFKA_AUTO_CREATE_TOPICS_ENABLE POSTGRES_USER POSTGRES_DB POSTGRES_PASSWORD PGHOST PGPORT PGUSER PGPASSWORD
PGDATABASE PGSSLMODE WEB_HOST WEB_URL TOKEN WORKER_PID WORKER_CLASS TENANT_ID QUEUE_URL QUEUE_DRIVER
BROKER_HOST BROKER_PORT DATABASE_HOST DATABASE_NAME FAUST_LOOP FAUST_DATADIR F_DATADIR NODE_HOSTNAME
OTEL_EXPORTER_OTLP_ENDPOINT SENTRY_DSN METRIC_STREAMS_VERSION
"""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MQTT_TOPICFILTER", "MQTT_TOPIC_FILTER"),
        ("MQTT_TOPIC_FILTERS", "MQTT_TOPIC_FILTER"),
        ("MQTT_TOPIC_FLITER", "MQTT_TOPIC_FILTER"),
        ("MQTT_TOPIC_FILER", "MQTT_TOPIC_FILTER"),
        ("TOPIC_PARTITION", "TOPIC_PARTITIONS"),
        ("MQTT-CLIENT-ID", "MQTT_CLIENT_ID"),
        ("mqtt_url", "MQTT_URL"),
        ("REDIS_URI", "REDIS_URL"),
        ("REDIS_URI_FILE", "REDIS_URL"),
        ("MQTT_URI", "MQTT_URL"),
        ("DATABASE_URLS", "DATABASE_URL"),
        ("BROKER_URI", "BROKER_URL"),
        ("KAFKA_BROKER_URL", "BROKER_URL"),
        ("KAFKA_BOOTSTRAP_SERVERS", "BROKER_URL"),
        ("KAFKA_TOPIC_PREFIX", "TOPIC_PREFIX"),
        ("METRIC_STREAMS_MQTT_URL", "MQTT_URL"),
        ("FAUST_WEB_PORT", "WEB_PORT"),
        ("DEDUPE_WINDOW", "DEDUPE_WINDOW_S"),
        ("DEDUPE_WINDOW_SECONDS", "DEDUPE_WINDOW_S"),
        ("CHUNK_LINGER_S", "CHUNK_LINGER_MS"),
        ("WATCHDOG_LIMIT", "WATCHDOG_LIMIT_S"),
        ("JOB_CLAS", None),  # too short to be sure of one letter
    ],
)
def test_a_name_that_is_near_to_a_setting_is_pointed_out(name: str, meant: str | None) -> None:
    assert list(near_misses([name], NAMES)) == ([(name, meant)] if meant else [])


def test_nothing_of_an_ordinary_environment_counts() -> None:
    assert list(near_misses(ORDINARY.split(), NAMES)) == []


def test_no_setting_is_near_to_another() -> None:
    for name in NAMES:
        others = [other for other in NAMES if other != name]
        assert list(near_misses([name, f"{name}_FILE"], others)) == [], name


@pytest.mark.parametrize("right", ["REDIS_URL", "REDIS_URL_FILE"])
def test_a_name_is_not_misspelt_where_the_right_one_stands_beside_it(right: str) -> None:
    assert list(near_misses(["REDIS_URI", right], NAMES)) == []


def test_a_misspelt_name_is_told_with_its_mend_and_without_its_value() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping({"REDIS_URI": "redis://:s3cr3t@cache"})
    assert refused.value.problems == [
        "REDIS_URI is no setting: it seems to be meant for REDIS_URL. Rename it, or set REDIS_URL as well"
    ]


def test_a_misspelt_name_without_a_value_counts_for_nothing() -> None:
    assert Settings.from_mapping({"REDIS_URI": ""}) == Settings.from_mapping({})
