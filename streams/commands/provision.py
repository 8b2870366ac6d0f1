"""``metric-streams provision``: lets devices in to a Mosquitto with dynamic security."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec
from faust.cli import argument, option

from streams.commands.base import PlainCommand, command
from streams.errors import BadArgument
from streams.logs.plain import plain
from streams.mqtt.address import Address
from streams.provision.accounts import (
    Device,
    Json,
    bridge_role,
    device_commands,
    password_command,
    removal_commands,
)
from streams.provision.control import Control, control
from streams.provision.files import new_password, write_accounts
from streams.rules.names import check_agent_id, read_tenant_id
from streams.settings import Settings

MEANS_MORE = re.compile("[+#/%]")
"""What has a meaning in the topic of an ACL."""
PAGE = 200
"""Roles that the broker is asked for at once."""


class ShownDevice(msgspec.Struct, omit_defaults=True):
    """A device as it is printed."""

    tenant_id: str
    agent_id: str
    username: str
    topic: str
    password: str = ""

    @classmethod
    def of(cls, device: Device, password: str = "") -> "ShownDevice":
        """Return it."""
        return cls(device.tenant_id, device.agent_id, device.username, device.topic, password)


def administrator(settings: Settings) -> Address:
    """Return where the broker is, and who its administrator is.

    Raises:
        BadArgument: the settings do not say it.
    """
    password = settings.mqtt_admin_password.get_secret_value()
    if not password:
        raise BadArgument(
            "set MQTT_ADMIN_PASSWORD, or MQTT_ADMIN_PASSWORD_FILE to the admin.password that "
            "provision init has written"
        )
    return replace(Address.of(settings), username=settings.mqtt_admin_username, password=password)


def read_device(tenant: str | None, agent: str | None, *, whole_tenant: bool) -> Device:
    """Return the device that the command line names.

    Raises:
        BadArgument: it names none that could publish.
    """
    if not tenant or not agent:
        raise BadArgument("name the device: provision ACTION TENANT AGENT")
    tenant_id = read_tenant_id(tenant)
    if not isinstance(tenant_id, str):
        raise BadArgument(f"{plain(tenant)} is no tenant's id: it must be a UUID")
    if (problem := check_agent_id(agent)) is not None:
        raise BadArgument(problem.detail)
    if not agent.isprintable() or agent.strip() != agent:
        raise BadArgument(f"{plain(agent)!r} looks like another name to whoever reads it: take another")
    if MEANS_MORE.search(agent):
        raise BadArgument(f"{plain(agent)} holds +, #, / or %: the broker would let it publish for others")
    return Device(tenant_id, agent, whole_tenant)


async def devices_of(asked: Control) -> list[Device]:
    """Return every device that has an account; its role has the same name."""
    found: list[Device] = []
    offset = total = 0
    while offset == 0 or offset < total:
        command = {"command": "listRoles", "verbose": True, "count": PAGE, "offset": offset}
        (answer,) = await asked.ask([command])
        data: Json = answer["data"]
        total, offset = data["totalCount"], offset + PAGE
        for role in data["roles"]:
            device = Device.read(role["rolename"], [acl["topic"] for acl in role["acls"]])
            found += [device] if device is not None else []
    return found


@command(
    argument("action", type=click.Choice(["init", "list", "add", "renew", "remove"]), default="list"),
    argument("subject", metavar="[DIRECTORY|TENANT]", required=False),
    argument("agent", metavar="[AGENT]", required=False),
    option("--whole-tenant", is_flag=True, help="add: a gateway, which publishes for all agents"),
    option("--json", "as_json", is_flag=True, help="print JSON"),
)
async def provision(
    self: PlainCommand,
    action: str,
    subject: str | None,
    agent: str | None,
    *,
    whole_tenant: bool,
    as_json: bool,
) -> None:
    """Let devices in to a Mosquitto with dynamic security (docker/secure).

    init writes the first accounts, their passwords and a client id for the worker into DIRECTORY; the broker
    starts on them. add lets in a device of TENANT that is called AGENT, and prints its password, once. renew
    gives it another one, remove lets it in no more, list shows all.

    Example: metric-streams provision add 3f8ff3ea-6a5c-4f1e-9d6a-1c2b3a4d5e6f edge-1
    """
    if action == "init":
        if not subject:
            raise BadArgument("name a directory: provision init DIRECTORY")
        role = bridge_role(self.settings.mqtt_topic_filter, self.settings.mqtt_status_topic)
        self.say("\n".join(f"wrote {path}" for path in write_accounts(Path(subject), role)))
        return
    if whole_tenant and action != "add":
        raise BadArgument(
            f"--whole-tenant goes with add: to change it, remove {plain(subject or '')} and add it"
        )
    if action == "list" and subject:
        raise BadArgument("list shows all devices, and takes no name")
    device = None if action == "list" else read_device(subject, agent, whole_tenant=whole_tenant)
    async with control(administrator(self.settings)) as asked:
        done = [ShownDevice.of(each) for each in await devices_of(asked)] if device is None else []
        if device is not None:
            done = [await _act(asked, action, device)]
    if as_json or self.json:
        self.say(msgspec.json.encode(done).decode())
    else:
        self.say(_text(action, done))


async def _act(asked: Control, action: str, device: Device) -> ShownDevice:
    password = "" if action == "remove" else new_password()
    commands: dict[str, Any] = {
        "add": device_commands(device, password),
        "renew": [password_command(device.username, password)],
        "remove": removal_commands(device),
    }
    await asked.ask(commands[action])
    return ShownDevice.of(device, password)


def _text(action: str, done: list[ShownDevice]) -> str:
    if action == "list":
        lines = [f"{'tenant':36}  {'publishes for':13}  agent"]
        whom = {True: "all agents", False: "itself"}
        return "\n".join(
            lines + [f"{d.tenant_id}  {whom[d.topic.endswith('#')]:13}  {plain(d.agent_id)}" for d in done]
        )
    (device,) = done
    if action == "remove":
        return f"removed {device.username}"
    return f"user name and client id: {device.username}\npassword, shown once:    {device.password}\n" + (
        f"publishes to:            {device.topic}" if action == "add" else ""
    )
