"""What a new partition inherits of the changelog of its former one."""

from streams.growth.estate import Estate
from streams.models import Origin, Reason, Stage
from streams.wire.decision import (
    FORMAT,
    LARGEST_INHERITED_OFFSET,
    Decision,
    Inherited,
    Refusal,
    decode,
    decode_key,
    encode,
    encode_key,
)

REFUSAL = Refusal(1, Stage.PARSE, Reason.TOPIC_MALFORMED, "the topic")


def decision(*ids: int, epoch: int = 1) -> Decision:
    fingerprints = b"".join(id_.to_bytes(16) + id_.to_bytes(8) for id_ in ids)
    return Decision(FORMAT, epoch, 5.0, b"8 bytes.", [0], [REFUSAL], fingerprints, 3, 1, 7, [])


def estate(*rows: tuple[bytes, bytes | None], partition: int = 3) -> Estate:
    made = Estate(partition)
    for key, value in rows:
        made.take(key, value)
    return made


def test_an_heir_gets_the_ids_of_each_decision_that_stands_and_what_was_refused_stays() -> None:
    found = estate((b"3-1", encode(decision(1, 2))), (b"3-2", encode(decision(3))), (b"3-1", None))
    ((key, row),) = found.rows_for(11)
    assert decode_key(key) == Inherited(11, Origin(3, 2))
    inherited = decode(row)
    assert (inherited.fingerprints, inherited.decided_at) == (decision(3).fingerprints, 5.0)
    assert (inherited.refusals, inherited.duplicates, inherited.unsettled) == ([], [], 0)
    assert (found.ids, found.decided, len(found)) == (1, 2, 1)


def test_what_is_inherited_is_handed_on_before_what_was_decided_since() -> None:
    older = encode_key(Inherited(11, Origin(3, 900)))
    found = estate((b"11-0", encode(decision(2))), (older, encode(decision(1))), partition=11)
    keys = [decode_key(key) for key, _ in found.rows_for(27)]
    assert keys == [Inherited(27, Origin(3, 900)), Inherited(27, Origin(11, 0))]
    assert found.decided == 0


def test_a_decision_without_ids_tells_the_epoch() -> None:
    found = estate((b"3-8", encode(decision(epoch=6))))
    ((_, row),) = found.rows_for(11)
    assert decode(row).epoch == 6


def test_a_row_that_is_written_again_counts_once() -> None:
    found = estate((b"3-1", encode(decision(1, 2))), (b"3-1", encode(decision(1, 2))))
    assert (found.ids, len(found)) == (2, 1)


def test_what_is_none_of_ours_is_passed_over() -> None:
    found = estate(
        (b"4-1", encode(decision(1))),
        (b"x", encode(decision(1))),
        (b"3-1", b"rubbish"),
        (b"3-1>11", encode(decision(1))),
        (b"3-%d" % (LARGEST_INHERITED_OFFSET + 1), encode(decision())),
    )
    assert list(found.rows_for(11)) == []
    assert found.ids == 0
