"""A reading's fields are one list: a field that is left out anywhere between payload and row fails here."""

import json
from unittest.mock import patch

import pytest

from agents.examine import examine
from agents.explanation import examine_alone, explain
from agents.fast_path import read_usual_message
from agents.handoff import jobs_of
from streams.database.migrations import ADDED
from streams.demo.malformed import FAULTS
from streams.ingest.rows import columns_of, rows_of
from streams.ingest.statements import COLUMNS
from streams.laravel import broadcast, command_reader
from streams.laravel.job import Job, decode_job
from streams.laravel.replays import ChunkId
from streams.models import (
    FIELDS,
    FURTHER,
    MEMBERS,
    PUBLISHED,
    Candidate,
    JobMetric,
    Message,
    Origin,
    Payload,
    Reading,
    Reason,
)
from streams.rules.identity import content
from streams.rules.names import TEXTS
from streams.rules.topic import Series, read_topic
from streams.settings import Settings
from streams.wire import unique
from tests.parts.fields import SENT, sent, stored

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
RECEIVED_AT = "2026-11-23T14:00:00.123456Z"
ORIGIN = Origin(3, 1841)


def message(said: dict[str, object]) -> Message:
    """Return the publication of a device that says this."""
    topic = f"metrics/{TENANT}/{said['agent_id']}/{said['metric_name']}"
    members = {
        name: said[name] for name in FIELDS if name in said and name not in {"agent_id", "metric_name"}
    }
    return Message(topic, json.dumps(members), received_at=RECEIVED_AT)


def candidate(said: dict[str, object]) -> Candidate:
    return examine([message(said)], ORIGIN, 86_400.0).candidates[0]


def job(said: dict[str, object], *, derive_ids: bool = True) -> Job:
    """Lead a message through refine and handoff to what a worker of the queue reads."""
    chunk = unique.decode(unique.encode(ORIGIN, [candidate(said).reading]))
    [payload] = jobs_of(chunk, ChunkId(1, ORIGIN.offset, b""), derive_ids=derive_ids)
    return decode_job(payload)


def told(metric: JobMetric | Reading) -> dict[str, object]:
    return {name: getattr(metric, name) for name in FIELDS}


def test_every_form_of_a_reading_has_every_field() -> None:
    assert JobMetric.__struct_fields__ == FIELDS
    assert set(Reading.__struct_fields__) == {"index", "tenant_id", "key", *FIELDS}
    assert set(Payload.__struct_fields__) == set(MEMBERS)
    assert broadcast.PublishedMetric.__struct_fields__ == PUBLISHED
    assert set(FIELDS) - set(PUBLISHED) == {"dedupe_id"}


def test_every_text_of_a_payload_has_a_rule_a_reason_and_an_example_of_its_fault() -> None:
    assert set(TEXTS) == {"dedupe_id", *FURTHER}
    assert {Reason(f"{name}_invalid") for name in TEXTS} <= {reason for reason, _ in FAULTS}


def test_every_further_field_has_its_column_and_they_are_numbered_from_one() -> None:
    assert [column.number for column in ADDED] == list(range(1, len(ADDED) + 1))
    assert {column.name for column in ADDED if column.table == "metrics_raw"} == set(FURTHER)


@pytest.mark.parametrize("is_usual", [True, False])
@pytest.mark.parametrize("changed", FIELDS)
def test_what_a_device_says_is_in_the_reading(changed: str, *, is_usual: bool) -> None:
    said = message(sent(changed))
    assert read_usual_message(said, 0) is not None
    with patch("agents.examine.read_usual_message", read_usual_message if is_usual else lambda *_: None):
        assert told(candidate(sent(changed)).reading) == stored(changed)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_none_or_too_long_is_rejected_by_its_name(name: str) -> None:
    for bad in ([], "x" * 2_000):
        found = examine([message(sent() | {name: bad})], ORIGIN, 86_400.0)
        assert [found.rejections[0].reason] == [f"{name}_invalid"]


