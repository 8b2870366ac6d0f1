"""Logins at Kafka and at the MQTT broker: what must be set together, and what would be ignored. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from streams.config.clash import Clash

if TYPE_CHECKING:
    from streams.settings import Settings

OAUTH = "OAUTHBEARER"
PROTOCOL = "kafka_security_protocol"
USER, PASSWORD = "kafka_sasl_username", "kafka_sasl_password"
TOKENS = ("kafka_sasl_token_file", "kafka_sasl_token_command")


def login_clashes(settings: "Settings") -> Iterator[Clash]:
    """Yield what does not go together in the logins."""
    yield from _kafka_clashes(settings)
    yield from _mqtt_clashes(settings)


def _kafka_clashes(settings: "Settings") -> Iterator[Clash]:
    given = [name for name in (USER, PASSWORD, *TOKENS) if _value(settings, name)]
    if not settings.kafka_security_protocol.startswith("SASL"):
        for name in given:
            line = f"{name.upper()} is set, but KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} "
            yield Clash({name, PROTOCOL}, f"{line}asks for no login: set it to SASL_SSL or SASL_PLAINTEXT")
    elif settings.kafka_sasl_mechanism == OAUTH:
        yield from _oauth_clashes(given)
    else:
        yield from _password_clashes(settings, given)


def _oauth_clashes(given: list[str]) -> Iterator[Clash]:
    names = {*TOKENS, PROTOCOL, "kafka_sasl_mechanism"}
    wanted = "KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_COMMAND"
    tokens = [name for name in given if name in TOKENS]
    if len(tokens) != 1:
        what = "both are" if tokens else "neither is"
        yield Clash(names, f"KAFKA_SASL_MECHANISM={OAUTH} needs {wanted}, and {what} set: set one")
    for name in given:
        if name not in TOKENS:
            line = f"{name.upper()} is set, but KAFKA_SASL_MECHANISM={OAUTH} logs in by a token: take it out"
            yield Clash({name, *names}, line)


def _password_clashes(settings: "Settings", given: list[str]) -> Iterator[Clash]:
    names = {PROTOCOL, "kafka_sasl_mechanism"}
    for name in (USER, PASSWORD):
        if name not in given:
            line = f"KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} needs {name.upper()}: set it"
            yield Clash({name, *names}, line)
    for name in TOKENS:
        if name in given:
            line = f"{name.upper()} goes with KAFKA_SASL_MECHANISM={OAUTH} alone: set that, or take it out"
            yield Clash({name, *names}, line)


def _mqtt_clashes(settings: "Settings") -> Iterator[Clash]:
    names = {"mqtt_url", "mqtt_username", "mqtt_password"}
    has_password = bool(settings.mqtt_password.get_secret_value())
    parts = urlsplit(settings.mqtt_url.get_secret_value())
    if (settings.mqtt_username or has_password) and parts.username is not None:
        line = "MQTT_URL holds a user name, and MQTT_USERNAME or MQTT_PASSWORD is set: take one out"
        yield Clash(names, line)
    elif has_password and not settings.mqtt_username:
        yield Clash(names, "MQTT_PASSWORD is set without MQTT_USERNAME: set both")


def _value(settings: "Settings", name: str) -> str:
    value = getattr(settings, name)
    return value if isinstance(value, str) else str(value.get_secret_value())
