import pytest

from streams.mqtt.address import Address
from streams.mqtt.transport import MqttSession
from streams.settings import Settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", Address("mqtt", "broker", 1883)),
        ("mqtts://broker", Address("mqtts", "broker", 8883)),
        ("mqtt://broker:1", Address("mqtt", "broker", 1)),
        ("mqtt://[::1]:1883", Address("mqtt", "::1", 1883)),
        ("mqtt://u:p@broker", Address("mqtt", "broker", 1883, "u", "p")),
        ("mqtt://u%40x:p%2F%3A@broker", Address("mqtt", "broker", 1883, "u@x", "p/:")),
        ("mqtt://u@broker", Address("mqtt", "broker", 1883, "u")),
        ("ws://broker", Address("ws", "broker", 80, path="/mqtt")),
        ("wss://broker/a/b?c=d", Address("wss", "broker", 443, path="/a/b?c=d")),
        ("ws://broker:9001/", Address("ws", "broker", 9001, path="/")),
    ],
)
def test_a_url_says_where_the_broker_is_and_who_we_are(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "tls"), [("mqtt://b", False), ("mqtts://b", True), ("ws://b", False), ("wss://b", True)]
)
def test_the_scheme_decides_on_tls(url: str, *, tls: bool) -> None:
    assert Address.parse(url).tls is tls


def test_an_address_is_shown_without_its_secrets() -> None:
    assert str(Address.parse("wss://user:secret@[::1]/x")) == "wss://[::1]:443/x"


def test_alone_the_client_id_is_fixed_so_that_the_broker_throws_out_a_leftover() -> None:
    settings = Settings(worker_id="w1", mqtt_client_id="ours")

    assert MqttSession.of(settings, "host") == MqttSession("ours", "metrics/#", "bridge/status")


@pytest.mark.parametrize(("worker_id", "name"), [("w1", "w1"), ("", "host")])
def test_in_a_share_group_each_worker_has_names_of_its_own(worker_id: str, name: str) -> None:
    settings = Settings(worker_id=worker_id, mqtt_client_id="ours", mqtt_share_group="group")

    assert MqttSession.of(settings, "host") == MqttSession(
        f"ours-{name}", "$share/group/metrics/#", f"bridge/status/{name}"
    )
