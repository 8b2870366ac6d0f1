"""What the project's commands share: run to the end, one line for an error that is no surprise."""

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, cast

import click
from faust.cli.base import AppCommand
from mode.utils.logging import setup_logging

from streams.errors import MetricStreamsError
from streams.faust_app import StreamsApp
from streams.logs.json_lines import write_json
from streams.logs.plain import escape_logs, plain
from streams.settings import Settings

log = logging.getLogger(__name__)

INTERRUPTED = 130  # what a shell reports for a command that Ctrl+C ended


class PlainCommand(AppCommand):
    """A command without Faust's worker around it, which would hide errors in its own and end a second later.

    Use it as ``@command(...)``, or with a class of yours as its base.

    Attributes:
        log_level: unless ``--loglevel`` says otherwise.
    """

    abstract: ClassVar[bool] = True  # or Faust would make a command of this class itself

    log_level: ClassVar[str] = "WARN"

    @property
    def settings(self) -> Settings:
        """Those of the app."""
        return cast("StreamsApp", self.app).settings

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Run the command and exit: 0, or with the error's code after one line on stderr."""
        setup_logging(loglevel=self._loglevel or self.log_level, logfile=self.logfile)
        logging.captureWarnings(capture=True)
        # What they have to say of a server that is away is in the error that the command ends with.
        for library in ("aiokafka", "mqtt"):  # the latter is aiomqtt's
            logging.getLogger(library).setLevel(logging.CRITICAL)
        escape_logs()
        if self.settings.log_format == "json":
            write_json()
        try:
            asyncio.run(self.execute(*self.args, **self.kwargs))
        except MetricStreamsError as error:
            self._tell(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        sys.exit(0)

    def _tell(self, error: MetricStreamsError) -> None:
        """Say why the command fails, in the form of the log where that is collected."""
        if self.settings.log_format == "json":
            log.critical("%s: %s", self.ctx.command_path, error, extra={"exit_code": error.exit_code})
        else:
            click.echo(f"{self.ctx.command_path}: {plain(str(error))}", err=True)


def command(
    *options: Any, base: type[PlainCommand] = PlainCommand, **attributes: Any
) -> Callable[[Callable[..., Any]], type[AppCommand]]:
    """Make a command of an async function, as ``app.command`` does, while there is no app yet.

    Args:
        options: click's, as Faust declares them.
        base: what the command is beside what the function does.
        attributes: of the command, such as its ``name``.
    """
    made: Callable[[Callable[..., Any]], type[AppCommand]] = base.from_handler(*options, **attributes)
    return made
