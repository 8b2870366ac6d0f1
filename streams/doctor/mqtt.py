"""Looks at the MQTT broker: whether it lets us in, grants the subscription, and whether anything comes."""

import socket
from collections.abc import Iterable

from streams.doctor.finding import Finding, broken, ok, warning
from streams.doctor.seen import Sightings
from streams.mqtt.exposure import MEND, is_default, lets_anyone_in
from streams.mqtt.probe import LISTEN_S, ProbeResult, look
from streams.mqtt.transport import MqttSession
from streams.settings import Settings

PART = "mqtt"
ONLINE = "online"
FLAPS = 3
"""So many changes of the status within a moment: two take the session from each other."""
OTHER_CLIENT = "Give each deployment an MQTT_CLIENT_ID of its own, and find who else uses this one"


async def examine_mqtt(settings: Settings, seen: Sightings) -> list[Finding]:
    """Look at the broker.

    Raises:
        Outage: it is not reached or refuses us.
    """
    session = MqttSession.of(settings, socket.gethostname())
    found = await look(settings, session)
    seen.status = found.statuses[-1] if found.statuses else ""
    is_open = is_default(settings) and await lets_anyone_in(settings)
    exposure = of_exposure(settings.mqtt_client_id) if is_open else ()
    return [*of_broker(found), *exposure, *of_filter(found, session), *of_session(found, session)]


def of_broker(seen: ProbeResult) -> Iterable[Finding]:
    """Return what is to be said of the broker itself."""
    name = seen.version or "the broker"
    if seen.max_qos == 0:
        yield broken(PART, f"{name} offers QoS 0 alone, which may lose messages", "Let it offer QoS 1")
    else:
        yield ok(PART, f"{name} answers, in MQTT {seen.protocol}")
    if seen.dropped:
        mend = "Set max_queued_messages 0 and max_queued_bytes 0 in mosquitto.conf, and see docker/mosquitto"
        yield warning(PART, f"it has dropped {seen.dropped:,} messages since its start", mend)


def of_exposure(client_id: str) -> Iterable[Finding]:
    """Return what is to be said of a broker that asks for no login, where our client id is the default."""
    seen = (
        f"it asks for no login, and MQTT_CLIENT_ID={client_id} is the default: whoever reaches it can wipe "
        "what it keeps for us"
    )
    yield warning(PART, seen, MEND[:1].upper() + MEND[1:])


def of_filter(seen: ProbeResult, session: MqttSession) -> Iterable[Finding]:
    """Return what is to be said of what the worker subscribes to."""
    name = session.topic_filter
    if seen.refusal:
        yield broken(PART, seen.refusal, seen.refusal_mend or "Let our user subscribe there")
    elif seen.matching:
        yield ok(PART, f"MQTT_TOPIC_FILTER={name} is granted, and messages come")
    elif seen.others:
        topics = ", ".join(f"{level}/…" for level in seen.others)
        mend = "Let MQTT_TOPIC_FILTER fit what devices publish: metrics/{tenant}/{agent}/{metric}"
        yield warning(
            PART,
            f"nothing matched MQTT_TOPIC_FILTER={name} in {LISTEN_S:g} s, while others came on {topics}",
            mend,
        )
    else:
        mend = f"If devices should publish now: see whether they reach the broker (mosquitto_sub -t '{name}')"
        yield warning(PART, f"MQTT_TOPIC_FILTER={name} is granted; nothing came in {LISTEN_S:g} s", mend)


def of_session(seen: ProbeResult, session: MqttSession) -> Iterable[Finding]:
    """Return what is to be said of the session, by what the worker tells on the status topic."""
    if len(seen.statuses) >= FLAPS:
        said = ", ".join(seen.statuses)
        yield broken(
            PART,
            f"another client takes our session: {session.status_topic} said {said} within {LISTEN_S:g} s",
            OTHER_CLIENT,
        )
    elif seen.statuses:
        state = ok if seen.statuses[-1] == ONLINE else _offline
        yield state(PART, f"{session.status_topic} says that ingress is {seen.statuses[-1]}")


def _offline(part: str, seen: str) -> Finding:
    return warning(part, seen, "Start a worker; where one runs, see what it waits for")
