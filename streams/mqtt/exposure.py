"""Whether whoever reaches the MQTT broker can take our session from us.

A broker gives a session to whoever names its client id, and wipes it for one that asks for a clean start:
what was acknowledged to devices and waits for us is gone. Two things keep others from that. A broker may bind
client ids to users, as docker/secure/mosquitto.conf does; or the id may be one that nobody guesses. Used by
ingress and by the doctor.
"""

import secrets
from dataclasses import replace

import aiomqtt

from streams.mqtt.address import Address
from streams.mqtt.options import aiomqtt_options
from streams.settings import Settings
from streams.tls import TlsFiles

TIMEOUT_S = 4.0
MEND = (
    "let the broker ask who comes (docker/secure), or set an MQTT_CLIENT_ID that nobody guesses, as "
    "docs/connections.md says: what the old session holds must not be left behind"
)


def is_default(settings: Settings) -> bool:
    """Tell whether our client id is the one that everybody knows."""
    return bool(settings.mqtt_client_id == Settings.model_fields["mqtt_client_id"].default)


def is_anonymous(settings: Settings) -> bool:
    """Tell whether we come without a login: then whoever reaches the broker is let in as we are."""
    return Address.of(settings).username is None and not settings.mqtt_cert_file


def exposed(settings: Settings) -> str:
    """Return what is to be said at the start of a worker that is let in; empty where there is nothing."""
    if not (is_default(settings) and is_anonymous(settings)):
        return ""
    return (
        "whoever reaches the MQTT broker can wipe what it keeps for us: it asks for no login, and "
        f"MQTT_CLIENT_ID={settings.mqtt_client_id} is the default, which everybody knows. To mend it, {MEND}"
    )


async def lets_anyone_in(settings: Settings) -> bool:
    """Ask the broker whether it lets in somebody without a login.

    Under a name of its own and with a clean start, so that no session is touched and none is left.
    """
    known = Address.of(settings)
    certificates = TlsFiles(known.certificates.ca)
    nobody = replace(known, username=None, password=None, certificates=certificates)
    try:
        async with aiomqtt.Client(
            identifier=f"metric-streams-doctor-{secrets.token_hex(4)}",
            clean_session=True,
            protocol=aiomqtt.ProtocolVersion.V311,  # all brokers speak it, and a clean session ends with it
            timeout=TIMEOUT_S,
            **aiomqtt_options(nobody),
        ):
            return True
    except aiomqtt.MqttError:
        return False
