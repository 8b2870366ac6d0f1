"""``metric-streams provision`` on a real Mosquitto with its dynamic security."""

import gc
import json
import re
import stat
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.provision.accounts import Device, device_commands
from streams.provision.control import control
from streams.settings import Settings
from tests.conftest import real
from tests.parts.authority import Authority
from tests.parts.commands import call
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.mosquitto import Mosquitto
from tests.parts.variants import long

TENANT = str(uuid.uuid4())
MANY = 450


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return real(lambda: Authority(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def broker(authority: Authority) -> Iterator[GuardedMosquitto]:
    with real(lambda: GuardedMosquitto(authority)) as part:
        yield part


def provision(broker: GuardedMosquitto, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return call("metric-streams", "provision", *arguments, **{**broker.admin, **settings})


async def publishes(broker: GuardedMosquitto, agent: str, password: str) -> bool:
    """Tell whether a device gets in with a password, and its message through."""
    address = broker.device(f"{TENANT}:{agent}", password)
    try:
        async with MqttPublisher(address) as publisher:
            return await publisher.publish(f"metrics/{TENANT}/{agent}/cpu", b"1", 1)
    except Outage as refusal:
        return "Not authorized" not in refusal.detail


# paho leaves the socket of a connection that was refused to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_device_is_let_in_gets_another_password_and_is_let_in_no_more(
    broker: GuardedMosquitto,
) -> None:
    added = json.loads(provision(broker, "add", TENANT.upper(), "edge-1", "--json").stdout)[0]
    assert added["username"] == f"{TENANT}:edge-1"
    assert await publishes(broker, "edge-1", added["password"])
    again = provision(broker, "add", TENANT, "edge-1")
    assert (again.returncode, "renew gives it another password" in again.stderr) == (1, True)

    renewed = json.loads(provision(broker, "renew", TENANT, "edge-1", "--json").stdout)[0]
    assert not await publishes(broker, "edge-1", added["password"])
    assert await publishes(broker, "edge-1", renewed["password"])

    assert provision(broker, "remove", TENANT, "edge-1").returncode == 0
    assert not await publishes(broker, "edge-1", renewed["password"])
    for action in ("renew", "remove"):
        gone = provision(broker, action, TENANT, "edge-1")
        assert (gone.returncode, "has no account" in gone.stderr) == (1, True)
    gc.collect()  # so that it complains here


def test_the_password_is_shown_once_and_what_is_printed_fits(broker: GuardedMosquitto) -> None:
    shown = provision(broker, "add", TENANT, "edge-2", "--whole-tenant")
    assert f"metrics/{TENANT}/#" in shown.stdout
    password = next(line for line in shown.stdout.splitlines() if "shown once" in line).split()[-1]
    listed = provision(broker, "list")
    assert password not in listed.stdout
    assert "all agents" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80


@pytest.mark.long
async def test_more_devices_than_one_answer_has_room_for_are_all_listed(broker: GuardedMosquitto) -> None:
    address = replace(
        Address.of(Settings.from_mapping(broker.admin)), username="admin", password=broker.admin_password
    )
    async with control(address) as asked:
        for number in range(MANY):
            await asked.ask(device_commands(Device(TENANT, f"many-{number}"), "a password"))
    listed = json.loads(provision(broker, "list", "--json").stdout)
    assert len({each["agent_id"] for each in listed if each["agent_id"].startswith("many-")}) == MANY


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "no-uuid", "edge"), "must be a UUID"),
        long(("add", TENANT, "+"), "would let it publish for others"),
        (("add", TENANT, "a/#"), "would let it publish for others"),
        long(("add", TENANT, "x" * 65), "at most 64"),
        long(("add", TENANT, " x"), "looks like another name to whoever reads it"),
        (("add", TENANT, "\u200b"), "looks like another name to whoever reads it"),
        long(("add", TENANT, "\uffff"), "looks like another name to whoever reads it"),
        (("renew", TENANT, "x", "--whole-tenant"), "goes with add"),
        long(("list", "x"), "takes no name"),
        (("add", TENANT), "name the device"),
        (("init",), "name a directory"),
    ],
)
def test_what_names_no_device_is_refused(
    broker: GuardedMosquitto, arguments: tuple[str, ...], told: str
) -> None:
    refused = provision(broker, *arguments)
    assert (refused.returncode, told in refused.stderr) == (2, True)


def test_who_is_no_administrator_is_told_so(broker: GuardedMosquitto) -> None:
    unsaid = provision(broker, "list", MQTT_ADMIN_PASSWORD="")
    assert (unsaid.returncode, "set MQTT_ADMIN_PASSWORD" in unsaid.stderr) == (2, True)
    wrong = provision(broker, "list", MQTT_ADMIN_PASSWORD="wrong")  # noqa: S106 - it is
    assert (wrong.returncode, "Not authorized; look at MQTT_ADMIN_USERNAME" in wrong.stderr) == (1, True)
    another = {"MQTT_ADMIN_USERNAME": "bridge", "MQTT_ADMIN_PASSWORD": broker.bridge_password}
    refused = provision(broker, "list", **another)
    assert (refused.returncode, "MQTT_ADMIN_USERNAME its administrator?" in refused.stderr) == (1, True)


def test_a_broker_without_the_plugin_is_told_of(mosquitto: Mosquitto, broker: GuardedMosquitto) -> None:
    refused = provision(broker, "list", MQTT_URL=mosquitto.url, MQTT_CA_FILE="")
    assert (refused.returncode, "is its plugin loaded" in refused.stderr) == (1, True)


def test_the_first_accounts_are_for_their_owner_alone_and_never_written_over(tmp_path: Path) -> None:
    directory = tmp_path / "accounts"
    made = call("metric-streams", "provision", "init", str(directory))
    assert made.returncode == 0
    contents = {path.name: path.read_text() for path in directory.iterdir()}
    assert set(contents) == {"dynamic-security.json", "admin.password", "bridge.password", "bridge.client-id"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in directory.iterdir())
    for name in ("admin", "bridge"):
        password = contents[f"{name}.password"].strip()
        assert len(password) == 32
        assert password not in contents["dynamic-security.json"] + made.stdout
    client_id = Settings.from_mapping(
        {"MQTT_CLIENT_ID_FILE": str(directory / "bridge.client-id")}
    ).mqtt_client_id
    assert re.fullmatch("metric-streams-[0-9a-f]{24}", client_id)
    assert client_id not in made.stdout
    again = call("metric-streams", "provision", "init", str(directory))
    assert (again.returncode, "already" in again.stderr) == (1, True)
    assert {path.name: path.read_text() for path in directory.iterdir()} == contents
