"""What a command does whose reader is gone, such as ``head`` behind a pipe: it ends without a word."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End the command in good order where nobody reads any more what the block writes."""
    try:
        yield
    except BrokenPipeError:
        # Or Python would complain as it flushes stdout at its end.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a name, no path of ours
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
