"""``metric-streams doctor``: looks at every part and its configuration, and says what mends it."""

import sys
from typing import ClassVar

from faust.cli import option
from rich.console import Console

from streams.commands.base import PlainCommand, command
from streams.doctor.checks import diagnose
from streams.doctor.finding import is_well
from streams.doctor.shown import as_json, lines, show


class DoctorCommand(PlainCommand):
    """Its own lines say what the libraries would log."""

    abstract: ClassVar[bool] = True
    log_level: ClassVar[str] = "CRITICAL"


@command(
    option("--before-start", is_flag=True, help="Leave out whether a worker and ingest run."),
    option("--json", "as_json_", is_flag=True, help="Print JSON."),
    base=DoctorCommand,
)
async def doctor(self: DoctorCommand, *, before_start: bool, as_json_: bool) -> None:
    """Look at every part: what was seen, and what mends it; exit 1 if anything is broken.

    Needs no worker, and works while parts are down. Warnings do not fail.

    For example: metric-streams doctor --before-start && metric-streams worker
    """
    found = await diagnose(self.settings, before_start=before_start)
    if self.json or as_json_:
        self.say(as_json(found))
    elif sys.stdout.isatty():
        show(found, Console(highlight=False))
    else:
        self.say(lines(found))
    if not is_well(found):
        sys.exit(1)
