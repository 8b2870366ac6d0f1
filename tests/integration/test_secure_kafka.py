"""Every way into a Kafka that asks for TLS, a login or a certificate; what keeps us out is one line."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from streams.errors import Outage, SettingsError
from streams.kafka.admin import ensure_topics
from streams.kafka.log_reader import KafkaLogReader
from streams.settings import Settings
from tests.conftest import real
from tests.parts.authority import Authority
from tests.parts.secure_kafka import PASSWORD, SecureKafka

Environment = dict[str, str]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that all trust."""
    return real(lambda: Authority(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody trusts."""
    made = real(lambda: Authority(tmp_path_factory.mktemp("stranger")))
    made.server("any")
    return made


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[SecureKafka]:
    with real(lambda: SecureKafka(authority)) as broker:
        yield broker


def token(**claims: Any) -> str:
    """Return an unsigned one, which Kafka takes unless it is told otherwise."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": "bridge", "iat": now - 10, "exp": now + 3_600, **claims})
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join([*coded, ""])


def by_token(secure: SecureKafka, **others: str) -> Environment:
    login = secure.login(KAFKA_SASL_MECHANISM="OAUTHBEARER", **others)
    return {name: value for name, value in login.items() if "USERNAME" not in name and "PASSWORD" not in name}


def by_command(secure: SecureKafka, command: str) -> Environment:
    return by_token(secure, KAFKA_SASL_TOKEN_COMMAND=command)


async def enter(environment: Environment, unique: str) -> int:
    """Return how many topics stand; it creates them, and reads one of them by another client."""
    settings = Settings.from_mapping({**environment, "TOPIC_PREFIX": unique, "TOPIC_PARTITIONS": "1"})
    lines = await ensure_topics(settings)
    reader = KafkaLogReader(settings)
    await reader.read(TP(settings.raw_topic, 0), 0)
    await reader.stop()
    return len(lines)


