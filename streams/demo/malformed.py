"""What simulated devices get wrong: one fault for each reason that a device can cause. Pure."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from streams.models import Reason
from streams.rules.names import TEXTS
from streams.rules.payload import MAX_BYTES


class Sound(NamedTuple):
    """What a malformed publication would be without its fault."""

    tenant_id: str
    agent_id: str
    metric_name: str
    mark: str
    """Tells it from every other, so that each is found again."""
    unknown_tenant: str

    def topic(self, **changes: str) -> str:
        """Return its topic, with some levels changed."""
        part = self._replace(**changes)
        return f"metrics/{part.tenant_id}/{part.agent_id}/{part.metric_name}"

    def payload(self, **changes: object) -> bytes:
        """Return its payload, with some members changed or added."""
        return msgspec.json.encode({"value": 42.17, "dedupe_id": self.mark} | changes)


Fault = Callable[[Sound], tuple[str, bytes]]


def _no_text(name: str, sound: Sound) -> tuple[str, bytes]:
    return sound.topic(), sound.payload(**{name: [sound.mark]})


FAULTS: list[tuple[Reason, Fault]] = [
    (Reason.TOPIC_MALFORMED, lambda sound: (f"{sound.topic()}/extra", sound.payload())),
    (Reason.PAYLOAD_NOT_JSON, lambda sound: (sound.topic(), sound.payload()[:-1])),
    (Reason.PAYLOAD_NOT_OBJECT, lambda sound: (sound.topic(), b"[" + sound.payload() + b"]")),
    (
        Reason.PAYLOAD_TOO_LARGE,
        lambda sound: (sound.topic(), sound.payload(note="x" * MAX_BYTES)),
    ),
    (Reason.VALUE_MISSING, lambda sound: (sound.topic(), sound.payload(value=None))),
    (Reason.VALUE_NOT_A_NUMBER, lambda sound: (sound.topic(), sound.payload(value="warm"))),
    (Reason.VALUE_OUT_OF_RANGE, lambda sound: (sound.topic(), sound.payload(value=1e12))),
    (Reason.TIMESTAMP_INVALID, lambda sound: (sound.topic(), sound.payload(timestamp="yesterday"))),
    (
        Reason.TIMESTAMP_OUT_OF_RANGE,
        lambda sound: (sound.topic(), sound.payload(timestamp="2042-01-01T00:00:00Z")),
    ),
    (Reason.AGENT_ID_INVALID, lambda sound: (sound.topic(agent_id="edge-" + "9" * 60), sound.payload())),
    (Reason.METRIC_NAME_INVALID, lambda sound: (sound.topic(metric_name="cpu." * 16 + "x"), sound.payload())),
    *((Reason(f"{name}_invalid"), partial(_no_text, name)) for name in TEXTS),
    (Reason.TENANT_NOT_A_UUID, lambda sound: (sound.topic(tenant_id="acme"), sound.payload())),
    (
        Reason.TENANT_UNKNOWN,
        lambda sound: (sound.topic(tenant_id=sound.unknown_tenant), sound.payload()),
    ),
]
"""Every reason that a device can cause, with the least that causes it."""
