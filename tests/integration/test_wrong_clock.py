"""A process with a wrong clock of its own: its wall clock can be set, and it sleeps as long as ever."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import real
from tests.parts.wrong_clock import WrongClock

TELLS = """
import datetime, json, time
began = time.monotonic()
time.sleep(0.2)
now = datetime.datetime.now(datetime.UTC).timestamp()
print(json.dumps([time.time(), now, time.monotonic() - began, time.monotonic()]))
"""


@pytest.mark.parametrize("ahead_s", [0, 3_000, -6 * 3_600])
def test_the_wall_clock_alone_is_wrong(tmp_path: Path, ahead_s: int) -> None:
    clock = real(lambda: WrongClock(tmp_path))
    clock.set(ahead_s)
    told = subprocess.run(
        [sys.executable, "-c", TELLS],
        env={**os.environ, **clock.environment},
        capture_output=True,
        check=True,
    )
    wall, also_wall, slept, monotonic = json.loads(told.stdout)
    assert wall - time.time() == pytest.approx(ahead_s, abs=60)
    assert also_wall == pytest.approx(wall, abs=1)
    assert slept >= 0.2
    assert monotonic == pytest.approx(time.monotonic(), abs=60)
