"""metric-streams: MQTT metrics into the Laravel ingestion job, through Kafka topics that anyone can read.

``faust -A streams worker`` asks this package for `app`; it is built on that first use, so that importing
a pure module of the package needs no settings.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.faust_app import StreamsApp

    app: StreamsApp

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _app() -> "StreamsApp":
    # Not at the top: a pure module of the package must be importable without settings.
    from faust.cli.faust import cli  # noqa: PLC0415

    from streams.application import build, read_settings, use_uvloop  # noqa: PLC0415
    from streams.commands.left_out import leave_out  # noqa: PLC0415

    # Whoever asks for the app by this name is a command line: ours, or Faust's.
    use_uvloop()
    leave_out(cli)
    return build(read_settings())
