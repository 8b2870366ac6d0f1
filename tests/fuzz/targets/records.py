"""Any bytes as a record of our topics: the first line is the epoch in its headers, the rest its value."""

from contextlib import suppress
from types import ModuleType

from agents.handoff import Handoff
from agents.refine import Refinery
from streams.counters import Statistics
from streams.database.tenants import FakeTenants
from streams.errors import MalformedRecord
from streams.kafka.record_loop import Record
from streams.kafka.testing import FakeRecord, FakeTopics
from streams.laravel import broadcast as publication
from streams.laravel.job import decode_job
from streams.laravel.testing import FakeJobQueue, FakeReplays
from streams.models import Reason
from streams.settings import Settings
from streams.wire import rejected, unique
from streams.wire.headers import SEQ, WRITER
from tables.testing import FakeSeen
from tests.fuzz.oracles import finish
from tests.golden import golden

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SETTINGS = Settings()
_MESSAGE = b'{"topic":"metrics/%s/a/b","payload":"{\\"value\\": 1}","received_at":"2026-11-23T14:00:00Z"' % (
    TENANT.encode()
)
SEEDS = [
    *(b"1795442400123\n" + golden(name) for name in ("raw.json", "unique.json", "rejected.json")),
    b"1\n" + golden("publication.json"),
    b'x\n{"messages":[%s,"qos":1},%s,"payload_base64":"/w==","size_bytes":70000}]}' % (_MESSAGE, _MESSAGE),
    b'\n{"messages":[{"topic":"metrics/a/b/c","payload_base64":"e30=","received_at":""}]}',
    b"\n" + b'{"messages":' + b"[" * 2000,
    b"\n" + b'{"x":' * 2000,
    b"\n\xff",
]
WORDS = [
    b'"payload_base64":',
    b'"size_bytes":',
    b'"readings":',
    b'"origin":',
    b"18446744073709551616",
    b"-9223372036854775809",
    b"1e400",
    b"\\u0000",
    b"\xc3\xa9",
]


def fuzz(data: bytes) -> None:
    """Nothing on a topic holds up its partition, and what is read can be written and read again."""
    epoch, _, value = data.partition(b"\n")
    for wire in (unique, rejected):
        _read_again(wire, value)
    _publication(value)
    _refine(value)
    _hand_off(epoch, value)


def _read_again(wire: ModuleType, value: bytes) -> None:
    try:
        chunk = wire.decode(value)
    except MalformedRecord:
        return
    assert wire.decode(wire.encode(*(getattr(chunk, name) for name in chunk.__struct_fields__))) == chunk


def _publication(value: bytes) -> None:
    try:
        publication.decode(value)
    except MalformedRecord:
        return


def _refine(value: bytes) -> None:
    """Decide on a record, then, knowing the changelog alone, once more: both times the same is emitted."""
    seen, topics, statistics = FakeSeen(), FakeTopics(), Statistics()
    record = Record(3, 7, value, {})
    for table in (seen, None):
        refinery = Refinery(
            SETTINGS,
            seen=table or seen.recovered(),
            tenants=FakeTenants({TENANT}),
            emit=topics.emit,
            statistics=statistics,
            clock=lambda: 1_795_442_400.0,
        )
        finish(refinery.refine([record]))
    counts = statistics.messages
    assert counts["refined"] == counts["duplicate"] + counts["accepted"] + counts["rejected"]
    for log in topics.logs.values():
        half, said = len(log) // 2, [*map(_word_for_word, log)]
        assert said[:half] == said[half:]
    for emitted in topics.all(SETTINGS.rejected_topic):
        _no_bug(rejected.decode(emitted.value))


def _word_for_word(record: FakeRecord) -> FakeRecord:
    """Return a record without what each writer calls itself, and counts."""
    return FakeRecord(
        record.value, {name: text for name, text in record.headers.items() if name not in {WRITER, SEQ}}
    )


def _no_bug(chunk: rejected.RejectedChunk) -> None:
    """Our own part of a message, which no device can write, may be unreadable; that is called a bug."""
    if chunk.reason is Reason.INTERNAL_ERROR:
        for message in chunk.messages:
            assert "not a chunk" in message.detail or "received_at" in message.detail, message.detail


def _hand_off(epoch: bytes, value: bytes) -> None:
    queue = FakeJobQueue()
    statistics = Statistics()
    handoff = Handoff(
        queue, FakeReplays(statistics), topic="metrics.unique", derive_ids=True, statistics=statistics
    )
    finish(handoff.hand_off([Record(3, 7, value, {"epoch": epoch})]))
    for job in queue.jobs:
        with suppress(MalformedRecord):  # the tenant is no UUID: for the job to say, not for handoff
            decode_job(job)
