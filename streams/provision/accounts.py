"""Who may do what at the broker: the accounts, as Mosquitto's dynamic security has them. Pure.

https://mosquitto.org/documentation/dynamic-security/ tells what an ACL means. What no ACL allows is refused:
an account that is neither the bridge's nor the administrator's cannot subscribe at all.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ADMIN, BRIDGE = "admin", "bridge"
"""The two accounts that are no device's; each has a role of the same name."""
CONTROL = "$CONTROL/dynamic-security/v1"
RESPONSE = f"{CONTROL}/response"
ITERATIONS = 101
"""Of PBKDF2, as the broker itself takes: passwords are random, and more would be work for who floods it with
CONNECTs."""
SALT_BYTES = 12
SEPARATOR = ":"
"""Between a tenant and an agent in a user name. Neither has it, and an ACL knows no meaning of it."""
PUBLISH, SUBSCRIBE = "publishClientSend", "subscribePattern"
RECEIVE = "publishClientReceive"

Json = dict[str, Any]


@dataclass(frozen=True)
class Device:
    """Who publishes, and for whom."""

    tenant_id: str
    agent_id: str
    whole_tenant: bool = False
    """It is a gateway: it may publish for every agent of its tenant."""

    @property
    def username(self) -> str:
        """The name that it connects with, as user and as client."""
        return f"{self.tenant_id}{SEPARATOR}{self.agent_id}"

    @property
    def topic(self) -> str:
        """What it may publish to."""
        return f"metrics/{self.tenant_id}/" + ("#" if self.whole_tenant else f"{self.agent_id}/+")

    @classmethod
    def read(cls, username: str, topics: Iterable[str]) -> "Device | None":
        """Return the device of an account; None if it is no device's."""
        tenant_id, found, agent_id = username.partition(SEPARATOR)
        if not found:
            return None
        return cls(tenant_id, agent_id, any(topic.endswith("/#") for topic in topics))


def first_accounts(passwords: dict[str, str], salts: dict[str, bytes], bridge: Json) -> Json:
    """Return the file with which a broker starts: an administrator and the bridge, and nobody else.

    Args:
        passwords: of `ADMIN` and `BRIDGE`.
        salts: random, for each of them.
        bridge: its role, of `bridge_role`.
    """
    return {
        "defaultACLAccess": {PUBLISH: False, RECEIVE: True, "subscribe": False, "unsubscribe": True},
        "clients": [
            {
                "username": name,
                **_hashed(passwords[name], salts[name]),
                "roles": [{"rolename": name}],
            }
            for name in (ADMIN, BRIDGE)
        ],
        "groups": [],
        "roles": [
            {
                "rolename": ADMIN,
                "acls": [_acl(kind, f"{CONTROL}/#") for kind in (PUBLISH, RECEIVE, SUBSCRIBE)],
            },
            bridge,
        ],
    }


def bridge_role(topic_filter: str, status_topic: str) -> Json:
    """Return what the bridge may: read what devices publish, tell its status, and look at the broker.

    Args:
        topic_filter: MQTT_TOPIC_FILTER.
        status_topic: MQTT_STATUS_TOPIC; with a share group each worker has one below it.
    """
    reads = [topic_filter, status_topic, f"{status_topic}/+", "$SYS/#"]
    writes = [status_topic, f"{status_topic}/+"]
    acls = [_acl(kind, topic) for topic in reads for kind in (SUBSCRIBE, RECEIVE)]
    acls += [_acl(PUBLISH, topic) for topic in writes]
    return {"rolename": BRIDGE, "acls": acls}


def device_commands(device: Device, password: str) -> list[Json]:
    """Return what lets a device in."""
    return [
        {"command": "createRole", "rolename": device.username, "acls": [_acl(PUBLISH, device.topic)]},
        {
            "command": "createClient",
            "username": device.username,
            "clientid": device.username,
            "password": password,
            "roles": [{"rolename": device.username}],
        },
    ]


def password_command(username: str, password: str) -> Json:
    """Return what gives an account another password."""
    return {"command": "setClientPassword", "username": username, "password": password}


def removal_commands(device: Device) -> list[Json]:
    """Return what lets a device in no more; its connection ends at once."""
    return [
        {"command": "deleteClient", "username": device.username},
        {"command": "deleteRole", "rolename": device.username},
    ]


def _acl(kind: str, topic: str) -> Json:
    return {"acltype": kind, "topic": topic, "allow": True}


def _hashed(password: str, salt: bytes) -> Json:
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    coded = {"password": base64.b64encode(digest).decode(), "salt": base64.b64encode(salt).decode()}
    return {**coded, "iterations": ITERATIONS}
