"""What becomes of a worker whose user at Kafka lacks a right; the rights: ``test_secure_profile.py``."""

import os
import subprocess
from pathlib import Path

import pytest

from streams.errors import StartupRefused
from streams.kafka.rights import missing_rights, require_rights
from streams.settings import Settings
from tests.acceptance.conftest import Own, Pipeline
from tests.conftest import real
from tests.parts.authority import Authority
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.secure_kafka import USER, SecureKafka

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "docker" / "secure"
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # the listener in clear, which no client of ours uses here
}
GROUP = "metric-streams"
PATIENCE_S = 90.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return real(lambda: Authority(tmp_path / "authority"))


@pytest.fixture
def kafka(own: Own, authority: Authority) -> SecureKafka:
    """A Kafka that asks for every right."""
    made = own(lambda: SecureKafka(authority, AUTHORIZER))
    assert isinstance(made, SecureKafka)
    return made


def run(*command: str | Path, **environment: str) -> None:
    """Run what an administrator runs."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr


def grant(kafka: SecureKafka, **settings: str) -> None:
    """Give our user its rights at Kafka, by the script that is shipped."""
    tool = [*kafka.main("org.apache.kafka.tools.AclCommand"), "--bootstrap-server", kafka.bootstrap]
    run(SHIPPED / "kafka-acls", USER, *tool, **settings)


def take_away(kafka: SecureKafka, *what: str) -> None:
    """Take a right from our user."""
    tool = [*kafka.main("org.apache.kafka.tools.AclCommand"), "--bootstrap-server", kafka.bootstrap]
    run(*tool, "--remove", "--force", "--allow-principal", f"User:{USER}", *what)


def test_a_right_at_kafka_that_is_missing_is_named_at_the_start(kafka: SecureKafka) -> None:
    settings = kafka.login(CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2")
    refused = call("metric-streams", "setup", **settings)
    assert (refused.returncode, "grant us Create on it" in refused.stderr) == (1, True)
    grant(kafka, CREATE="no")
    refused = call("metric-streams", "setup", **settings)
    assert (refused.returncode, "grant us Create on it" in refused.stderr) == (1, True)
    clear = call("metric-streams", "setup", BROKER_URL=kafka.url, CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2")
    assert clear.returncode == 0, clear.stderr
    assert call("metric-streams", "setup", **settings).returncode == 0


async def test_each_right_that_the_worker_misses_is_named_before_it_starts(kafka: SecureKafka) -> None:
    made = call("metric-streams", "setup", BROKER_URL=kafka.url, CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2")
    assert made.returncode == 0, made.stderr
    grant(kafka, CREATE="no")
    settings = Settings.from_mapping(kafka.login(CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2"))
    assert await missing_rights(settings) == []
    prefixed = ["--resource-pattern-type", "prefixed"]
    for what, told in (
        (["--operation", "Write", "--topic", "metrics.", *prefixed], "lacks Write on metrics.unique"),
        (["--operation", "Read", "--topic", f"{GROUP}-", *prefixed], f"lacks Read on {GROUP}-seen-changelog"),
        (["--operation", "Read", "--group", GROUP], f"lacks Read on the group {GROUP}"),
    ):
        take_away(kafka, *what)

        async def is_named(told: str = told) -> bool:
            return any(told in line for line in await missing_rights(settings))

        await eventually(is_named, PATIENCE_S)
    with pytest.raises(StartupRefused, match="docker/secure/kafka-acls grants what is needed"):
        await require_rights(settings)


async def test_a_kafka_that_asks_for_no_rights_lacks_none(pipeline: Pipeline) -> None:
    assert call("metric-streams", "setup", **pipeline.environment).returncode == 0
    assert await missing_rights(Settings.from_mapping(pipeline.environment)) == []
