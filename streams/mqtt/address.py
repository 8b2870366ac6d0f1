"""Reads an MQTT URL: ``mqtt://user:password@host:port``, ``mqtts://``, ``ws://host/path``, ``wss://``."""

import ssl
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import unquote, urlsplit

from streams.config.urls import shown_url
from streams.settings import Settings
from streams.tls import TlsFiles, context_of

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
SYSTEMS = TlsFiles()
"""No files: what this machine trusts."""
DEFAULT_PATH = "/mqtt"  # what EMQX, HiveMQ and paho agree on; Mosquitto takes any


@dataclass(frozen=True)
class Address:
    """Where the broker is and who we are to it."""

    scheme: str
    host: str
    """A name or an address; an IPv6 address without brackets."""
    port: int
    username: str | None = None
    password: str | None = None
    path: str = ""
    """Of a WebSocket; empty for the others."""
    certificates: TlsFiles = SYSTEMS

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return where the settings say the broker is, and who we are to it."""
        address = cls.parse(settings.mqtt_url.get_secret_value())
        if settings.mqtt_username:
            password = settings.mqtt_password.get_secret_value()
            address = replace(address, username=settings.mqtt_username, password=password or None)
        return replace(address, certificates=settings.mqtt_tls)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart; `streams.settings` has checked its scheme and host."""
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return cls(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or DEFAULT_PORTS[parts.scheme],
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            path=(parts.path or DEFAULT_PATH) + query if parts.scheme in ("ws", "wss") else "",
        )

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("mqtts", "wss")

    def tls_context(self) -> ssl.SSLContext | None:
        """Return what encrypts connections; None where they are not encrypted."""
        return context_of(self.certificates) if self.tls else None

    @property
    def host_header(self) -> str:
        """``host:port`` as HTTP wants it (RFC 9110, 7.2): an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Name the broker in a log, without secrets; the options of a WebSocket may hold one."""
        return shown_url(f"{self.scheme}://{self.host_header}{self.path}")
