"""What remembering ids costs: bytes each, look-ups and recovered ids a second, pauses, and a moving window.

Measures `tables.state` ("after") and the dicts that it replaced ("before"), which live on as the oracle of
the tests. Each measurement has a process of its own, since what another one left in the heap would count, and
times are of CPU, since others use the machine too. Linux only: memory is read from /proc.
"""

import argparse
import gc
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from streams.models import Origin
from streams.wire.decision import FORMAT, ID_BYTES, Decision, decode, decode_key, encode, encode_key, unpack
from tables.state import SeenState
from tests.unit.tables.plain_seen import PlainSeen

Memory = SeenState | PlainSeen
Row = tuple[bytes, bytes]

IMPLEMENTATIONS: dict[str, Callable[..., Memory]] = {"before": PlainSeen, "after": SeenState}
PARTITIONS = 8
CHUNK = 200
ROWS_AT_A_TIME = 1_000
ASKED = 40_000
TURNS = 4


def main(arguments: list[str]) -> None:
    """Print one line of JSON with all figures, before and after."""
    parser = argparse.ArgumentParser(prog="./dev bench dedupe", description=__doc__)
    parser.add_argument("--ids", type=int, default=2_000_000, help="remembered at once (%(default)s)")
    ids = parser.parse_args(arguments).ids
    figures: dict[str, object] = {
        name: {
            **{f"chunks_of_{chunk}": _apart("recover", name, ids, chunk) for chunk in (1, 20, CHUNK)},
            "longest_add_ms": _apart("longest_add_ms", name, ids, CHUNK),
            "lookups": _apart("look_up", name, ids, CHUNK),
            "window": _apart("move_window", name, ids // 4, CHUNK),
        }
        for name in IMPLEMENTATIONS
    }
    versions = {"python": platform.python_version(), "msgspec": version("msgspec")}
    print(json.dumps({"benchmark": "dedupe", "ids": ids, **figures, "versions": versions}))


def _apart(measurement: str, name: str, ids: int, chunk: int) -> object:
    command = [sys.executable, "-m", "benchmarks.dedupe", measurement, name, str(ids), str(chunk)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# --- Measurements; each runs in a process of its own ------------------------------------------------------


def recover(memory: Memory, ids: int, chunk: int) -> dict[str, float]:
    """Read a changelog of that many ids into an empty memory."""
    _recover(IMPLEMENTATIONS["after"](window_s=1e12, max_ids=10**12), next(_changelog(ids, chunk)))
    gc.collect()
    before = _rss_bytes()  # code and free lists are in memory by now
    took_s = sum(_recover(memory, rows) for rows in _changelog(ids, chunk))
    gc.collect()
    return {
        "bytes_an_id": round((_rss_bytes() - before) / ids, 1),
        "recovered_ids_a_s": round(ids / took_s),
    }


def longest_add_ms(memory: Memory, ids: int, chunk: int) -> float:
    """Find the longest that the event loop stands still for one decision."""
    longest_s = 0.0
    for rows in _changelog(ids, chunk):
        for row in rows:
            longest_s = max(longest_s, _recover(memory, [row]))
    return round(longest_s * 1e3, 1)


def look_up(memory: Memory, ids: int, chunk: int) -> dict[str, int]:
    """Ask for whole chunks, as dedupe does."""
    known: list[tuple[int, list[bytes]]] = []
    for rows in _changelog(ids, chunk):
        _recover(memory, rows)
        key, value = rows[0]
        known.append((decode_key(key).partition, [id_ for id_, _ in unpack(decode(value).fingerprints)]))
    chance = random.Random(1)  # noqa: S311 - not for secrets
    chunks = [chance.choice(known) for _ in range(ASKED // chunk)]
    unknown = [(partition, [os.urandom(ID_BYTES) for _ in asked]) for partition, asked in chunks]
    tenth = [
        (partition, old[: chunk // 10] + new[chunk // 10 :])
        for (partition, old), (_, new) in zip(chunks, unknown, strict=True)
    ]
    return {
        "known_ids_a_s": _asked_a_s(memory, chunks),
        "unknown_ids_a_s": _asked_a_s(memory, unknown),
        "a_tenth_known_ids_a_s": _asked_a_s(memory, tenth),
    }


def move_window(memory: Memory, ids: int, chunk: int) -> dict[str, float]:
    """Fill a window, then let an old decision go for each new one, until all of it was replaced often."""
    kept = ids // chunk
    held: list[int] = []
    for turn in range(TURNS + 2):
        for number in range(turn * kept, (turn + 1) * kept):
            _recover(memory, [_row(number, chunk)])
            if turn:
                memory.remove(_origin(number - kept))
        gc.collect()
        held.append(_rss_bytes())
    # The first turn still finds the best places for the heap's blocks; from then on nothing may grow.
    return {
        "ids": ids,
        "turns": TURNS,
        "growth_bytes_an_id": round((held[-1] - held[1]) / ids, 2),
        "growth_of_first_turn_bytes_an_id": round((held[1] - held[0]) / ids, 2),
    }


MEASUREMENTS: dict[str, Callable[[Memory, int, int], object]] = {
    each.__name__: each for each in (recover, longest_add_ms, look_up, move_window)
}


# --- Material ---------------------------------------------------------------------------------------------


def _changelog(ids: int, chunk: int) -> Iterator[list[Row]]:
    """Yield the rows of a changelog, some at a time."""
    rows = ids // chunk
    for first in range(0, rows, ROWS_AT_A_TIME):
        yield [_row(number, chunk) for number in range(first, min(first + ROWS_AT_A_TIME, rows))]


def _recover(memory: Memory, rows: Iterable[Row]) -> float:
    """Take in rows; return the CPU time that it took, in seconds."""
    began = time.process_time()
    for key, value in rows:
        memory.add(decode_key(key), decode(value))
    return time.process_time() - began


def _row(number: int, chunk: int) -> Row:
    # Ids and contents are digests, which random bytes cannot be told from.
    fingerprints = os.urandom(24 * chunk)
    decision = Decision(FORMAT, 1, 1.8e9 + number, b"8 bytes.", [], [], fingerprints)
    return encode_key(_origin(number)), encode(decision)


def _origin(number: int) -> Origin:
    return Origin(number % PARTITIONS, number // PARTITIONS)


def _asked_a_s(memory: Memory, chunks: Iterable[tuple[int, list[bytes]]]) -> int:
    # Copies, because bytes remember their hash, and ids that arrive have not been hashed yet.
    fresh = [
        (memory.partition(partition), [id_[:8] + id_[8:] for id_ in asked]) for partition, asked in chunks
    ]
    began = time.process_time()
    for state, asked in fresh:
        state.known(asked, 0.0)
    return round(sum(len(asked) for _, asked in fresh) / (time.process_time() - began))


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    measurement, name, ids, chunk = sys.argv[1:]
    memory = IMPLEMENTATIONS[name](window_s=1e12, max_ids=10**12)
    print(json.dumps(MEASUREMENTS[measurement](memory, int(ids), int(chunk))))
