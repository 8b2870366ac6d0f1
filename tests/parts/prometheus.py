"""Prometheus with the shipped alerts, on a clock that runs faster: what takes minutes takes seconds."""

import json
import re
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tests.parts.process import Part, find_program

ALERTS = Path(__file__).parents[2] / "docker" / "prometheus" / "alerts.yml"
FASTER = 30
UNIT_S = {"s": 1, "m": 60, "h": 3_600}
DURATION = re.compile(r"(?<=\[)(\d+)([smh])(?=\])")
AGE = re.compile(r"(?<=_still_seconds > )\d+")


class Prometheus(Part):
    """Asks each target every second, and evaluates the alerts as often.

    Args:
        targets: by the name of the job, where its processes serve ``/metrics``: ``http://127.0.0.1:6066``.
    """

    name = "prometheus"

    def __init__(self, targets: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._program = find_program("prometheus", package="prometheus")
        self._targets = targets

    def is_ready(self) -> bool:
        """Tell whether it answers queries."""
        with suppress(OSError):
            self._ask("/-/ready")
            return True
        return False

    def firing(self) -> set[str]:
        """Return the alerts that fire now, each with the part that it is about: ``PartDown redis``."""
        alerts = json.loads(self._ask("/api/v1/alerts"))["data"]["alerts"]
        return {_shown(alert["labels"]) for alert in alerts if alert["state"] == "firing"}

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=3) as response:
            answer: bytes = response.read()
        return answer

    def _argv(self) -> Sequence[str]:
        rules, config = self.directory / "alerts.yml", self.directory / "prometheus.yml"
        rules.write_text(yaml.safe_dump(faster(yaml.safe_load(ALERTS.read_text()))))
        config.write_text(yaml.safe_dump(self._config(rules)))
        return [
            str(self._program),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self.host}:{self.port}",
        ]

    def _config(self, rules: Path) -> dict[str, Any]:
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [{"targets": [url.removeprefix("http://") for url in urls]}],
                }
                for job, urls in self._targets.items()
            ],
        }


def faster(rules: dict[str, Any]) -> dict[str, Any]:
    """Return rules whose times are a thirtieth of what they are."""
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = DURATION.sub(lambda found: _shorter(*found.groups()), rule["expr"])
        rule["expr"] = AGE.sub(lambda found: str(int(found[0]) // FASTER), rule["expr"])
        if "for" in rule:
            rule["for"] = _shorter(rule["for"][:-1], rule["for"][-1])
    return rules


def _shorter(number: str, unit: str) -> str:
    return f"{int(number) * UNIT_S[unit] // FASTER}s"


def _shown(labels: Mapping[str, str]) -> str:
    return f"{labels['alertname'].removeprefix('MetricStreams')} {labels.get('part', '')}".strip()
