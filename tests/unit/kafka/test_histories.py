"""What metrics.raw and metrics.unique say of each other, held against a search of all that they hold."""

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Outage
from streams.kafka.histories import TAIL_RECORDS, Emitted, is_unbroken
from streams.kafka.log_reader import LogRecord, still_there
from streams.kafka.positions import Anchor
from streams.wire.decision import digest
from streams.wire.headers import ChainLink
from tests.unit.known_logs import PARTITION, RAW, UNIQUE, Logs, values


async def test_a_record_of_metrics_unique_is_evidence_of_its_raw_record() -> None:
    logs = Logs()
    logs.carry(b"a", b"b", epoch=4)
    (_, found) = await logs.histories.emitted(PARTITION, 2)
    link = ChainLink(b"aa", 1)
    anchor = Anchor(1, digest(logs.unique[1].value), link)
    assert found == Emitted(1, 4, 1, digest(b"b"), "metric-streams", link, anchor)


async def test_a_record_of_an_older_version_is_evidence_as_far_as_it_goes() -> None:
    logs = Logs()
    logs.write_raw(b"a")
    logs.emit(0)
    logs.unique[0] = logs.unique[0]._replace(headers={"epoch": b"4"})
    (found,) = await logs.histories.emitted(PARTITION, 1)
    assert (found.epoch, found.digest, found.group, found.link) == (4, b"", "", None)


@pytest.mark.parametrize(
    "foreign",
    [
        LogRecord(1, b"rubbish", {}),
        LogRecord(1, b'{"origin":{"partition":4,"offset":1},"readings":[]}', {}),
        LogRecord(1, b'{"origin":{"partition":3,"offset":1},"readings":[]}', {"epoch": b"soon"}),
    ],
)
async def test_what_is_no_chunk_of_ours_is_no_evidence(foreign: LogRecord) -> None:
    logs = Logs()
    logs.carry(*values(2))
    logs.unique[1] = foreign
    assert [found.offset for found in await logs.histories.emitted(PARTITION, 2)] == [0]


async def test_the_tail_ends_before_an_offset_and_has_so_many_records() -> None:
    logs = Logs()
    logs.carry(*values(200))
    found = await logs.histories.emitted(PARTITION, 150)
    assert [each.offset for each in found] == list(range(150 - TAIL_RECORDS, 150))
    logs.cut_unique(140)
    assert [each.offset for each in await logs.histories.emitted(PARTITION, 150)] == list(range(140, 150))
    assert await logs.histories.emitted(PARTITION, 0) == []


async def test_while_kafka_is_away_nothing_is_told() -> None:
    logs = Logs()
    logs.carry(b"a")
    logs.reader.away = True
    for question in (
        logs.histories.unique_range(PARTITION),
        logs.histories.emitted(PARTITION, 1),
        logs.histories.last_common(PARTITION),
        logs.histories.find_emitted(PARTITION, (1, 0), 1),
        logs.histories.raw_anchors(PARTITION, 0, 1),
    ):
        with pytest.raises(Outage, match="kafka"):
            await question


def newest_that_stands(logs: Logs, below: int | None = None) -> int | None:
    """Return what `last_common` is to find, by looking at every record."""
    standing = [
        record.offset
        for record in logs.unique[:below]
        if (raw_offset := int(record.value.split(b'"offset":')[1].split(b"}")[0])) < len(logs.raw)
        and digest(logs.raw[raw_offset].value).hex().encode() == record.headers.get("digest")
    ]
    return standing[-1] if standing else None


def diverged(common: int, lost: int, since: int, emitted_since: int) -> Logs:
    """Return logs of which raw was set back to `common`, and has grown by `since` with others."""
    logs = Logs()
    logs.carry(*values(common + lost))
    del logs.raw[common:]
    logs.write_raw(*values(since, "b"))
    logs.emit(*range(common, common + min(since, emitted_since)), epoch=2)
    return logs


@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 40), st.integers(0, 5))
async def test_the_last_common_place_is_that_which_a_search_of_all_finds(
    common: int, lost: int, since: int, emitted_since: int
) -> None:
    logs = diverged(common, lost, since, emitted_since)
    found = await logs.histories.last_common(PARTITION)
    assert (None if found is None else found.offset) == newest_that_stands(logs)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 130))
async def test_below_an_offset_of_metrics_unique_that_alone_counts(
    common: int, lost: int, below: int
) -> None:
    logs = diverged(common, lost, 0, 0)
    found = await logs.histories.last_common(PARTITION, below)
    assert (None if found is None else found.offset) == newest_that_stands(logs, below)


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 30),
    st.integers(0, 60),
    st.integers(0, 60),
)
async def test_where_retention_has_cut_a_log_what_is_found_stands_all_the_same(
    common: int, lost: int, since: int, raw_start: int, unique_start: int
) -> None:
    """It may be an older place than the last one, or none: then more is done again, nothing is left out."""
    logs = diverged(common, lost, since, 0)
    logs.cut_raw(min(raw_start, len(logs.raw)))
    logs.cut_unique(min(unique_start, len(logs.unique)))
    found = await logs.histories.last_common(PARTITION)
    newest = newest_that_stands(logs)
    if found is not None:
        assert newest is not None
        assert unique_start <= found.offset <= newest
        assert await logs.histories.raw_has(PARTITION, found)


