"""The picture of the CPU time adds up to what the pipeline costs."""

from xml.etree import ElementTree as ET

from benchmarks.picture import CHUNK, STEPS, bars, draw

NAMES = [name for parts in STEPS.values() for _, names in parts for name in names]
FIGURES = {CHUNK: dict.fromkeys(NAMES, 0.5)}
INGRESS = {"mqtt5": {"stored": {"cpu_us_a_message": 4.0}}}
PIPELINE = {"workers_1": {"cpu_us_a_message": 12.0}}


def test_the_bars_add_up_to_what_the_pipeline_costs() -> None:
    found = list(bars(FIGURES, INGRESS, PIPELINE))
    assert sum(bar.us for bar in found) == 12.0
    assert [bar.us for bar in found if bar.stage == "libraries"] == [3.5]


def test_the_picture_is_an_svg_with_a_bar_and_a_figure_for_each_part() -> None:
    found = list(bars(FIGURES, INGRESS, PIPELINE))
    root = ET.fromstring(draw(found))  # noqa: S314 - our own
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "CPU time of one message: 12.0 µs" in texts
    assert sum(text.endswith("µs") for text in texts) == len(found) + 1
