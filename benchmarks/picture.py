"""Draws where the CPU time of a message goes, from what other benchmarks printed: an SVG on standard output.

``python -m benchmarks.picture steps.json ingress.json pipeline.json > docs/cpu.svg``. The bars of refine and
handoff are the pure steps; what the pipeline costs on top of these and of ingress is Faust's, aiokafka's and
the other libraries'.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

CHUNK = "chunks_of_200"
STEPS = {
    "ingress": (("all of it", ()),),
    "refine": (
        ("read the chunk", ("decode_raw",)),
        ("parse and validate", ("examine",)),
        ("dedupe", ("dedupe", "accepted")),
        ("record the decision", ("record", "index")),
        ("write metrics.unique", ("encode_unique",)),
    ),
    "handoff": (("read the chunk", ("decode_unique",)), ("write the jobs", ("jobs",))),
    "libraries": (("Faust, aiokafka, redis", ()),),
}
COLOURS = {"ingress": "#2563eb", "refine": "#059669", "handoff": "#d97706", "libraries": "#94a3b8"}
WIDTH, LEFT, LINE, TOP = 760, 230, 30, 54


class Bar(NamedTuple):
    """One line of the picture."""

    stage: str
    label: str
    us: float


def main(arguments: list[str]) -> None:
    """Print the picture."""
    found = {line["benchmark"]: line for name in arguments for line in [json.loads(Path(name).read_text())]}
    print(draw(list(bars(found["steps"], found["ingress"], found["pipeline"]))))


def bars(steps: dict[str, Any], ingress: dict[str, Any], pipeline: dict[str, Any]) -> Iterator[Bar]:
    """Yield what each stage costs, in CPU µs a message."""
    total = float(pipeline["workers_1"]["cpu_us_a_message"])
    spent = 0.0
    for stage, parts in STEPS.items():
        for label, names in parts:
            us = sum(float(steps[CHUNK][name]) for name in names)
            if stage == "ingress":
                us = float(ingress["mqtt5"]["stored"]["cpu_us_a_message"])
            elif stage == "libraries":
                us = max(0.0, total - spent)
            spent += us
            yield Bar(stage, label, us)


def draw(of: list[Bar]) -> str:
    """Return the SVG."""
    most, total = max(bar.us for bar in of), sum(bar.us for bar in of)
    height = TOP + LINE * len(of) + 16
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="14">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        (
            f'<text x="16" y="30" font-size="16" font-weight="bold" fill="#0f172a">CPU time of one message: '
            f"{total:.1f} µs</text>"
        ),
    ]
    for number, bar in enumerate(of):
        y = TOP + LINE * number
        width = max(2.0, (WIDTH - LEFT - 90) * bar.us / most)
        lines += [
            (
                f'<text x="{LEFT - 12}" y="{y + 15}" text-anchor="end" fill="#334155">'
                f"{escape(bar.stage)}: {escape(bar.label)}</text>"
            ),
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="20" rx="2" fill="{COLOURS[bar.stage]}"/>',
            f'<text x="{LEFT + width + 8:.1f}" y="{y + 15}" fill="#0f172a">{bar.us:.1f} µs</text>',
        ]
    return "\n".join([*lines, "</svg>"])


if __name__ == "__main__":
    main(sys.argv[1:])
