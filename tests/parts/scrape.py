"""A page of metrics, fetched and read as Prometheus does."""

import asyncio
import urllib.request
from dataclasses import dataclass
from typing import Self

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """What the page said."""

    families: list[Metric]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a page."""
        return cls(list(text_string_to_metric_families(text)))

    @classmethod
    async def of(cls, web_url: str, token: str = "") -> Self:
        """Fetch ``/metrics``."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{web_url}/metrics", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        with await asyncio.to_thread(urllib.request.urlopen, request, timeout=15) as answer:
            return cls.parse(answer.read().decode())

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample's value; None if there is no such sample."""
        found = self.values(name, **labels)
        assert len(found) <= 1, f"{name} {labels} is ambiguous"
        return found[0] if found else None

    def values(self, name: str, **labels: str) -> list[float]:
        """Return the values of all samples of this name that have these labels."""
        return [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == f"metric_streams_{name}" and labels.items() <= sample.labels.items()
        ]

    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Return the names and labels of all samples."""
        return {
            (sample.name, frozenset(sample.labels.items()))
            for family in self.families
            for sample in family.samples
        }

    def names(self) -> set[str]:
        """Return the names of all samples."""
        return {name for name, _ in self.series()}
