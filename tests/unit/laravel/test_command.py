"""The job's command: its metrics are read in two ways that must never differ."""

import re
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.laravel import command_reader
from streams.laravel.command import Command, write_command
from streams.laravel.command_reader import read_command
from streams.laravel.job import JOB_CLASS, MODEL_CLASS
from streams.laravel.php import serialize
from streams.models import FURTHER, JobMetric, Reading, members_of
from tests.parts.fields import further_texts, stored

TENANT = "11111111-1111-4111-8111-111111111111"
NEVER = re.compile(rb"(?!)")

texts = st.text(max_size=6) | st.text('a"\\;{}:é€0', max_size=6)
metrics = st.builds(
    JobMetric,
    agent_id=texts,
    metric_name=texts,
    value=st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    timestamp=st.none() | texts,
    dedupe_id=st.none() | texts,
    **further_texts,
)
readings = st.builds(
    Reading,
    index=st.just(0),
    tenant_id=st.just(TENANT),
    agent_id=texts,
    metric_name=texts,
    value=st.sampled_from([42.17, -5]),
    timestamp=texts,
    dedupe_id=st.none() | texts,
    key=st.just(""),
    **further_texts,
)
changes = st.lists(st.tuples(st.floats(0, 1), st.text('0123456789:;{}"aidsNe.+-', max_size=2)), max_size=2)


def written(of: list[JobMetric]) -> str:
    return write_command(TENANT, of, job_class=JOB_CLASS, model_class=MODEL_CLASS, model_connection="default")


def read(command: str) -> Command | str:
    try:
        return read_command(command, JOB_CLASS)
    except MalformedRecord as error:
        return str(error)


@given(st.lists(metrics, max_size=4), changes)
def test_the_quick_way_to_read_the_metrics_finds_what_the_slow_one_does(
    of: list[JobMetric], changed: list[tuple[float, str]]
) -> None:
    command = written(of)
    metrics_at = command.index('"metrics"')
    for where, text in changed:  # in the metrics, mostly
        at = metrics_at + int(where * len(command) / 2)
        command = command[:at] + text + command[at + len(text) :]
    quick = read(command)
    with patch.object(command_reader, "_USUAL_ARRAY", NEVER):
        assert repr(quick) == repr(read(command))


def test_what_we_write_is_read_the_quick_way() -> None:
    usual = [
        JobMetric(
            agent_id="edge-7",
            metric_name="cpu.usage",
            value=42.17,
            timestamp="2026-11-23 14:00:00.123456",
            dedupe_id="d-1",
        ),
        JobMetric(agent_id="é", metric_name="€", value=-5, timestamp=None, dedupe_id=None),
        JobMetric(
            agent_id="edge-7",
            metric_name="cpu.usage",
            value=1e300,
            timestamp="2026-11-23 14:00:00.123456",
            dedupe_id="d-2",
        ),
    ]
    usual += [JobMetric(**stored()), JobMetric(**(stored() | dict.fromkeys(FURTHER)))]
    with patch.object(command_reader, "_read_metric", side_effect=AssertionError):
        assert read_command(written(usual), JOB_CLASS).metrics == usual


@given(st.lists(readings, max_size=4))
def test_what_we_write_is_what_php_makes_of_the_fields(of: list[Reading]) -> None:
    command = write_command(TENANT, of, job_class=JOB_CLASS, model_class=MODEL_CLASS, model_connection=None)
    elements = serialize([members_of(metric) for metric in of])
    assert f's:7:"metrics";{elements}s:3:"job"' in command
