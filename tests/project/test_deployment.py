"""The manifests for Kubernetes and the units for systemd: what can be held about them without either."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.commands.program import COMMANDS
from streams.settings import Settings
from streams.topics import topic_specs
from streams.version import product_version
from tests.conftest import real
from tests.parts.authority import Authority

REPOSITORY = Path(__file__).parents[2]
KUBERNETES = REPOSITORY / "docker" / "kubernetes"
UNITS = sorted((REPOSITORY / "docker" / "systemd").glob("*.service"))
SECRETS = "/etc/metric-streams/"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


MANIFESTS = documents("metric-streams.yaml")
PODS = {
    each["metadata"]["name"]: each["spec"]["template"]["spec"]
    for each in MANIFESTS
    if "template" in each.get("spec", {})
}


def test_the_settings_are_settings_and_hold_no_secret(tmp_path: Path) -> None:
    (settings,) = [each["data"] for each in MANIFESTS if each["kind"] == "ConfigMap"]
    secret = {"redis-url": "redis://:x@redis:6379/0", "database-url": "postgresql://u:x@db/metrics"}
    environment = dict(settings)
    for name, value in settings.items():
        if value.startswith(SECRETS):
            place = tmp_path / value.removeprefix(SECRETS)
            place.write_text(secret.get(place.name, "a-secret"))
            environment[name] = str(place)
    authority = real(lambda: Authority(tmp_path / "authority"))
    authority.client("any")
    shutil.copyfile(authority.ca, tmp_path / "ca.crt")
    built = Settings.from_mapping(environment)
    assert built.kafka_sasl_password.get_secret_value() == "a-secret"
    assert {name.removesuffix("_FILE").lower() for name in settings} <= {
        *Settings.model_fields,
        *(name.removesuffix("_file") for name in Settings.model_fields),
    }
    fields = Settings.model_fields
    secrets = [
        name for name in settings if "Secret" in str(getattr(fields.get(name.lower()), "annotation", ""))
    ]
    assert secrets == ["MQTT_URL"]  # which may hold a password, and does not
    assert "@" not in settings["MQTT_URL"]


@pytest.mark.parametrize("name", PODS)
def test_each_pod_runs_a_command_of_ours_with_no_rights(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert container["image"] == f"metric-streams:{product_version()}"
    assert container["args"][0] in COMMANDS
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["enableServiceLinks"]
    assert not pod["automountServiceAccountToken"]
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize(("name", "port"), [("worker", "web_port"), ("ingest", "ingest_web_port")])
def test_the_probes_ask_pages_that_need_no_token(name: str, port: str) -> None:
    (container,) = PODS[f"metric-streams-{name}"]["containers"]
    assert container["ports"] == [{"name": "web", "containerPort": Settings.model_fields[port].default}]
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}


def test_keda_asks_for_no_more_workers_than_there_are_partitions() -> None:
    (scaled,) = [each for each in documents("keda.yaml") if each["kind"] == "ScaledObject"]
    settings = Settings()
    assert scaled["spec"]["scaleTargetRef"]["name"] in PODS
    assert scaled["spec"]["maxReplicaCount"] == settings.topic_partitions
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["consumerGroup"] == settings.consumer_group
    assert trigger["metadata"]["topic"] in [spec.name for spec in topic_specs(settings)]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_the_units_are_read_by_systemd_and_leave_little_open(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    (command,) = re.findall(r"^ExecStart=(\S+) (\S+)", text, re.MULTILINE)
    assert command[1] in COMMANDS
    assert "RestartPreventExitStatus=78" in text
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze on this machine: it belongs to systemd")
    unit = tmp_path / path.name
    unit.write_text(text.replace(command[0], shutil.which("true") or "/bin/true"))
    read = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
    told = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    (exposure,) = re.findall(r"exposure level for \S+ ([\d.]+)", told.stdout)
    assert float(exposure) < 2
