"""The message that costs refine most: a search that changes payloads and topics and keeps what takes longer.

Through parse and validate in both ways, names, topic, timestamp and identity, and handoff's encoding of what
is accepted. CPU time of one message, the best of several turns, so that what else runs does not count.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from typing import NamedTuple
from zoneinfo import ZoneInfo

from agents.examine import examine
from agents.handoff import jobs_of
from benchmarks.report import report, say
from streams.laravel import command
from streams.laravel.replays import ChunkId
from streams.models import Message, Origin
from streams.rules import timestamp, topic, written_time, zones
from streams.rules.payload import MAX_BYTES
from streams.wire import raw, unique

TOPIC = "metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu"
AT = "2026-11-23T14:00:00.123456Z"
ORIGIN, SKEW_S, TURNS = Origin(0, 0), 86_400.0, 5
UNITS = (
    *(
        "[",
        "]",
        "{",
        "}",
        "[]",
        "[],",
        "{},",
        '{"":',
        '{"a":',
        '"",',
        '"a":1,',
        '"value":1,',
        "1,",
        "1.5,",
        "1e9,",
    ),
    *(
        "9",
        "0",
        " ",
        "\\ud800",
        "\\ude00",
        "\\n",
        "\\\\",
        "\\",
        '"',
        ":",
        ",",
        "é",
        "\U0001f321",
        "-",
        ".",
        "e",
        "x",
    ),
    *("null,", "true,", '["",', "]]],", "[[["),
)
FRAMES = (
    *(
        "{}",
        "[{}]",
        '{{"value":{}}}',
        '{{"x":[{}1],"value":1e999}}',
        '{{"value":"{}"}}',
        '{{"value":1,"timestamp":"{}"}}',
    ),
    *('{{"value":1,"timestamp":{}}}', '{{"value":1,"dedupe_id":"{}"}}', '{{"x":"\\ud800","value":"{}"}}'),
    *('{{"value":1,"timestamp":"2026-11-20T10:00:00.{}Z"}}', '{{"x":[{}1],"value":1}}', '{{{}"value":1}}'),
)


TIMES = (
    *("2026-11-20T10:00:00Z", "2026-11-20T10:00:00.", "2026-11-20 10:00 Europe/Zagreb", "20261120T100000Z"),
    *("2026-11-20T10:00:00 America/Argentina/Buenos_Ayres", "2026-W47-5", "Fri, 20 Nov 2026 10:00:00 GMT"),
    *("Fri Nov 20 10:00:00 2026", "@1795168800.5", "1795168800", "1795168800e-", "2026-13-20", "20/11/2026"),
)
FILLERS = ("0", "1", "9", " ", "\t", "\n", "e", ".", "-", "+", ":", "T", "Z", "/", "A", "a", "é", "@", ",")
LETTERS = ("a", "9", "é", "\u0301", "\U0001f321", " ", "'", "\\", '"', "\0", "\x1b", "\u202e", "\ufffd")
KNOWN_BY = ChunkId(1, 0, bytes(16))
LONGEST = MAX_BYTES - 200
KEPT = 8
"""The worst ones, which are changed further."""
REMEMBERED = [
    function
    for module in (command, timestamp, topic, written_time, zones)
    for function in vars(module).values()
    if hasattr(function, "cache_clear")
]
"""What remembers: each message is measured as the first of its kind."""


class Search(NamedTuple):
    """One part of a message, in which the search looks for what takes long."""

    share: float
    """Of the time."""
    begin: Callable[[random.Random], str]
    change: Callable[[random.Random, str], str]
    as_message: Callable[[str], tuple[str, str]]
    """Returns the topic and the payload that hold a text."""


def main(arguments: list[str]) -> None:
    """Print one line of JSON with the worst times and what took them."""
    parser = argparse.ArgumentParser(prog="./dev bench worst", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of searching (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)  # noqa: S311 - the same each time
    figures = {}
    for name, search in SEARCHES.items():
        with say(f"the worst {name}"):
            us, text = climb(chance, options.seconds * search.share, search)
        figures[name] = {"us": round(us), "beginning": text[:60], "ending": text[-20:], "length": len(text)}
    report("worst", {"unit": "CPU µs of the worst message found", **figures})


def climb(chance: random.Random, seconds: float, search: Search) -> tuple[float, str]:
    """Return the highest cost that was found, and the text that has it."""
    until = time.monotonic() + seconds
    kept = [_costed(search, search.begin(chance)) for _ in range(KEPT)]
    while time.monotonic() < until:
        fresh = chance.random() < 1 / 3
        text = search.begin(chance) if fresh else search.change(chance, chance.choice(kept)[1])
        kept = sorted([*kept, _costed(search, text)], reverse=True)[:KEPT]
    # What was slow by chance, since the machine had other work, is not slow again.
    return max((_cost_us(*search.as_message(text), turns=5 * TURNS), text) for _, text in kept)


def _any_payload(chance: random.Random) -> str:
    body = "".join(chance.choice(UNITS) for _ in range(chance.randint(1, 4)))
    body = (body * MAX_BYTES)[: MAX_BYTES - chance.randrange(8) - 80]
    return chance.choice(FRAMES).format(body)


def _changed(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text))
    piece = chance.choice(UNITS) * chance.choice([1, 1, 100, 5_000])
    return (text[:at] + piece + text[at + len(piece) :])[:MAX_BYTES]


def _any_topic(chance: random.Random) -> str:
    body = chance.choice(["/", "a", "a/", "é", "\x01", "\u202e", "\ufffd", "+", "0"]) * chance.choice(
        [64, 30_000]
    )
    return chance.choice(["{}", "metrics/{}", f"{TOPIC[:45]}{{}}/b", f"{TOPIC[:45]}a/{{}}"]).format(body)


def _changed_topic(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(["/", "\0", "é", "\u202e"]) + text[at + 1 :]


def _any_time(chance: random.Random) -> str:
    before, after = (chance.choice(FILLERS) * chance.choice([0, 0, 1, 30_000, 60_000]) for _ in range(2))
    return (before + chance.choice(TIMES) + after)[:LONGEST]


def _changed_time(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    piece = chance.choice(FILLERS) * chance.choice([1, 1, 100, 20_000])
    return (text[:at] + piece + text[at + chance.choice([0, len(piece)]) :])[:LONGEST]


def _any_names(chance: random.Random) -> str:
    return "".join(chance.choice(LETTERS) for _ in range(chance.choice([2, 64, 128, 129, 60_000])))


def _changed_names(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(LETTERS) * chance.choice([1, 60, 5_000]) + text[at:][: LONGEST - at]


def _with_time(text: str) -> tuple[str, str]:
    return TOPIC, json.dumps({"value": 1, "timestamp": text, "dedupe_id": "d-1"}, ensure_ascii=False)


def _with_names(text: str) -> tuple[str, str]:
    """Return a message whose names and id are a text; within their lengths it goes on to handoff."""
    half = text[: len(text) // 2].replace("/", "")
    agent, metric = half or "a", text[len(text) // 2 :].replace("/", "") or "m"
    payload = {"value": 1.5e-7, "dedupe_id": text, "agent_id": agent, "metric_name": metric}
    return f"{TOPIC[:45]}{agent}/{metric}", json.dumps(payload, ensure_ascii=False)


SEARCHES = {
    "payload": Search(0.5, _any_payload, _changed, lambda text: (TOPIC, text)),
    "topic": Search(0.1, _any_topic, _changed_topic, lambda text: (text, "{}")),
    "timestamp": Search(0.2, _any_time, _changed_time, _with_time),
    "names": Search(0.2, _any_names, _changed_names, _with_names),
}


def _costed(search: Search, text: str) -> tuple[float, str]:
    return _cost_us(*search.as_message(text)), text


def _cost_us(to: str, payload: str, turns: int = TURNS) -> float:
    encoded = raw.encode_message(to[:MAX_BYTES], payload.encode(errors="replace")[:MAX_BYTES], AT, 1)
    (message,) = raw.decode(raw.join([encoded]))
    return min(_once_us(message) for _ in range(turns))


def _once_us(message: Message) -> float:
    for remembered in REMEMBERED:
        remembered.cache_clear()
    ZoneInfo.clear_cache()
    began = time.process_time_ns()
    examined = examine([message], ORIGIN, SKEW_S)
    readings = [candidate.reading for candidate in examined.candidates.values()]
    if readings:
        jobs_of(unique.UniqueChunk(ORIGIN, readings), KNOWN_BY, derive_ids=True)
    return (time.process_time_ns() - began) / 1_000
