"""The process that fuzzes: ``python -m tests.fuzz.engine TARGET``, then libFuzzer's own options and corpora.

Apart from `tests.fuzz.campaign`, which starts it, because libFuzzer ends its process.
"""

import logging
import sys

import atheris

OURS = ["streams", "agents", "tables"]


def main() -> None:
    """Fuzz one target until libFuzzer ends the process."""
    logging.disable(logging.CRITICAL)  # each bad record is logged: thousands a second here
    with atheris.instrument_imports(include=OURS):
        from tests.fuzz.targets import load  # noqa: PLC0415 - what is imported here is instrumented

        target = load(sys.argv.pop(1))
    atheris.Setup(sys.argv, target.fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
