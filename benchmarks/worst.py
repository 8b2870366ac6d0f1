"""The message that costs refine most: a search that changes payloads and topics and keeps what takes longer.

Through parse and validate in both ways, names, topic, timestamp and identity, and handoff's encoding of what
is accepted. CPU time of one message, the best of several turns, so that what else runs does not count.
"""

import argparse
import random
import time
from collections.abc import Callable

from agents.examine import examine
from agents.handoff import jobs_of
from benchmarks.report import report
from streams.models import Message, Origin
from streams.rules.topic import read_topic
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


def main(arguments: list[str]) -> None:
    """Print one line of JSON with the worst times and what took them."""
    parser = argparse.ArgumentParser(prog="./dev bench worst", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of searching (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)  # noqa: S311 - the same each time
    payload = climb(chance, options.seconds * 0.8, _any_payload, _changed, lambda text: _cost_us(TOPIC, text))
    topic = climb(
        chance, options.seconds * 0.2, _any_topic, _changed_topic, lambda text: _cost_us(text, "{}")
    )
    figures = {
        name: {"us": round(us), "beginning": text[:60], "ending": text[-20:]}
        for name, (us, text) in {"payload": payload, "topic": topic}.items()
    }
    report("worst", {"unit": "CPU µs of the worst message found", **figures})


def climb(
    chance: random.Random,
    seconds: float,
    begin: Callable[[random.Random], str],
    change: Callable[[random.Random, str], str],
    cost: Callable[[str], float],
) -> tuple[float, str]:
    """Return the highest cost that was found, and the text that has it."""
    until = time.monotonic() + seconds
    kept = [(cost(text), text) for text in (begin(chance) for _ in range(8))]
    while time.monotonic() < until:
        fresh = chance.random() < 1 / 3
        text = begin(chance) if fresh else change(chance, chance.choice(kept)[1])
        kept = sorted([*kept, (cost(text), text)], reverse=True)[:8]
    return kept[0]


def _any_payload(chance: random.Random) -> str:
    body = "".join(chance.choice(UNITS) for _ in range(chance.randint(1, 4)))
    body = (body * raw.MAX_BYTES)[: raw.MAX_BYTES - chance.randrange(8) - 80]
    return chance.choice(FRAMES).format(body)


def _changed(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text))
    piece = chance.choice(UNITS) * chance.choice([1, 1, 100, 5_000])
    return (text[:at] + piece + text[at + len(piece) :])[: raw.MAX_BYTES]


def _any_topic(chance: random.Random) -> str:
    body = chance.choice(["/", "a", "a/", "é", "\x01", "\u202e", "\ufffd", "+", "0"]) * chance.choice(
        [64, 30_000]
    )
    return chance.choice(["{}", "metrics/{}", f"{TOPIC[:45]}{{}}/b", f"{TOPIC[:45]}a/{{}}"]).format(body)


def _changed_topic(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(["/", "\0", "é", "\u202e"]) + text[at + 1 :]


def _cost_us(topic: str, payload: str) -> float:
    encoded = raw.encode_message(topic, payload.encode(errors="replace")[: raw.MAX_BYTES], AT, 1)
    (message,) = raw.decode(raw.join([encoded]))
    return min(_once_us(message) for _ in range(TURNS))


def _once_us(message: Message) -> float:
    read_topic.cache_clear()
    began = time.process_time_ns()
    examined = examine([message], ORIGIN, SKEW_S)
    readings = [candidate.reading for candidate in examined.candidates.values()]
    if readings:
        jobs_of(unique.UniqueChunk(ORIGIN, readings), 1, derive_ids=True)
    return (time.process_time_ns() - began) / 1_000
