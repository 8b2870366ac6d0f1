"""How every client of aiomqtt reaches the broker: where it is, encryption, and the login."""

from typing import Any

from streams.mqtt.address import Address


def aiomqtt_options(address: Address) -> dict[str, Any]:
    """Return what `aiomqtt.Client` is made with for an address, beside what it is for."""
    options: dict[str, Any] = {
        "hostname": address.host,
        "port": address.port,
        "username": address.username,
        "password": address.password,
        "tls_context": address.tls_context(),
    }
    if address.path:
        options |= {
            "transport": "websockets",
            "websocket_path": address.path,
            "websocket_headers": {"Host": address.host_header},
        }
    return options
