"""Reads the values of the settings from a mapping such as the environment, and the files that it names."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from streams.config.near_misses import near_misses

MOST_BYTES = 64 * 1024
"""Of a file that holds a value: a device such as /dev/zero has no end."""


def read_environment(
    environment: Mapping[str, str], names: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Read the values of settings.

    ``NAME_FILE`` names a file that holds the value of ``NAME`` (its last line break is dropped); an empty
    value counts as absent.

    Args:
        environment: names and values.
        names: those of the settings, in lower case.

    Returns:
        The values by the names of their settings, and by the same the lines on what cannot be read.
    """
    values: dict[str, str] = {}
    faults: dict[str, str] = {}
    for name in names:
        key = name.upper()
        given, path = environment.get(key, ""), environment.get(f"{key}_FILE", "")
        fault = _fault(key, given, path)
        if fault is not None:
            faults[name] = fault
        elif path:
            try:
                values[name] = _content(path)
            except (OSError, ValueError) as error:
                # Not which one: many a secret has been pasted here.
                faults[name] = f"{key}_FILE names no file that can be read: {_reason(error)}. Check the path"
        elif given:
            values[name] = given
    return values, faults


def misspelt(environment: Mapping[str, str], names: Collection[str]) -> Iterator[str]:
    """Yield a line for each name in an environment that was meant for a setting, and is none."""
    given = [name for name, value in environment.items() if value and _is_text(name)]
    for name, meant in near_misses(given, [name.upper() for name in names]):
        yield f"{name} is no setting: it seems to be meant for {meant}. Rename it, or set {meant} as well"


def _fault(key: str, given: str, path: str) -> str | None:
    for name, value in ((key, given), (f"{key}_FILE", path)):
        if not _is_text(value):
            return f"{name} is not UTF-8: write it in UTF-8"
    if given and path:
        return f"{key} and {key}_FILE are both set: take one out"
    return None


def _content(path: str) -> str:
    """Return what a file holds.

    Raises:
        OSError, ValueError: it cannot be read, or is not what holds a value.
    """
    place = Path(path)
    if place.is_char_device() or place.is_block_device():
        raise ValueError("it is a device")
    with place.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    return content.decode().removesuffix("\n")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    # Python's own words on what is no UTF-8 would show a piece of a secret.
    return "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)


def _is_text(value: str) -> bool:
    """Tell whether a value of the environment was UTF-8; else Python has put surrogates into it (PEP 383)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
