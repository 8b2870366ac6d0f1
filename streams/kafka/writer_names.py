"""Names for those that write records: each unlike any other, so that a record tells whose successor it is."""

import secrets

NAME_BYTES = 8


def new_writer() -> str:
    """Return a name that no other process, and no other connection, ever has."""
    return secrets.token_hex(NAME_BYTES)
