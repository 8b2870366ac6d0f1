"""Logins and certificates: what goes together, what would be ignored, and that no secret is shown."""

import subprocess
from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.mqtt.address import Address
from streams.settings import Settings
from tests.conftest import real
from tests.parts.authority import Authority

LOGIN = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "bridge",
    "KAFKA_SASL_PASSWORD": "s3cr3t",
}
OAUTH = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


def problems(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_mapping(environment)
    return refusal.value.problems


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (
            {**LOGIN, "KAFKA_SECURITY_PROTOCOL": "SSL"},
            "USERNAME is set, but KAFKA_SECURITY_PROTOCOL=SSL",
        ),
        ({"KAFKA_SASL_PASSWORD": "s3cr3t"}, "KAFKA_SASL_PASSWORD is set, but"),
        ({**LOGIN, "KAFKA_SASL_PASSWORD": ""}, "needs KAFKA_SASL_PASSWORD: set it"),
        ({**LOGIN, "KAFKA_SASL_USERNAME": ""}, "needs KAFKA_SASL_USERNAME: set it"),
        ({**LOGIN, "KAFKA_SASL_TOKEN_FILE": "/t"}, "goes with KAFKA_SASL_MECHANISM=OAUTHBEARER alone"),
        (OAUTH, "and neither is set: set one"),
        (
            {**OAUTH, "KAFKA_SASL_TOKEN_FILE": "/t", "KAFKA_SASL_TOKEN_COMMAND": "t"},
            "and both are set",
        ),
        (
            {**OAUTH, "KAFKA_SASL_TOKEN_COMMAND": "t", "KAFKA_SASL_USERNAME": "b"},
            "logs in by a token",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "must be PLAINTEXT or SSL or SASL_PLAINTEXT or SASL_SSL"),
        (
            {"KAFKA_SASL_MECHANISM": "GSSAPI"},
            "PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512 or OAUTHBEARER",
        ),
        ({"KAFKA_CA_FILE": "/ca.pem"}, "KAFKA_SECURITY_PROTOCOL=PLAINTEXT does not encrypt"),
        ({"MQTT_CA_FILE": "/ca.pem"}, "MQTT_URL does not ask for encryption"),
        ({"MQTT_PASSWORD": "s3cr3t"}, "MQTT_PASSWORD is set without MQTT_USERNAME"),
        (
            {"MQTT_URL": "mqtt://a:s3cr3t@h", "MQTT_USERNAME": "b"},
            "MQTT_URL holds a user name, and",
        ),
        ({"MQTT_URL": "mqtts://h", "MQTT_KEY_FILE": "/key"}, "MQTT_KEY_FILE is set without MQTT_CERT_FILE"),
        ({"MQTT_URL": "mqtts://h", "MQTT_CA_FILE": "/no/such"}, "MQTT_CA_FILE=/no/such: no such file"),
        ({"MQTT_URL": "wss://h", "MQTT_CA_FILE": "/"}, "MQTT_CA_FILE=/: is a directory"),
        ({"MQTT_URL": "mqtts://h", "MQTT_CA_FILE": "/etc/passwd"}, "MQTT_CA_FILE holds no certificate"),
        ({"MQTT_URL": "mqtts://h", "MQTT_CERT_FILE": "/etc/passwd"}, "hold no certificate and key (not pem)"),
    ],
)
def test_what_does_not_go_together_ends_the_start_with_its_mend(
    environment: dict[str, str], line: str
) -> None:
    found = problems(environment)
    assert line in "\n".join(found)
    assert "s3cr3t" not in "\n".join(found)


def test_a_key_that_is_another_ones_or_encrypted_is_told_and_nobody_is_asked(tmp_path: Path) -> None:
    authority = real(lambda: Authority(tmp_path))
    ours, other = authority.client("ours"), authority.client("other")
    files = {"MQTT_URL": "mqtts://h", "MQTT_CERT_FILE": str(ours.path)}
    assert Settings.from_mapping({**files, "MQTT_KEY_FILE": str(ours.key)}).mqtt_tls.key == str(ours.key)
    (line,) = problems({**files, "MQTT_KEY_FILE": str(other.key)})
    assert "key values mismatch" in line
    encrypted = tmp_path / "encrypted"
    encrypt = ["openssl", "pkcs8", "-topk8", "-in", ours.key, "-out", encrypted, "-passout", "pass:s3cr3t"]
    subprocess.run(encrypt, check=True)
    (line,) = problems({**files, "MQTT_KEY_FILE": str(encrypted)})
    assert "the key not encrypted" in line


def test_the_user_of_mqtt_stands_in_the_url_or_apart() -> None:
    apart = Settings.from_mapping({"MQTT_URL": "mqtt://h", "MQTT_USERNAME": "b", "MQTT_PASSWORD": "s3c:r3t"})
    within = Settings.from_mapping({"MQTT_URL": "mqtt://b:s3c%3Ar3t@h"})
    assert Address.of(apart) == Address.of(within)
    assert "s3c" not in f"{apart!r}"


def test_a_password_may_stand_in_a_file(tmp_path: Path) -> None:
    place = tmp_path / "password"
    place.write_text("s3cr3t\n")
    login = {name: value for name, value in LOGIN.items() if name != "KAFKA_SASL_PASSWORD"}
    settings = Settings.from_mapping({**login, "KAFKA_SASL_PASSWORD_FILE": str(place)})
    assert settings.kafka_sasl_password.get_secret_value() == "s3cr3t"
