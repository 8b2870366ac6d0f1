"""Whether Faust runs on its compiled parts, as it must: its pure-Python ones acknowledge stale messages."""

from importlib.metadata import version

from faust import streams
from faust.transport import conductor

from streams.errors import StartupRefused

PARTS = {
    "faust._cython.streams": (streams, "_CStreamIterator"),
    "faust.transport._cython.conductor": (conductor, "ConductorHandler"),
}
"""The compiled parts, and by which name Faust's modules use them."""


def check_compiled() -> None:
    """Return if Faust uses its compiled parts on a message's way.

    Where one does not import, or NO_CYTHON is set, Faust puts None in its place and goes on without a word
    (``streams.py``, ``transport/conductor.py``).

    Raises:
        StartupRefused: if it does not use them.
    """
    missing = [name for name, (user, alias) in PARTS.items() if getattr(user, alias, None) is None]
    if missing:
        raise StartupRefused(
            f"Faust runs without its compiled parts ({', '.join(missing)}): the pure-Python ones acknowledge "
            "messages of before a rebalance, which loses them. Unset NO_CYTHON and install the wheel: pip "
            f"install --force-reinstall --only-binary :all: faust-streaming=={version('faust-streaming')}"
        )