async def test_a_few_reads_find_the_last_common_place_of_long_logs() -> None:
    logs = diverged(5_000, 300, 0, 0)
    reads, read = 0, logs.reader.read

    async def counted(tp: TP, start: int, count: int = 1) -> list[LogRecord]:
        nonlocal reads
        reads += 1
        return list(await read(tp, start, count))

    logs.reader.read = counted  # type: ignore[method-assign]
    found = await logs.histories.last_common(PARTITION)
    assert found is not None
    assert found.offset == 4_999
    assert reads <= 2 * 2 * 10  # twice the logarithm of what was lost, and two reads for each


async def test_without_digests_nothing_is_common() -> None:
    logs = Logs()
    logs.write_raw(*values(3))
    logs.emit(0, 1, 2, digests=False)
    assert await logs.histories.last_common(PARTITION) is None


async def test_records_of_an_epoch_and_raw_offset_are_found_in_a_long_log_twice_if_they_are_there_twice() -> (
    None
):
    logs = Logs()
    logs.carry(*values(300))
    logs.emit(298, 299, writer="another")
    logs.carry(*values(100, "b"))
    for place in [(1, 0), (1, 7), (1, 150), (1, 297), (1, 399)]:
        assert [found.raw_offset for found in await logs.histories.find_emitted(PARTITION, place, 402)] == [
            place[1]
        ]
    assert [found.offset for found in await logs.histories.find_emitted(PARTITION, (1, 299), 402)] == [
        299,
        301,
    ]


@pytest.mark.parametrize("place", [(1, 10), (0, 5), (2, 0), (1, 99)])
async def test_what_is_not_there_is_not_found(place: tuple[int, int]) -> None:
    logs = Logs()
    logs.write_raw(*values(20))
    logs.emit(*(offset for offset in range(20) if offset != 10))
    assert await logs.histories.find_emitted(PARTITION, place, 19) == []


async def test_what_stands_behind_the_end_that_is_asked_for_is_not_found() -> None:
    logs = Logs()
    logs.carry(*values(20))
    assert await logs.histories.find_emitted(PARTITION, (1, 15), 15) == []
    assert len(await logs.histories.find_emitted(PARTITION, (1, 15), 16)) == 1


async def test_of_several_epochs_the_one_that_is_asked_for_is_found() -> None:
    logs = Logs()
    logs.carry(*values(100))
    logs.emit(*range(100), epoch=2)
    for epoch, offset in ((1, 40), (2, 140)):
        found = await logs.histories.find_emitted(PARTITION, (epoch, 40), 200)
        assert [(each.epoch, each.offset) for each in found] == [(epoch, offset)]


def chain(*links: tuple[str, int] | None) -> list[Emitted]:
    return [
        Emitted(
            offset, 1, offset, b"", "", link and ChainLink(link[0].encode(), link[1]), Anchor(offset, b"")
        )
        for offset, link in enumerate(links, start=100)
    ]


@pytest.mark.parametrize(
    ("links", "broken_at"),
    [
        ([], None),
        ([("a", 7)], None),
        ([("a", 7), ("a", 8), ("b", 0), ("a", 9), ("b", 1)], None),
        ([("a", 7), None, ("a", 8)], None),
        ([None, None], None),
        ([("a", 7), ("b", 3)], None),
        ([("a", 7), ("a", 9)], 101),
        ([("a", 7), ("b", 0), ("b", 1), ("a", 9)], 103),
        ([("a", 7), ("a", 7)], None),  # a copy, as a producer without idempotence may write it
    ],
)
def test_the_first_record_that_does_not_follow_its_writers_one_before_is_told(
    links: list[tuple[str, int] | None], broken_at: int | None
) -> None:
    assert is_unbroken(chain(*links)) == broken_at


def test_a_gap_behind_which_refine_has_gone_back_since_is_settled() -> None:
    lost = chain(("a", 7), ("a", 11))
    again = lost[1]._replace(offset=102, link=ChainLink(b"b", 0))
    assert is_unbroken(lost) == 101
    assert is_unbroken([*lost, again]) is None
    assert is_unbroken([*lost, again._replace(raw_offset=again.raw_offset + 1)]) == 101


async def test_a_record_is_still_there_until_another_stands_in_its_place_or_the_log_ends_before_it() -> None:
    logs, tp = Logs(), TP(RAW, PARTITION)
    logs.write_raw(*values(4))
    anchor = logs.raw[2].anchor
    assert await still_there(logs.reader, tp, anchor)
    assert await still_there(logs.reader, tp, None)
    del logs.raw[2:]
    assert not await still_there(logs.reader, tp, anchor)
    logs.write_raw(b"another", b"one more")
    assert not await still_there(logs.reader, tp, anchor)
    logs.cut_raw(3)
    assert await still_there(logs.reader, tp, anchor)  # retention has removed it: nothing speaks against it


async def test_a_record_that_was_written_once_more_is_another_one_though_its_value_is_the_same() -> None:
    logs, tp = Logs(), TP(UNIQUE, PARTITION)
    logs.carry(b"a")
    (record,) = logs.unique
    for writer, seq in ((b"a", b"4"), (b"b", b"3")):
        logs.unique[:] = [record._replace(headers={**record.headers, "writer": b"a", "seq": b"3"})]
        anchor = logs.unique[0].anchor
        assert await still_there(logs.reader, tp, anchor)
        logs.unique[:] = [record._replace(headers={**record.headers, "writer": writer, "seq": seq})]
        assert not await still_there(logs.reader, tp, anchor)


async def test_while_kafka_is_away_it_is_not_told_whether_a_record_is_still_there() -> None:
    logs = Logs()
    logs.carry(b"a")
    logs.reader.away = True
    with pytest.raises(Outage):
        await still_there(logs.reader, TP(UNIQUE, PARTITION), logs.unique[0].anchor)
