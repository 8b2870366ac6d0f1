"""Ingress alone, MQTT to Kafka: what it carries a second, and its CPU a message, by MQTT transport.

Runs the worker's own ingress in a process without refine and handoff (``benchmarks/ingress_runner.py``), from
a real Mosquitto into a real Kafka, until the last PUBACK. Twice for each transport: ``stored``, where all
messages wait in the session, so that nothing but Mosquitto, Kafka and ingress is at work; and ``live``, with
the load beside it. Left out: start and connection, and what the rest of a worker adds to its event loop.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, get_args

from benchmarks.generator import Load, finish, generate, start
from benchmarks.report import report, say
from benchmarks.stack import Stack, add_settings, given_settings, stack
from streams.settings import Settings

TIMEOUT_S = 300
FIRST_THAT_FITS = "auto"


def main(arguments: list[str]) -> None:
    """Print one line of JSON with the figures of each transport."""
    parser = argparse.ArgumentParser(prog="./dev bench ingress", description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000, help="to publish (%(default)s)")
    parser.add_argument("--transport", choices=transports(), action="append", help="this one alone")
    add_settings(parser)
    options = parser.parse_args(arguments)
    settings = given_settings(options)
    figures: dict[str, object] = {}
    with stack() as parts:
        for transport in options.transport or transports():
            how = {"MQTT_TRANSPORT": transport, **settings}
            figures[transport] = {
                "stored": _stored(parts, how, options.messages),
                "live": _live(parts, how, options.messages),
            }
    report("ingress", {"set": settings, "messages": options.messages, **figures})


def transports() -> list[str]:
    """Return the transports that the settings know, by name."""
    setting = Settings.model_fields.get("mqtt_transport")
    known = get_args(setting.annotation) if setting else ("aiomqtt",)
    return [name for name in known if name != FIRST_THAT_FITS]


def _stored(parts: Stack, how: Mapping[str, str], messages: int) -> dict[str, Any]:
    """Let all messages wait in the session of an ingress that is away, and then let it come."""
    with parts.run(**how) as run, say(f"{how['MQTT_TRANSPORT']}, {messages:,} messages stored"):
        _carry(run.environment, 0)
        generate(Load(run.mosquitto.port, messages))
        return _carry(run.environment, messages)


def _live(parts: Stack, how: Mapping[str, str], messages: int) -> dict[str, Any]:
    """Publish while ingress is there."""
    with parts.run(**how) as run, say(f"{how['MQTT_TRANSPORT']}, {messages:,} messages live"):
        _carry(run.environment, 0)
        load = start(Load(run.mosquitto.port, messages))
        carried = _carry(run.environment, messages)
        return {**carried, "generator": finish(load)}


def _carry(environment: Mapping[str, str], messages: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ingress_runner", str(messages)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S
    )
    carried: dict[str, Any] = json.loads(done.stdout)
    return carried
