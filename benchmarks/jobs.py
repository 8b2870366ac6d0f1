"""Takes jobs out of the queue and counts the messages in them, as they come.

So the end of a run is seen where it counts, in Redis, and not in what the worker says of itself; and a queue
of any length needs no memory. Popping a list takes whole jobs, so it costs next to nothing a message.
"""

import threading
import time
from typing import Any, NamedTuple, Self

from redis import Redis

MARK = b"dedupe_id"
"""Stands once in each metric of a job, and once in a job of the tutorial's pipeline."""
JOBS_AT_A_TIME = 200
WAIT_S = 0.2
POLL_S = 0.01


class Taken(NamedTuple):
    """Jobs that were taken together."""

    at: float
    """Unix time in seconds."""
    jobs: list[bytes]


class JobCounter:
    """Empties a queue in a thread while the block lasts.

    Args:
        url: of the Redis database.
        queue: the key of the list; ``:notify`` beside it is emptied as well.
        keep: whether the jobs are kept in `taken`.
    """

    def __init__(self, url: str, queue: str, *, keep: bool = False) -> None:
        self.messages = self.jobs = 0
        self.last_at = 0.0
        self.taken: list[Taken] = []
        self._redis = Redis.from_url(url)
        self._queue, self._keep = queue, keep
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def wait_for(self, messages: int, timeout_s: float) -> float:
        """Return the Unix time at which so many messages had come.

        Raises:
            TimeoutError: no message has come for `timeout_s`.
        """
        before, moved = -1, time.monotonic()
        while self.messages < messages:
            if self.messages > before:
                before, moved = self.messages, time.monotonic()
            if time.monotonic() - moved > timeout_s:
                raise TimeoutError(
                    f"{self.messages} of {messages} messages came, then none for {timeout_s:g} s"
                )
            time.sleep(POLL_S)
        return self.last_at

    def _take(self) -> None:
        while not self._over.is_set():
            # Redis 7 and later: waits, and takes all that is there.
            answer: Any = self._redis.blmpop(WAIT_S, 1, self._queue, direction="LEFT", count=JOBS_AT_A_TIME)
            self._redis.delete(f"{self._queue}:notify")
            if answer:
                self._count(Taken(time.time(), answer[1]))

    def _count(self, taken: Taken) -> None:
        if self._keep:
            self.taken.append(taken)
        self.last_at = taken.at
        self.jobs += len(taken.jobs)
        self.messages += sum(job.count(MARK) for job in taken.jobs)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._redis.close()
