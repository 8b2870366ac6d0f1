"""What every run of the model needs."""

import logging
from collections.abc import Iterator

import pytest

from streams.kafka import record_loop as loop
from streams.laravel import fence


@pytest.fixture
def no_waits_and_no_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Try again at once after an outage, and spare the logs of thousands of them; runs are short."""
    monkeypatch.setattr(loop, "RETRY_FIRST_S", 0.0)
    monkeypatch.setattr(fence, "MARK_EVERY", 1)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
