"""What we write in PHP's formats, against PHP itself."""

import base64
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.laravel import broadcast as publication
from streams.laravel import php_json
from streams.laravel.job import JobMetric, encode_job
from streams.laravel.numeric import read_numeric
from streams.laravel.php import PhpObject, PhpValue, serialize, unserialize
from streams.rules.json_depth import is_too_deep
from tests.golden import golden
from tests.golden.jobs import JOB_ID, TENANT, UUID
from tests.parts.php import Php

# Each example is a batch, because each starts a PHP process.
batches = settings(max_examples=10, deadline=None)

integers = st.integers(-(2**63), 2**63 - 1)
doubles = st.floats(allow_nan=False, allow_infinity=False)
keys = st.text(min_size=1).filter(lambda text: "\0" not in text)
serializable = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys | integers, inner)
        | st.builds(PhpObject, st.just("stdClass"), st.dictionaries(keys.map(lambda key: f"k{key}"), inner))
    ),
)
METRIC_KEYS = ("agent_id", "metric_name", "value", "timestamp")

READ_LINES = "$lines = array_map('base64_decode', explode(' ', file_get_contents('php://stdin')));"


def evaluate(php: Php, code: str, inputs: list[bytes]) -> list[bytes]:
    """Run code that turns each ``$line`` into ``$result``; return the results."""
    loop = f"{READ_LINES} foreach ($lines as $line) {{ {code} echo base64_encode($result), ' '; }}"
    output = php.evaluate(loop, " ".join(base64.b64encode(line).decode() for line in inputs))
    return [base64.b64decode(result) for result in output.removesuffix(" ").split(" ")]


@batches
@given(values=st.lists(serializable, min_size=1, max_size=50))
def test_php_serializes_what_it_reads_from_us_to_the_same_bytes(php: Php, values: list[PhpValue]) -> None:
    ours = [serialize(value).encode() for value in values]
    assert evaluate(php, "$result = serialize(unserialize($line));", ours) == ours


@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
@pytest.mark.parametrize("inside", ["", "1"])
def test_php_reads_json_as_deep_as_we_do_and_no_deeper(
    php: Php, before: str, inside: str, after: str
) -> None:
    each = len(before.replace("a", "").translate(str.maketrans("", "", '":')))
    nested = [before * times + (inside or "[]") + after * times for times in range(500 // each, 520 // each)]
    read = evaluate(
        php, "$result = json_decode($line) === null ? 'no' : 'yes';", [n.encode() for n in nested]
    )
    assert {b"yes", b"no"} == set(read)
    assert [is_too_deep(text) for text in nested] == [answer == b"no" for answer in read]


@batches
@given(numbers=st.lists(doubles, min_size=1, max_size=200))
def test_doubles_have_the_digits_that_php_gives_them(php: Php, numbers: list[float]) -> None:
    written = [repr(number).encode() for number in numbers]
    assert evaluate(php, "$result = serialize((float) $line);", written) == [
        serialize(number).encode() for number in numbers
    ]
    assert evaluate(php, "$result = json_encode((float) $line);", written) == [
        php_json.encode(number).encode() for number in numbers
    ]


@batches
@given(texts=st.lists(st.text(), min_size=1, max_size=200))
def test_strings_have_the_escapes_that_php_gives_them(php: Php, texts: list[str]) -> None:
    raw = [text.encode() for text in [*texts, "".join(map(chr, range(256))), "\u2028\u2029\U0001f600"]]
    escaped = [php_json.encode(text.decode()).encode() for text in raw]
    assert evaluate(php, "$result = json_encode($line);", raw) == escaped
    unescaped = [php_json.encode(text.decode(), unescaped_unicode=True).encode() for text in raw]
    assert evaluate(php, "$result = json_encode($line, JSON_UNESCAPED_UNICODE);", raw) == unescaped


@batches
@given(texts=st.lists(st.text("0123456789.eE+- \t\n\r\v\fx_\u0661\0", max_size=6), min_size=1, max_size=500))
def test_a_string_is_numeric_where_php_says_so(php: Php, texts: list[str]) -> None:
    answers = evaluate(php, "$result = (string) (int) is_numeric($line);", [text.encode() for text in texts])
    assert [answer == b"1" for answer in answers] == [read_numeric(text) is not None for text in texts]


def test_a_job_is_written_as_php_would_write_it_again(php: Php) -> None:
    metrics = [
        JobMetric(
            agent_id="edge/7",
            metric_name="temp.°C",
            value=1e-7,
            timestamp="2026-11-23 14:00:00.123456",
            dedupe_id="\u2028\x7f\"'\\",
        ),
        JobMetric(
            agent_id="\U0001f600",
            metric_name="cpu",
            value=999_999_999_999.9999,
            timestamp=None,
            dedupe_id=None,
        ),
    ]
    ours = encode_job(TENANT, metrics, UUID, JOB_ID)
    code = """
        $payload = json_decode($line, true);
        $command = serialize(unserialize($payload['data']['command']));
        $payload['data']['command'] = $command;
        $result = json_encode($payload, JSON_UNESCAPED_UNICODE);
    """
    assert evaluate(php, code, [ours]) == [ours]


def test_a_publication_is_what_the_job_publishes(php: Php) -> None:
    metrics = [
        JobMetric(
            agent_id="edge-7",
            metric_name="cpu.usage.percent",
            value=42.17,
            timestamp="2026-11-23 14:00:00.123456",
            dedupe_id="d-1",
        ),
        JobMetric(agent_id="edge/8", metric_name="temp.°C", value=1.0, timestamp=None, dedupe_id=None),
        JobMetric(
            agent_id="edge-9", metric_name="leak", value=1e-7, timestamp="2026-11-23 14:00:00", dedupe_id=None
        ),
    ]
    rows = serialize([{key: getattr(metric, key) for key in METRIC_KEYS} for metric in metrics]).encode()
    [published] = evaluate(php, "$result = json_encode(unserialize($line));", [rows])
    assert published == publication.encode(metrics) == golden("publication.json")


def test_objects_of_php_are_read_with_properties_that_are_not_public(php: Php) -> None:
    code = """
        class Job {
            public $tries = 5; protected $backoff = [10, 30]; private $tenant = null; public $price = 1.0;
        }
        echo serialize(new Job);
    """
    assert unserialize(php.evaluate(code).encode()) == PhpObject(
        "Job", {"tries": 5, "backoff": [10, 30], "tenant": None, "price": 1.0}
    )


def test_all_that_we_write_for_php_is_json(php: Php) -> None:
    for name in ("laravel-job.json", "publication.json"):
        [decoded] = evaluate(
            php, "$result = json_encode(json_decode($line, false, 512, JSON_THROW_ON_ERROR));", [golden(name)]
        )
        assert msgspec.json.decode(decoded) == json.loads(golden(name))
