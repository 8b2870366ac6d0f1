"""The worker's own ingress in a process of its own, without the rest of the worker; for `ingress`.

Leads until the broker has been told of so many messages that they are in Kafka, and prints what that took.
"""

import asyncio
import json
import os
import sys
import time

import uvloop

from agents.ingress import build as build_ingress
from benchmarks.usage import memory_mb
from streams.application import build, read_settings
from streams.counters import Statistics
from tests.parts.eventually import eventually

LOOK_S, TIMEOUT_S = 0.005, 240.0


async def carry(messages: int) -> dict[str, object]:
    """Lead until so many messages are acknowledged; with none, until the session stands."""
    app = build(read_settings())
    statistics, ingress = app.statistics, build_ingress(app)
    await ingress.lead()
    await eventually(lambda: _is_connected(statistics), TIMEOUT_S, interval_s=LOOK_S)
    began, began_cpu = time.monotonic(), time.process_time()
    await eventually(lambda: statistics.messages["acknowledged"] >= messages, TIMEOUT_S, interval_s=LOOK_S)
    seconds, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
    connection = statistics.parts["mqtt"].detail
    await ingress.stand_by()
    return {
        "connection": connection,
        "messages_a_s": round(messages / seconds),
        "seconds": round(seconds, 2),
        "cpu_us_a_message": round(cpu_s / max(1, messages) * 1e6, 2),
        "memory_mb": memory_mb(os.getpid(), "VmHWM"),
    }


def _is_connected(statistics: Statistics) -> bool:
    part = statistics.parts.get("mqtt")
    return part is not None and part.up


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as in the worker
        print(json.dumps(runner.run(carry(int(sys.argv[1])))))
