"""The record of metrics.devices comes back as it was, and rubbish is refused."""

import pytest

from streams.errors import MalformedRecord
from streams.wire.devices import DeviceSeen, decode, encode

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def test_a_bucket_is_what_people_read_in_a_console() -> None:
    record = b'[["7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7",1795442400.1,1841,3]]'
    device = DeviceSeen(f"{TENANT}/edge-7", 1_795_442_400.1, 1841, 3)
    assert encode([device]) == record
    assert decode(record) == [device]


def test_a_device_is_named_by_its_tenant_in_lower_case_and_by_its_agent_as_it_is() -> None:
    device = DeviceSeen(f"{TENANT.upper()}/Edge/7")
    assert (device.tenant_id, device.agent_id) == (TENANT, "Edge/7")


@pytest.mark.parametrize(
    "record", [b"", b"{}", b"[[]]", b'[["a/b",-1,0,0]]', b'[["\xff"]]', b"[" * 100_000], ids=range(6)
)
def test_anything_else_is_malformed(record: bytes) -> None:
    with pytest.raises(MalformedRecord, match="not a list of devices"):
        decode(record)