async def test_a_login_over_tls_by_each_mechanism(secure: SecureKafka, unique: str, tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text(f"{token()}\n")
    ways = [
        secure.login(),
        secure.login(KAFKA_SASL_MECHANISM="PLAIN"),
        by_token(secure, KAFKA_SASL_TOKEN_FILE=str(place)),
        by_token(secure, KAFKA_SASL_TOKEN_COMMAND=f"cat '{place}'"),
    ]
    for way in ways:
        assert await enter(way, unique) == 6


async def test_a_certificate_of_ours(secure: SecureKafka, authority: Authority, unique: str) -> None:
    ours = authority.client("bridge")
    apart = secure.mutual(ours)
    together = ours.path.with_name("together.pem")
    together.write_text(ours.key.read_text() + ours.path.read_text())
    assert await enter(apart, unique) == 6
    assert await enter({**apart, "KAFKA_CERT_FILE": str(together), "KAFKA_KEY_FILE": ""}, unique) == 6


async def test_a_login_in_clear(secure: SecureKafka, unique: str) -> None:
    way = secure.login(
        BROKER_URL=f"kafka://{secure.host}:{secure.clear_port}",
        KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
        KAFKA_CA_FILE="",
    )
    assert await enter(way, unique) == 6


Wrong = Callable[[SecureKafka, Authority, Authority], Environment]
WRONG: dict[str, tuple[Wrong, str]] = {
    "password": (
        lambda kafka, _, __: kafka.login() | {"KAFKA_SASL_PASSWORD": "another"},
        "credentials with SASL mechanism SCRAM-SHA-512: look at KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    ),
    "user": (
        lambda kafka, _, __: kafka.login(KAFKA_SASL_USERNAME="nobody", KAFKA_SASL_MECHANISM="PLAIN"),
        "look at KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    ),
    "mechanism": (
        lambda kafka, _, __: kafka.login(KAFKA_SASL_MECHANISM="SCRAM-SHA-256"),
        "it knows no login by SCRAM-SHA-256: let KAFKA_SASL_MECHANISM",
    ),
    "no CA": (
        lambda kafka, _, __: kafka.login(KAFKA_CA_FILE=""),
        "no CA that is trusted here (unable to get local issuer certificate): set KAFKA_CA_FILE",
    ),
    "another's CA": (
        lambda kafka, _, stranger: kafka.login(KAFKA_CA_FILE=str(stranger.ca)),
        "no CA that is trusted here (unable to get local issuer certificate): set KAFKA_CA_FILE",
    ),
    "host": (
        lambda kafka, _, __: kafka.login(BROKER_URL=f"kafka://localhost:{kafka.login_port}"),
        "its certificate is for another host",
    ),
    "no certificate": (
        lambda kafka, authority, _: {
            **kafka.mutual(authority.client("bridge")),
            "KAFKA_CERT_FILE": "",
            "KAFKA_KEY_FILE": "",
        },
        "it asks for a certificate of ours that it trusts: look at KAFKA_CERT_FILE",
    ),
    "a certificate that has expired": (
        lambda kafka, authority, _: kafka.mutual(authority.client("old", days=-1)),
        "KAFKA_CERT_FILE",
    ),
    "another's certificate": (
        lambda kafka, authority, stranger: {
            **kafka.mutual(stranger.client("bridge")),
            "KAFKA_CA_FILE": str(authority.ca),
        },
        "it asks for a certificate of ours that it trusts: look at KAFKA_CERT_FILE",
    ),
    "no TLS": (
        lambda kafka, _, __: {"BROKER_URL": kafka.login()["BROKER_URL"]},
        "as soon as it is spoken to in PLAINTEXT",
    ),
    "TLS to a listener in clear": (
        lambda kafka, _, __: {"BROKER_URL": kafka.url, "KAFKA_SECURITY_PROTOCOL": "SSL"},
        "as soon as it is spoken to in SSL",
    ),
    "no login": (
        lambda kafka, _, __: {"BROKER_URL": f"kafka://{kafka.host}:{kafka.clear_port}"},
        "as soon as it is spoken to in PLAINTEXT",
    ),
    "a command without a token": (
        lambda kafka, _, __: by_command(kafka, "false"),
        "KAFKA_SASL_TOKEN_COMMAND ended with 1",
    ),
    "a command that is none": (
        lambda kafka, _, __: by_command(kafka, "/no/such/program"),
        "KAFKA_SASL_TOKEN_COMMAND does not run",
    ),
    "a token that has expired": (
        lambda kafka, _, __: by_command(kafka, f"echo {token(exp=time.time() - 60)}"),
        "it does not take the token: look at KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_COMMAND",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_told(
    what: str, secure: SecureKafka, authority: Authority, stranger: Authority, unique: str
) -> None:
    wrong, told = WRONG[what]
    with pytest.raises(Outage) as refusal:
        await enter(wrong(secure, authority, stranger), unique)
    said = refusal.value.detail
    assert told in said
    assert said.startswith("kafka://")
    assert "\n" not in said
    assert PASSWORD not in said


async def test_a_certificate_of_yesterday_is_told_and_mended_without_a_restart_of_ours(
    authority: Authority, unique: str
) -> None:
    with real(lambda: SecureKafka(authority)) as broker:
        settings = Settings.from_mapping(broker.login(TOPIC_PREFIX=unique, TOPIC_PARTITIONS="1"))
        reader, place = KafkaLogReader(settings), TP(settings.raw_topic, 0)
        await ensure_topics(settings)
        assert list(await reader.read(place, 0)) == []
        good = authority.server("kafka", broker.host)
        for certificate in (authority.server("past", broker.host, days=-1), good):
            await reader.stop()
            broker.stop()
            broker.certify(certificate)
            broker.start()
            if certificate is not good:
                with pytest.raises(Outage, match="its certificate has expired"):
                    await reader.read(place, 0)
        assert list(await reader.read(place, 0)) == []
        await reader.stop()


async def test_files_that_change_are_read_again_by_the_clients_that_there_are(
    secure: SecureKafka, authority: Authority, stranger: Authority, unique: str, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(stranger.ca.read_bytes())
    settings = Settings.from_mapping(
        {**secure.login(KAFKA_CA_FILE=str(ca)), "TOPIC_PREFIX": unique, "TOPIC_PARTITIONS": "1"}
    )
    reader = KafkaLogReader(settings)
    place = TP(settings.raw_topic, 0)
    with pytest.raises(Outage, match="no CA that is trusted here"):
        await reader.read(place, 0)
    ca.write_bytes(authority.ca.read_bytes())
    await ensure_topics(settings)
    assert list(await reader.read(place, 0)) == []
    ca.write_text("a rotation that is half done")
    await reader.stop()
    assert list(await reader.read(place, 0)) == []
    await reader.stop()
    ca.write_bytes(stranger.ca.read_bytes())
    with pytest.raises(Outage, match="no CA that is trusted here"):
        await reader.read(place, 0)


def test_a_file_that_is_not_there_ends_the_start(secure: SecureKafka) -> None:
    with pytest.raises(SettingsError, match="KAFKA_CA_FILE=/no/such/file: no such file or directory"):
        Settings.from_mapping(secure.login(KAFKA_CA_FILE="/no/such/file"))
