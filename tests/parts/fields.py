"""Examples of a reading's fields, by the one list of them: a field more is tried wherever the others are."""

from hypothesis import strategies as st

from streams.models import FIELDS, FURTHER

SENT: dict[str, tuple[object, object]] = {
    **dict.fromkeys(FURTHER, ("m/s", "°C")),
    "agent_id": ("edge-7", "edge-8"),
    "metric_name": ("cpu.usage", "temp.°C"),
    "value": (42.17, 21.5),
    "timestamp": ("2026-11-23T13:59:59.123456Z", "2026-11-23T13:59:58.654321Z"),
    "dedupe_id": ("d-1", "d-2"),
}
"""Two values of each field, as a device sends them."""
STORED = SENT | {"timestamp": ("2026-11-23 13:59:59.123456", "2026-11-23 13:59:58.654321")}
"""The same as the row has them."""

usual_texts = {name: st.none() | st.sampled_from(SENT[name]) for name in FURTHER}
further_texts = {
    name: st.none() | st.sampled_from(SENT[name]) | st.text(max_size=6) | st.text('a"\\;{}:é€0', max_size=6)
    for name in FURTHER
}
"""For ``st.builds`` of what has every field; the former for what a rule lets through."""


def sent(*changed: str) -> dict[str, object]:
    """Return what a device says, by name; of the fields that are named the other example."""
    return {name: SENT[name][name in changed] for name in FIELDS}


def stored(*changed: str) -> dict[str, object]:
    """Return the same as the row has it."""
    return {name: STORED[name][name in changed] for name in FIELDS}
