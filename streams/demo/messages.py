"""What ``./dev run`` says to the person who started it, in 80 columns. Pure but for a look at PATH."""

import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import streams
from streams.demo.ledger import Ledger
from streams.demo.pipeline import Pipeline
from streams.demo.ports import HOST

WIDTH = 80
DEVICE = "me"
ROW = "select * from metrics_raw where agent_id = 'me'"
ROOT = Path(streams.__file__).parents[1]


def introduction(pipeline: Pipeline, directory: Path, tenant: UUID) -> str:
    """Return where to look, how to send a metric, and how to see its row."""
    worker, ingest = pipeline.worker.url, pipeline.ingest.url
    return f"""
Look at
  dashboard   {worker}dashboard/
  worker      {worker}
              {worker}health/ready
  ingest      {ingest}
              {ingest}health/ready
              {ingest}metrics
  MQTT        {pipeline.mqtt.url}  (metrics/#, bridge/status)
  Kafka       {HOST}:{pipeline.kafka.port}  (metrics.raw, .unique, .rejected)
  Redis       {pipeline.redis.url}
  PostgreSQL  {pipeline.postgres.url}
  logs        {directory}/*.log
Send a metric, in another terminal
{publish(pipeline.mqtt.port, tenant)}
See its row
  {dev()} psql -p {pipeline.postgres.port} -xc "{ROW}"
Look closer (also top, trace, explain, doctor, devices)
  {dev()} tail rejected

Simulated devices now send 20 messages a second; some of them are duplicates,
corrections or malformed. Ctrl+C ends it."""


def dev() -> str:
    """Return how our commands are called: by their script, where this is a checkout."""
    return "./dev" if (ROOT / "dev").exists() else "python -m streams.demo"


def publish(port: int, tenant: UUID) -> str:
    """Return a command that publishes one reading, with a program that is there."""
    if shutil.which("mosquitto_pub"):
        program = f"mosquitto_pub -p {port}"
    else:
        program = f"{shlex.quote(_beside_python('amqtt_pub'))} --url mqtt://{HOST}:{port}"
    return (
        f"  {program} -q 1 -m '{{\"value\": 42.17}}' \\\n    -t metrics/{tenant}/{DEVICE}/cpu.usage.percent"
    )


def _beside_python(name: str) -> str:
    program, here = Path(sys.executable).with_name(name), Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def conclusion(ledger: Ledger) -> str:
    """Return the ledger for a person."""
    return f"""
{_verdict(ledger)}
  sent        {ledger.sent:>9,}
  landed      {ledger.landed:>9,}  {_rows(ledger)}
  duplicates  {ledger.duplicates:>9,}
  rejected    {ledger.rejected:>9,}{_reasons(ledger.by_reason)}"""


def _verdict(ledger: Ledger) -> str:
    if ledger.adds_up:
        return "Every message that was sent is accounted for:"
    return (
        "The ledger does not add up:\n"
        f"  {ledger.missing:,} missing, {ledger.doubled:,} doubled, {ledger.misjudged:,} misjudged"
    )


def _rows(ledger: Ledger) -> str:
    corrected = f", {ledger.superseded:,} corrected later" if ledger.superseded else ""
    others = f"\n  of others   {ledger.others:>9,}" if ledger.others else ""
    return f"in {ledger.rows:,} rows{corrected}{others}"


def _reasons(counts: Mapping[str, int]) -> str:
    held = "\N{NO-BREAK SPACE}"  # so that a reason and its count stay on one line
    told = ", ".join(f"{reason}{held}{count:,}" for reason, count in counts.items())
    indent = " " * 25
    wrapped = textwrap.fill(told, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return f"  {wrapped.replace(held, ' ').strip()}" if told else ""
