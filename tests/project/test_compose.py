"""docker-compose.yml and Dockerfile: what can be held about them without Docker."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.commands.program import COMMANDS
from streams.config.clashes import is_loopback
from streams.settings import Settings
from streams.version import PRODUCT

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "docker-compose.yml"
DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
SECURE = REPOSITORY / "docker-compose.secure.yml"
OURS = ["setup", "worker", "ingest"]
MONITORING = ["prometheus", "grafana"]


def as_compose_reads(value: str, environment: dict[str, str] | None = None) -> str:
    """Replace ``${NAME:-default}`` as Compose does."""
    values = environment or {}
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: values.get(found[1]) or found[2], value)


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


def test_the_image_does_not_run_as_root() -> None:
    final_stage = (REPOSITORY / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert re.search(r"^USER (?!root)\S+$", final_stage, re.MULTILINE)


class Overriding(yaml.SafeLoader):
    """Reads ``!override``, by which a list stands in place of another one."""


Overriding.add_constructor("!override", lambda loader, node: Overridden(_plain(loader, node)))


class Overridden(dict[str, Any]):
    """What stands in place of another value."""

    def __init__(self, value: Any) -> None:
        super().__init__(value=value)


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


def secured() -> dict[str, dict[str, Any]]:
    """Return the services as Compose merges both files."""
    merged = {name: dict(service) for name, service in SERVICES.items()}
    for name, change in yaml.load(SECURE.read_text(), Overriding)["services"].items():  # noqa: S506 - a safe one
        for key, value in change.items():
            if isinstance(value, Overridden):
                merged[name][key] = value["value"]
            elif isinstance(value, dict):
                merged[name][key] = {**merged[name].get(key, {}), **value}
            else:
                merged[name][key] = value
    return merged


def test_with_the_secure_file_devices_reach_one_port_that_asks_who_they_are() -> None:
    services = secured()
    (port,) = services["mosquitto"]["ports"]
    assert as_compose_reads(port) == "127.0.0.1:8883:8883"
    assert as_compose_reads(port, {"SECURE_MQTT_BIND": "0.0.0.0"}).startswith("0.0.0.0:")  # noqa: S104
    configuration = (REPOSITORY / "docker" / "secure" / "mosquitto.conf").read_text()
    (source,) = [each for each in services["mosquitto"]["volumes"] if each.startswith("./docker/secure/mosq")]
    assert (REPOSITORY / source.split(":")[0]).is_file()
    for mounted in ("/mosquitto/accounts", "/mosquitto/certificates", "/mosquitto/data"):
        assert mounted in configuration
        assert any(f":{mounted}" in volume for volume in services["mosquitto"]["volumes"])


@pytest.mark.parametrize("name", ["worker", "setup"])
def test_with_the_secure_file_our_programs_log_in_by_secrets(name: str, tmp_path: Path) -> None:
    environment = {key: as_compose_reads(value) for key, value in secured()[name]["environment"].items()}
    document = yaml.load(SECURE.read_text(), Overriding)  # noqa: S506 - a safe one
    for key in [key for key in environment if key.endswith("_FILE")]:
        secret = Path(environment[key]).name
        assert secret in secured()[name]["secrets"]
        assert document["secrets"][secret]["file"].startswith("./docker/secure/accounts/")
        environment[key] = str(tmp_path / secret)
        (tmp_path / secret).write_text("a-password\n")
    settings = Settings.from_mapping(environment)
    assert settings.mqtt_username == "bridge"
    assert settings.mqtt_password.get_secret_value() == "a-password"
