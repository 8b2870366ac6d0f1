"""How every client of ours reaches Kafka: the servers, encryption, and the login."""

import asyncio
import shlex
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import AuthenticationFailedError
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials

from streams.config.logins import OAUTH
from streams.settings import Settings
from streams.tls import context_of

COMMAND_LIMIT_S = 15.0


def connection_options(settings: Settings) -> dict[str, Any]:
    """Return what each client of aiokafka is made with, beside what it is for."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_tls is not None:
        options["ssl_context"] = context_of(settings.kafka_tls)
    if not settings.kafka_security_protocol.startswith("SASL"):
        return options
    options["sasl_mechanism"] = settings.kafka_sasl_mechanism
    if settings.kafka_sasl_mechanism == OAUTH:
        return options | {"sasl_oauth_token_provider": TokenProvider(settings)}
    return options | {
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": settings.kafka_sasl_password.get_secret_value(),
    }


def credentials(settings: Settings) -> Credentials | None:
    """Return the same for the clients that Faust makes; None for a connection in clear without a login."""
    options = connection_options(settings)
    context = options.get("ssl_context")
    if "sasl_oauth_token_provider" in options:
        return OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context)
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc] # aiokafka has no types
    """Hands out the token for OAUTHBEARER; aiokafka asks for one for each connection."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.kafka_sasl_token_file
        self._command = settings.kafka_sasl_token_command

    async def token(self) -> str:
        """Read the file, or run the command.

        Raises:
            AuthenticationFailedError: there is no token to be had, and why; what aiokafka tries again after.
        """
        text = await self._run() if self._command else self._read()
        if not text.strip():
            raise AuthenticationFailedError("the token for OAUTHBEARER is empty")
        return text.strip()

    def _read(self) -> str:
        try:
            return Path(self._path).read_text()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise AuthenticationFailedError(f"KAFKA_SASL_TOKEN_FILE cannot be read: {why}") from error

    async def _run(self) -> str:
        failed = "KAFKA_SASL_TOKEN_COMMAND"
        try:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except (OSError, ValueError) as error:
            raise AuthenticationFailedError(f"{failed} does not run: {error}") from error
        try:
            said, complained = await asyncio.wait_for(process.communicate(), COMMAND_LIMIT_S)
        except TimeoutError as error:
            raise AuthenticationFailedError(f"{failed} takes longer than {COMMAND_LIMIT_S:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            last = complained.decode(errors="replace").strip().splitlines()[-1:]
            raise AuthenticationFailedError(f"{failed} ended with {process.returncode}: {''.join(last)}")
        return said.decode(errors="replace")
