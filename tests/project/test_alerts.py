"""The alert rules: each fires on what it is for, and on nothing else; each is explained."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.counters import Note
from streams.models import Reason
from tests.conftest import real
from tests.parts.process import find_program
from tests.project.alert_scenes import SCENES, Series

REPOSITORY = Path(__file__).parents[2]
PROMETHEUS = REPOSITORY / "docker" / "prometheus"
RULES = PROMETHEUS / "alerts.yml"
GROUP: dict[str, Any] = yaml.safe_load(RULES.read_text())["groups"][0]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in GROUP["rules"]}
PREFIX = "MetricStreams"
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()


@pytest.fixture(scope="module")
def promtool() -> Path:
    return real(lambda: find_program("promtool", package="prometheus"))


def run(promtool: Path, *arguments: str | Path) -> None:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_the_rules_and_the_configuration(promtool: Path) -> None:
    run(promtool, "check", "rules", RULES)
    run(promtool, "check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")


def test_every_alert_has_its_scene() -> None:
    assert set(ALERTS) == {f"{PREFIX}{name}" for name in SCENES}


@pytest.mark.parametrize("name", SCENES)
def test_it_fires_on_what_it_is_for(promtool: Path, tmp_path: Path, name: str) -> None:
    run(promtool, "test", "rules", scene(tmp_path, SCENES[name].fires, {name: 1}))


@pytest.mark.parametrize("name", SCENES)
def test_it_is_quiet_where_all_is_well(promtool: Path, tmp_path: Path, name: str) -> None:
    run(promtool, "test", "rules", scene(tmp_path, SCENES[name].quiet, {name: 0}))


def test_a_scene_that_does_not_hold_is_told(promtool: Path, tmp_path: Path) -> None:
    """Or the tests above would show nothing."""
    with pytest.raises(AssertionError, match="FAILED"):
        run(promtool, "test", "rules", scene(tmp_path, SCENES["PartDown"].quiet, {"PartDown": 1}))
    with pytest.raises(AssertionError, match="FAILED"):
        run(promtool, "test", "rules", scene(tmp_path, SCENES["PartDown"].fires, {"PartDown": 0}))


def scene(tmp_path: Path, series: Series, firing: Mapping[str, int]) -> Path:
    """Write a test for promtool: how many alerts of each name fire after 20 minutes."""
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{PREFIX}{name}", alertstate="firing"}})',
                "eval_time": "20m",
                "exp_samples": [{"labels": "{}", "value": count}] if count else [],
            }
            for name, count in firing.items()
        ],
    }
    path = tmp_path / "scene.yml"
    path.write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]})
    )
    return path


@pytest.mark.parametrize("alert", ALERTS)
def test_it_tells_how_urgent_it_is_and_is_explained_with_its_mend(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description"}
    (row,) = re.findall(rf"^\| `{alert}` \|(.*)\|(.*)\|$", OPERATIONS, re.MULTILINE)
    assert all(cell.strip() for cell in row), "the cause and the mend"


def test_no_alert_is_explained_that_there_is_not() -> None:
    assert set(re.findall(rf"`({PREFIX}\w+)`", OPERATIONS)) == set(ALERTS)


def test_the_reasons_that_rules_and_dashboard_look_for_are_there() -> None:
    known = {*map(str, Note), *map(str, Reason)}
    texts = [RULES.read_text(), *(path.read_text() for path in (REPOSITORY / "docker").rglob("*.json"))]
    found = {reason for text in texts for reason in re.findall(r'reason=\\?"(\w+)\\?"', text)}
    assert found
    assert found <= known


def test_every_note_is_explained() -> None:
    assert {note for note in Note if f"`{note}`" not in OPERATIONS} == set()


def test_the_dashboard_is_read_as_json_and_each_panel_asks_something() -> None:
    (path,) = (REPOSITORY / "docker" / "grafana" / "dashboards").glob("*.json")
    dashboard = json.loads(path.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["expr"] for target in panel["targets"]), panel["title"]


def test_prometheus_can_parse_each_question_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    (path,) = (REPOSITORY / "docker" / "grafana" / "dashboards").glob("*.json")
    dashboard = json.loads(path.read_text())
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = [
        {"record": f"asked:{number}", "expr": question.replace("$__rate_interval", "1m")}
        for number, question in enumerate(questions)
    ]
    written = tmp_path / "questions.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    run(promtool, "check", "rules", written)
