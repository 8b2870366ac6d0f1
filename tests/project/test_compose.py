"""The compose files and Dockerfile: what can be held about them without Docker."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.commands.program import COMMANDS
from streams.config.clashes import is_loopback
from streams.settings import Settings
from streams.version import PRODUCT, product_version
from tests.conftest import real
from tests.parts.authority import Authority
from tests.parts.compose import (
    COMPOSE,
    REPOSITORY,
    SECURE,
    as_compose_merges,
    as_compose_reads,
    read,
    secured,
)
from tests.parts.kafka import Kafka
from tests.parts.secure_profile import Secrets

DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = ["setup", "worker", "ingest"]
MONITORING = ["prometheus", "grafana"]
_DATABASE = "postgresql://u:x@postgres:5432/metrics?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem"
SECRET_URLS = {
    **{f"redis-url-{who}": "rediss://u:x@redis:6379/0?ssl_ca_certs=/run/secrets/ca.pem" for who in OURS},
    **{f"database-url-{who}": _DATABASE for who in ("owner", *OURS)},
}


def test_it_follows_the_compose_specification() -> None:
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_every_part_on_the_network_that_others_share() -> None:
    assert DOCUMENT["name"] == "metric-streams"
    assert set(SERVICES) == {"mosquitto", "redpanda", "console", "redis", "postgres", *OURS, *MONITORING}
    assert all(service["networks"] == ["observability-network"] for service in SERVICES.values())
    assert DOCUMENT["networks"]["observability-network"]["name"] == "observability-network"


def test_mosquitto_is_of_2_0_and_runs_on_the_configuration_in_the_repository() -> None:
    mosquitto = SERVICES["mosquitto"]
    assert mosquitto["image"] == "eclipse-mosquitto:2.0"
    assert {as_compose_reads(port) for port in mosquitto["ports"]} == {
        "127.0.0.1:1883:1883",
        "127.0.0.1:9001:9001",
    }
    for volume in mosquitto["volumes"]:
        assert (REPOSITORY / volume.split(":")[0]).is_dir(), volume


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_beyond_this_machine_unless_asked_for(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert is_loopback(as_compose_reads(port).split(":")[0]), port


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_our_programs_are_settings_and_are_usable(name: str) -> None:
    environment = {key: as_compose_reads(value) for key, value in SERVICES[name]["environment"].items()}
    assert set(environment) <= {field.upper() for field in Settings.model_fields}
    settings = Settings.from_mapping(environment)
    assert settings.bootstrap_servers == ["redpanda:9092"]
    assert settings.web_token.get_secret_value()


def test_the_token_and_the_password_come_from_the_environment_where_it_has_them() -> None:
    chosen = {"WEB_TOKEN": "chosen-token", "POSTGRES_PASSWORD": "chosen-password"}
    values = SERVICES["worker"]["environment"]
    assert as_compose_reads(values["WEB_TOKEN"], chosen) == "chosen-token"
    assert ":chosen-password@" in as_compose_reads(values["DATABASE_URL"], chosen)
    assert (
        as_compose_reads(SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"], chosen)
        == "chosen-password"
    )


@pytest.mark.parametrize("name", SERVICES)
def test_whoever_waits_for_a_healthy_service_can_find_it_healthy(name: str) -> None:
    for other, waits_for in SERVICES[name].get("depends_on", {}).items():
        if waits_for["condition"] == "service_healthy":
            assert SERVICES[other]["healthcheck"]["test"]
        else:
            assert waits_for["condition"] == "service_completed_successfully"
            assert other == "setup"


def test_ingest_is_healthy_when_its_own_readiness_page_says_so() -> None:
    port = Settings.from_mapping({}).ingest_web_port
    assert f"http://127.0.0.1:{port}/health/ready" in SERVICES["ingest"]["healthcheck"]["test"][-1]
    assert SERVICES["ingest"]["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"setup"}))
def test_what_shall_keep_running_is_restarted(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_prometheus_and_grafana_come_only_where_they_are_asked_for() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert {name for name, asked in profiles.items() if asked} == set(MONITORING)
    assert all(profiles[name] == ["monitoring"] for name in MONITORING)


def test_prometheus_asks_the_pages_where_they_are_and_with_the_token_that_they_want() -> None:
    scraping = yaml.safe_load((REPOSITORY / "docker" / "prometheus" / "prometheus.yml").read_text())
    settings = Settings.from_mapping({})
    targets = {job["static_configs"][0]["targets"][0] for job in scraping["scrape_configs"]}
    assert targets == {f"worker:{settings.web_port}", f"ingest:{settings.ingest_web_port}"}
    (config,) = SERVICES["prometheus"]["configs"]
    assert {job["authorization"]["credentials_file"] for job in scraping["scrape_configs"]} == {
        config["target"]
    }
    assert DOCUMENT["configs"][config["source"]]["content"] == SERVICES["worker"]["environment"]["WEB_TOKEN"]


@pytest.mark.parametrize("name", MONITORING)
def test_what_they_are_given_is_in_the_repository_and_where_they_look_for_it(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        if volume.startswith("."):
            assert (REPOSITORY / volume.split(":")[0]).is_dir(), volume
    provided = yaml.safe_load(
        (REPOSITORY / "docker/grafana/provisioning/dashboards/metric-streams.yml").read_text()
    )
    (provider,) = provided["providers"]
    targets = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in targets


def test_every_named_volume_is_declared_and_used() -> None:
    named = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert named == set(DOCUMENT["volumes"])


def test_the_image_is_made_of_files_that_are_there_and_sent_to_docker() -> None:
    allowed = {
        line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    sources = {name for line in lines if re.match(r"COPY (?!--from)", line) for name in line.split()[1:-1]}
    assert sources == allowed
    assert all((REPOSITORY / name).exists() for name in sources)


def test_the_image_runs_our_command() -> None:
    program, command = re.findall(
        r"^(?:ENTRYPOINT|CMD) (\[.*)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )
    assert json.loads(program) == [PRODUCT]
    for arguments in [json.loads(command), *(SERVICES[name]["command"] for name in OURS)]:
        assert arguments[0] in COMMANDS


def test_the_image_tells_what_it_is_and_of_which_version() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    assert re.findall(r"^ARG VERSION=(\S+)", text, re.MULTILINE) == [product_version()]
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", text))
    assert labels == {"title", "description", "licenses", "version", "revision"}
    assert SERVICES["worker"]["image"] == f"{PRODUCT}:{product_version()}"


def test_the_image_does_not_run_as_root() -> None:
    final_stage = (REPOSITORY / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert re.search(r"^USER (?!root)\S+$", final_stage, re.MULTILINE)


def test_with_the_secure_file_devices_reach_one_port_that_asks_who_they_are() -> None:
    services = secured()
    (port,) = services["mosquitto"]["ports"]
    assert as_compose_reads(port) == "127.0.0.1:8883:8883"
    assert as_compose_reads(port, {"SECURE_MQTT_BIND": "0.0.0.0"}).startswith("0.0.0.0:")  # noqa: S104
    configuration = (REPOSITORY / "docker" / "secure" / "mosquitto.conf").read_text()
    (source,) = [each for each in services["mosquitto"]["volumes"] if each.startswith("./docker/secure/mosq")]
    assert (REPOSITORY / source.split(":")[0]).is_file()
    for secret in ("mosquitto.pem", "mosquitto.key"):
        assert f"/run/secrets/{secret}" in configuration
        assert secret in services["mosquitto"]["secrets"]
    for mounted in ("/mosquitto/accounts", "/mosquitto/data"):
        assert mounted in configuration
        assert any(f":{mounted}" in volume for volume in services["mosquitto"]["volumes"])


def test_the_secure_file_follows_the_compose_specification_but_for_what_it_overrides(tmp_path: Path) -> None:
    plain = tmp_path / "docker-compose.yml"
    plain.write_text(SECURE.read_text().replace("!override", ""))
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(plain)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_files_together_are_what_compose_makes_of_them(tmp_path: Path) -> None:
    ours, base = tmp_path / "merged.json", read(COMPOSE)
    merged = {key: {**base.get(key, {}), **value} for key, value in read(SECURE).items() if key != "services"}
    ours.write_text(json.dumps({**base, **merged, "services": secured()}))
    theirs = real(lambda: as_compose_merges(COMPOSE, SECURE, is_plain=True))
    assert theirs == as_compose_merges(ours, is_plain=True)


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, SECURE]], ids=["alone", "secure"])
def test_compose_takes_the_files_and_what_they_name(files: list[Path]) -> None:
    merged = real(lambda: as_compose_merges(*files, environment={"WEB_TOKEN": "chosen-token"}))
    services = merged["services"]
    networks = {name for service in services.values() for name in service.get("networks") or []}
    assert networks == set(merged["networks"])
    secrets = {each["source"] for service in services.values() for each in service.get("secrets") or []}
    assert secrets == set(merged.get("secrets", {}))
    # With both, the token is a secret in a file.
    told = {(service.get("environment") or {}).get("WEB_TOKEN") for service in services.values()}
    assert ("chosen-token" in told) == (files == [COMPOSE])


@pytest.mark.parametrize("name", OURS)
def test_with_the_secure_file_our_programs_log_in_everywhere_by_secrets(name: str, tmp_path: Path) -> None:
    service = secured()[name]
    environment = {key: as_compose_reads(value) for key, value in service["environment"].items()}
    for key in [key for key in environment if environment[key].startswith("/run/secrets/")]:
        secret = Path(environment[key]).name
        assert secret in service["secrets"]
        environment[key] = str(tmp_path / secret)
        text = f"{SECRET_URLS.get(secret, 'a-secret')}\n"
        (tmp_path / secret).write_text(text.replace("/run/secrets", str(tmp_path)))
    authority = real(lambda: Authority(tmp_path / "authority"))
    authority.client("any")
    shutil.copyfile(authority.ca, tmp_path / "ca.pem")
    settings = Settings.from_mapping(environment)
    assert settings.redis_url.get_secret_value().startswith("rediss://")
    assert "sslmode=verify-full" in settings.database_url.get_secret_value()
    assert settings.web_token.get_secret_value() == "a-secret"
    if name != "ingest":
        assert settings.kafka_security_protocol == "SASL_SSL"
        assert settings.mqtt_url.get_secret_value().startswith("mqtts://")
        assert settings.mqtt_client_id == settings.mqtt_password.get_secret_value() == "a-secret"


def test_with_the_secure_file_nothing_is_left_of_the_passwords_for_trying_out() -> None:
    for name, service in secured().items():
        if "profiles" not in service or name in MONITORING:
            assert "metric-streams-dev" not in str(service), name
            assert "metrics-dev" not in str(service), name
            assert "redpanda" not in f"{service.get('depends_on')}{service.get('environment')}", name


def test_every_secret_is_a_file_that_init_writes_and_somebody_is_given(tmp_path: Path) -> None:
    secrets = read(SECURE)["secrets"]
    assert {each["file"] for each in secrets.values()} == {
        f"./docker/secure/secrets/{name}" for name in secrets
    }
    given = {
        each if isinstance(each, str) else each["source"]
        for service in secured().values()
        for each in service.get("secrets", [])
    }
    assert given == set(secrets)
    written = {path.name for path in real(lambda: Secrets(tmp_path)).path.iterdir()}
    assert set(secrets) <= written
    assert written - set(secrets) == {"redis-worker", "redis-ingest", "redis-laravel", "console-login"}


def test_what_the_secure_file_mounts_is_in_the_repository() -> None:
    for name, service in secured().items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./docker/secure") and source != "./docker/secure/accounts":
                assert (REPOSITORY / source).exists(), name
                assert volume.endswith(":ro"), volume
        for program in service.get("entrypoint", [])[:1]:
            if program.startswith("/secure/"):
                assert os.access(REPOSITORY / "docker" / program[1:], os.X_OK), program


@pytest.mark.parametrize("name", sorted(secured()))
def test_with_the_secure_file_memory_and_logs_have_a_bound(name: str) -> None:
    service = secured()[name]
    if name != "redpanda":  # which is not run
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_console_is_reached_by_its_login_alone() -> None:
    services = secured()
    assert services["console"]["ports"] == []
    assert services["console"]["networks"] == ["console-network"]
    on_it = {name for name, service in services.items() if "console-network" in service.get("networks", [])}
    assert on_it == {"kafka", "console", "console-login"}
    assert services["console-login"]["ports"] == ["127.0.0.1:8080:8080"]


def test_kafka_is_of_the_version_that_the_tests_run() -> None:
    version = Kafka.version() if (REPOSITORY / ".cache" / "kafka" / "libs").exists() else None
    if version is None:
        pytest.skip("there are no jars of Kafka")
    assert {secured()[name]["image"] for name in ("kafka", "kafka-users")} == {f"apache/kafka:{version}"}


@pytest.mark.parametrize("name", sorted(secured()))
def test_with_the_secure_file_nothing_is_published_beyond_this_machine(name: str) -> None:
    for port in secured()[name].get("ports", []):
        assert is_loopback(as_compose_reads(port).split(":")[0]), port
