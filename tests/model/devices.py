"""What the model's devices publish, and what of it the rules say."""

import json
from dataclasses import dataclass
from uuid import UUID

from hypothesis import strategies as st

from streams.ingress.chunking import partition_of
from streams.models import Reason

PARTITIONS = 2


def _tenant_in(partition: int, seed: int) -> str:
    """Return a tenant of a partition, each time the same one."""
    numbers = (str(UUID(int=seed + number, version=4)) for number in range(1_000))
    return next(tenant for tenant in numbers if partition_of(tenant, PARTITIONS) == partition)


SETTLED = [_tenant_in(partition, 0xA0000) for partition in range(PARTITIONS)]
"""Tenants that exist all along, one in each partition."""
GUESTS = [_tenant_in(partition, 0xB0000) for partition in range(PARTITIONS)]
"""Tenants that are added and removed."""
STAMPS = {"2023-11-14T22:00:00Z": "2023-11-14 22:00:00.000000", "1699999201": "2023-11-14 22:00:01.000000"}
"""What a device may say of the time, and what the row says then."""
AGENT, METRIC = "edge-1", "cpu.usage.percent"


@dataclass(frozen=True)
class Publication:
    """One message of a device, before it has a number."""

    tenant: str
    value: int = 1
    dedupe_id: str | None = None
    stamp: str | None = None
    fault: Reason | None = None

    def topic(self) -> str:
        extra = "/extra" if self.fault is Reason.TOPIC_MALFORMED else ""
        return f"metrics/{self.tenant}/{AGENT}/{METRIC}{extra}"

    def payload(self, number: int) -> bytes:
        """Return the payload; the number, which no rule looks at, tells it from every other."""
        value = "warm" if self.fault is Reason.VALUE_NOT_A_NUMBER else self.value
        members = {"n": number, "value": value, "dedupe_id": self.dedupe_id, "timestamp": self.stamp}
        text = json.dumps({name: member for name, member in members.items() if member is not None})
        return (text[:-1] if self.fault is Reason.PAYLOAD_NOT_JSON else text).encode()

    @property
    def timestamp(self) -> str | None:
        """What the row says of the time; None if that is the arrival."""
        return None if self.stamp is None else STAMPS[self.stamp]


publications = st.builds(
    Publication,
    tenant=st.sampled_from([*SETTLED, *SETTLED, *SETTLED, *GUESTS]),
    value=st.integers(1, 2),
    dedupe_id=st.sampled_from(["a", "b", None]),
    stamp=st.sampled_from([None, None, *STAMPS]),
    fault=st.sampled_from(
        [None] * 15 + [Reason.VALUE_NOT_A_NUMBER, Reason.PAYLOAD_NOT_JSON, Reason.TOPIC_MALFORMED]
    ),
)
