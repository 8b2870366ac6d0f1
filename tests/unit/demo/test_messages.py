"""What ``./dev run`` says fits in 80 columns, can be copied, and needs nothing put to it."""

import re
import shlex
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from streams.demo import messages as wording
from streams.demo.ledger import Ledger
from streams.demo.pipeline import Pipeline
from streams.demo.psql import environment
from streams.models import Reason

TENANT = UUID("11111111-1111-4111-8111-111111111111")
PORTS = [31_991, 31_992, 31_993, 31_994, 31_995, 31_996]


@pytest.fixture(params=["with mosquitto_pub", "without"])
def introduction(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text, on a machine with and without mosquitto_pub, as ./dev starts it: in the checkout."""
    monkeypatch.chdir(wording.ROOT)
    python = wording.ROOT / ".venv" / "bin" / "python"
    monkeypatch.setattr("sys.executable", str(python))
    if request.param.startswith("with "):
        monkeypatch.setattr("shutil.which", lambda name, **_: f"/usr/bin/{name}")
    else:
        monkeypatch.setattr("shutil.which", lambda _, **__: None)
    pipeline = Pipeline(tmp_path, PORTS)
    return wording.introduction(pipeline, Path("/tmp/metric-streams-abcdefgh"), TENANT)  # noqa: S108 - a text


def ledger(**changed: Any) -> Ledger:
    million = 1_234_567
    counts = dict.fromkeys(
        (
            "sent",
            "landed",
            "rejected",
            "duplicates",
            "missing",
            "doubled",
            "rows",
            "superseded",
            "misjudged",
            "redelivered",
            "others",
        ),
        million,
    )
    by_reason = {reason.value: million for reason in Reason}
    return Ledger(**{**counts, "by_reason": by_reason, **changed})


def test_nothing_is_wider_than_80_columns(introduction: str) -> None:
    assert max(map(len, introduction.splitlines())) <= 80


def test_both_commands_are_whole_to_a_shell(introduction: str) -> None:
    _, _, after = introduction.partition("Send a metric, in another terminal\n")
    publish, _, after = after.partition("See its row\n")
    psql, _, _ = after.partition("\n")
    words = shlex.split(publish.replace("\\\n", ""))
    assert words[-4:] == ["-m", '{"value": 42.17}', "-t", f"metrics/{TENANT}/me/cpu.usage.percent"]
    assert str(PORTS[2]) in publish
    assert shlex.split(psql) == [
        "./dev", "psql", "-p", str(PORTS[3]), "-xc", "select * from metrics_raw where agent_id = 'me'",
    ]  # fmt: skip


def test_every_page_stands_there_as_a_whole_address(introduction: str) -> None:
    assert re.findall(r"http\S+", introduction) == [
        f"http://127.0.0.1:{PORTS[4]}/dashboard/",
        f"http://127.0.0.1:{PORTS[4]}/",
        f"http://127.0.0.1:{PORTS[4]}/health/ready",
        f"http://127.0.0.1:{PORTS[5]}/",
        f"http://127.0.0.1:{PORTS[5]}/health/ready",
        f"http://127.0.0.1:{PORTS[5]}/metrics",
    ]


def test_the_ledger_of_a_good_and_of_a_bad_run_fits_in_80_columns() -> None:
    bad = wording.conclusion(ledger())
    assert "does not add up" in bad
    sums = {"missing": 0, "doubled": 0, "misjudged": 0, "sent": 3 * 1_234_567}
    good = wording.conclusion(ledger(**sums))
    assert "accounted for" in good
    assert max(len(line) for line in f"{bad}\n{good}".splitlines()) <= 80
    assert all(f"{reason.value} 1,234,567" in good for reason in Reason)


def test_psql_goes_to_the_database_of_the_run_whatever_the_environment_says() -> None:
    inherited = {"PGHOST": "production", "PGSSLMODE": "require", "PGPASSWORD": "x", "LANG": "C"}
    ours = {"PGHOST": "127.0.0.1", "PGUSER": "postgres", "PGDATABASE": "postgres", "PSQL_PAGER": ""}
    assert environment(inherited) == {"LANG": "C", **ours}