@pytest.mark.parametrize("is_usual", [True, False])
@pytest.mark.parametrize("changed", FIELDS)
def test_whatever_a_device_says_otherwise_is_other_content_but_the_id(
    changed: str, *, is_usual: bool
) -> None:
    with patch("agents.examine.read_usual_message", read_usual_message if is_usual else lambda *_: None):
        assert (candidate(sent()).content == candidate(sent(changed)).content) is (changed == "dedupe_id")


def test_without_further_fields_a_message_becomes_what_it_has_ever_become() -> None:
    without = {name: value for name, value in sent().items() if name not in FURTHER}
    chunk = unique.encode(ORIGIN, [candidate(without).reading])
    [reading] = json.loads(chunk)["readings"]
    assert list(reading) == [
        "index",
        "tenant_id",
        "agent_id",
        "metric_name",
        "value",
        "timestamp",
        "dedupe_id",
        "key",
    ]
    [payload] = jobs_of(unique.decode(chunk), ChunkId(1, ORIGIN.offset, b""), derive_ids=True)
    assert 'a:1:{i:0;a:5:{s:8:"agent_id"' in json.loads(payload)["data"]["command"]
    [published] = json.loads(broadcast.encode(job(without).metrics))
    assert list(published) == ["agent_id", "metric_name", "value", "timestamp"]
    assert (candidate(without).content == candidate(sent()).content) is (not FURTHER)


def test_a_further_text_is_content_by_its_name_and_its_letters() -> None:
    series = read_topic(f"metrics/{TENANT}/edge-7/cpu.usage")
    assert isinstance(series, Series)
    said = ([], [("colour", "red")], [("colour", "green")], [("shade", "red")], [("colour", "")])
    assert len({content(series, 1, "", further) for further in said}) == len(said)
    assert content(series, 1, "", [("colour", None)]) == content(series, 1, "")


@pytest.mark.parametrize("is_usual", [True, False])
@pytest.mark.parametrize("changed", FIELDS)
def test_what_the_reading_says_is_in_the_job(changed: str, *, is_usual: bool) -> None:
    usual = command_reader._read_usual_metrics if is_usual else lambda *_: None
    with patch.object(command_reader, "_read_usual_metrics", usual):
        assert [told(metric) for metric in job(sent(changed)).metrics] == [stored(changed)]


@pytest.mark.parametrize("changed", FIELDS)
def test_a_reading_without_an_id_of_its_own_says_the_same_in_the_job(changed: str) -> None:
    said = sent(changed) | {"dedupe_id": None}
    key = candidate(said).reading.key
    for derive_ids, id_ in ((True, key), (False, None)):
        [metric] = job(said, derive_ids=derive_ids).metrics
        assert told(metric) == stored(changed) | {"dedupe_id": id_}


@pytest.mark.parametrize("changed", FIELDS)
def test_what_the_job_says_is_in_the_row(changed: str) -> None:
    upserts, _ = rows_of([job(sent(changed))])
    row = dict(zip(COLUMNS, [one for [one] in columns_of(upserts)], strict=True))
    assert {**row, "tenant_id": str(row["tenant_id"])} == {"tenant_id": TENANT, **stored(changed)}


@pytest.mark.parametrize("changed", PUBLISHED)
def test_what_the_job_says_is_published(changed: str) -> None:
    [published] = json.loads(broadcast.encode(job(sent(changed)).metrics))
    assert published == {name: stored(changed)[name] for name in PUBLISHED}
    assert broadcast.decode(broadcast.encode(job(sent(changed)).metrics)) == [
        broadcast.PublishedMetric(**published)
    ]


def test_the_row_that_is_foretold_has_every_field() -> None:
    said = message(sent())
    examined = examine_alone(said.topic, said.payload_bytes(), RECEIVED_AT, Settings.from_mapping({}))
    foretold = explain(examined, Settings.from_mapping({}), exists=True).row
    assert foretold == {"tenant_id": TENANT, **stored()}


def test_every_field_has_two_examples() -> None:
    assert {name: len(set(values)) for name, values in SENT.items()} == dict.fromkeys(FIELDS, 2)
