"""A flood of malformed messages, faster than any real fleet sends good ones."""

import asyncio

from tests.faults.fleet import ACKED, SENT
from tests.faults.messages import flood_payload, flood_topic
from tests.faults.pace import pass_time
from tests.parts.process import find_program

RATE = 10_000
TICK_S = 0.05


async def flood(port: int, tenant: str, first: int, seconds: float) -> bytes:
    """Publish malformed messages at QoS 1.

    Args:
        port: Mosquitto's own.
        tenant: in whose name.
        first: the number of the first one.
        seconds: how long.

    Returns:
        For each of them whether it was acknowledged or merely sent.
    """
    client = find_program("mosquitto_pub", package="mosquitto-clients")
    arguments = ["-p", str(port), "-q", "1", "-l", "-t", flood_topic(tenant)]
    process = await asyncio.create_subprocess_exec(client, *arguments, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    number, each = first, int(RATE * TICK_S)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    try:
        while loop.time() < end:
            lines = b"".join(flood_payload(n) + b"\n" for n in range(number, number + each))
            process.stdin.write(lines)
            number += each
            await process.stdin.drain()
            await pass_time(TICK_S)
        process.stdin.close()
        # It ends when the broker has acknowledged all.
        complete = await process.wait() == 0
    except ConnectionError:
        complete = False
    return bytes([ACKED if complete else SENT]) * (number - first)
