"""Ends a worker at its start because of what it found: one line for the operator, and the exit code 78."""

import logging
import os
import sys
from typing import NoReturn

log = logging.getLogger(__name__)


def refuse_start(why: str) -> NoReturn:
    """Say why the worker does not start, and end it.

    What Faust says of its services as it stops them would push the line off the screen.

    Raises:
        SystemExit: always. Any other exception would reach the operator as two tracebacks.
    """
    log.critical("the worker does not start: %s", why.replace("\n", "\n  "))
    logging.disable(logging.INFO)
    sys.exit(os.EX_CONFIG)
