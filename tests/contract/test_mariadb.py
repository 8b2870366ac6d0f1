"""What is different behind a Laravel on MariaDB, and what its operator does about it."""

from collections.abc import Callable

import pytest

from tests.contract.bench import Bench, Row, metric
from tests.contract.conftest import OpenBench
from tests.contract.ways import Way
from tests.parts.mariadb import MariaDb

ON_MARIADB = Way("handoff", "laravel", "mariadb")
# Apart in case, accent, space at the end and what has no width; the symbols in all but their plane.
ALIKE = ["a1", "A1", "á1", "a1 ", "a\u200b1"]
SYMBOLS = ["\U0001f321", "\U0001f9ca"]


async def rows_of(bench: Bench, *dedupe_ids: str) -> list[Row]:
    """Return the rows of one job with these ids, whose values are their places."""
    await bench.push(*(metric(one, place) for place, one in enumerate(dedupe_ids)))
    await bench.work()
    seen = await bench.look()
    assert (seen.failed, seen.queue, len(seen.messages)) == ([], {}, 1)
    return seen.rows


async def test_ids_that_laravels_collation_takes_for_one_are_one_row_in_which_the_last_wins(
    open_bench: OpenBench,
) -> None:
    async with open_bench(ON_MARIADB) as bench:
        rows = await rows_of(bench, *ALIKE, *SYMBOLS)
    assert [(row.dedupe_id, row.value) for row in rows] == [("a1", 4), (SYMBOLS[0], 6)]


@pytest.mark.parametrize(("collation", "lost"), [("utf8mb4_bin", {"a1 "}), ("utf8mb4_nopad_bin", set())])
async def test_a_binary_collation_of_the_column_keeps_ids_apart_and_one_without_padding_all(
    open_bench: OpenBench, collation: str, lost: set[str]
) -> None:
    column = f"varchar(128) character set utf8mb4 collate {collation} null"
    async with open_bench(ON_MARIADB) as bench:
        await bench.execute(f"alter table metrics_raw modify dedupe_id {column}")
        rows = await rows_of(bench, *ALIKE, *SYMBOLS)
    assert {row.dedupe_id for row in rows} == {*ALIKE, *SYMBOLS} - lost


async def test_a_time_that_the_servers_zone_lacks_fails_its_job_unless_the_connection_is_in_utc(
    open_bench: OpenBench, own: Callable[[Callable[[], MariaDb]], MariaDb]
) -> None:
    central_europe = own(lambda: MariaDb(time_zone="CET-1CEST,M3.5.0,M10.5.0/3"))
    lacking = ["1970-01-01 00:00:01.000000", "2027-03-28 02:30:00.123456"]
    for options, kept in [({}, []), ({"timezone": "+00:00"}, lacking)]:
        async with open_bench(ON_MARIADB, mariadb=central_europe, **options) as bench:
            for time in lacking:
                await bench.push(metric(timestamp=time))
            await bench.work(len(lacking))
            seen = await bench.look()
        assert [f"{row.timestamp:%Y-%m-%d %H:%M:%S.%f}" for row in seen.rows] == kept
        assert len(seen.queue.get(":delayed", [])) == len(lacking) - len(kept)


async def test_a_column_in_the_utf8_of_three_bytes_fails_the_job_of_a_text_with_four(
    open_bench: OpenBench,
) -> None:
    async with open_bench(ON_MARIADB) as bench:
        await bench.execute(
            "alter table metrics_raw modify agent_id varchar(64) character set utf8mb3 not null"
        )
        await bench.push(metric("three", agent_id="\u65e5"))
        await bench.push(metric("four", agent_id="\U0001f321"))
        await bench.work(2)
        seen = await bench.look()
    assert [row.dedupe_id for row in seen.rows] == ["three"]
    assert [job.payload["attempts"] for job in seen.queue[":delayed"]] == [1]
