"""Writes the accounts with which a broker starts, and the passwords that nobody is told twice."""

import json
import os
import secrets
from pathlib import Path

from streams.errors import MetricStreamsError
from streams.provision.accounts import ADMIN, BRIDGE, SALT_BYTES, Json, first_accounts

ACCOUNTS = "dynamic-security.json"
CLIENT_ID = f"{BRIDGE}.client-id"
PASSWORD_BYTES = 24
CLIENT_ID_BYTES = 12


def new_password() -> str:
    """Return one that nobody guesses, of letters, digits, hyphens and underscores."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def new_client_id() -> str:
    """Return a client id for the bridge that nobody guesses: whoever knows it could ask for its session."""
    return f"metric-streams-{secrets.token_hex(CLIENT_ID_BYTES)}"


def write_accounts(directory: Path, bridge: Json) -> list[Path]:
    """Write the accounts, and files with each password and the bridge's client id, for their owner alone.

    Args:
        directory: is made where it is not there.
        bridge: the role of the bridge.

    Returns:
        The paths: that of the accounts, those of the passwords, and that of the client id.

    Raises:
        MetricStreamsError: one of them is there already, or cannot be written.
    """
    passwords = {name: new_password() for name in (ADMIN, BRIDGE)}
    salts = {name: secrets.token_bytes(SALT_BYTES) for name in passwords}
    texts = {ACCOUNTS: json.dumps(first_accounts(passwords, salts, bridge), indent=2)}
    texts |= {f"{name}.password": password for name, password in passwords.items()}
    texts[CLIENT_ID] = new_client_id()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        standing = [name for name in texts if (directory / name).exists()]
        if standing:
            raise MetricStreamsError(
                f"{directory} holds {', '.join(standing)} already, and the broker may run on it: take "
                "another directory, or remove what is there"
            )
        for name, text in texts.items():
            file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as opened:
                opened.write(f"{text}\n")
    except OSError as error:
        raise MetricStreamsError(f"{directory} cannot be written: {error.strerror}") from error
    return [directory / name for name in texts]
