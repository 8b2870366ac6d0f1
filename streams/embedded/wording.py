"""What ``./dev run`` says to the person who started it. Pure but for a look at PATH."""

import shutil
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

from streams.embedded.ledger import Ledger
from streams.embedded.pipeline import Pipeline
from streams.embedded.ports import HOST
from streams.embedded.stack import Stack
from streams.embedded.tally import Tally
from streams.models import Reason


def addresses(servers: Pipeline, stack: Stack, tenant: UUID) -> str:
    """Return where to look and how to send."""
    worker, ingest = servers.worker, servers.ingest
    return f"""
Look at
  statistics   {worker.url}   (health/ready)
  ingest       {ingest.url}   (health/ready, metrics)
  MQTT         {servers.mqtt.url}   (metrics/#, bridge/status)
  Kafka        {HOST}:{servers.kafka.port}   (metrics.raw, metrics.unique, metrics.rejected)
  Redis        {servers.redis.url}   (laravel_database_queues:default)
  PostgreSQL   {servers.postgres.url}   (tenants, metrics_raw)
  logs         {stack.log_path("worker")}, {stack.log_path("ingest")}, ...
Send a metric
  {example(servers.mqtt.port, tenant)}
A simulated fleet now sends 20 messages a second, some of them duplicates, corrections and malformed ones.
Ctrl+C ends it.
"""


def example(port: int, tenant: UUID) -> str:
    """Return a command that publishes one reading, with a program that is there."""
    message = f"-q 1 -t metrics/{tenant}/my-device/cpu.usage.percent -m '{{\"value\": 42.17}}'"
    if shutil.which("mosquitto_pub"):
        return f"mosquitto_pub -p {port} {message}"
    return f"{Path(sys.executable).with_name('amqtt_pub')} --url mqtt://{HOST}:{port} {message}"


def flow(second: int, sent: int, tally: Tally, rows: int, newly: Counter[Reason]) -> str:
    """Return the line of one second; `newly` holds what was rejected since the last one."""
    reasons = f" (+ {_reasons(newly)})" if newly else ""
    return (
        f"{second:>5} s   sent {sent:,}   raw {tally.messages:,}   unique {tally.readings:,}   "
        f"rows {rows:,}   duplicates {tally.dropped:,}   rejected {tally.rejected.total():,}{reasons}"
    )


def conclusion(ledger: Ledger) -> str:
    """Return the ledger for a person."""
    return (
        f"{ledger.sent:,} sent = {ledger.landed:,} landed + {ledger.rejected:,} rejected "
        f"+ {ledger.duplicates:,} duplicates{_wrong(ledger)}\n"
        f"{ledger.rows:,} rows, {ledger.superseded:,} readings superseded by a correction"
        f"{f', {ledger.others:,} messages of others' if ledger.others else ''}\n"
        f"rejected: {_reasons(ledger.by_reason) or 'none'}"
    )


def _wrong(ledger: Ledger) -> str:
    if ledger.adds_up:
        return ""
    return f", but {ledger.missing:,} missing, {ledger.doubled:,} doubled, {ledger.misjudged:,} misjudged"


def _reasons(counts: "Counter[Reason] | dict[str, int]") -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())
