"""All parts of the pipeline on this machine, started at once: the servers, the worker and ingest."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self
from uuid import UUID

import asyncpg

from streams.database.schema import apply_schema
from streams.database.tenant_admin import add_tenant
from streams.demo.parts import MqttBroker, Postgres, Redis, Tansu, mqtt_broker, unprivileged_user
from streams.demo.ports import free_ports
from streams.demo.services import IngestPart, WorkerPart
from streams.demo.stack import Stack
from streams.provision.files import new_client_id
from streams.settings import Settings


class Pipeline:
    """The parts, each with a directory and a port of its own.

    Args:
        directory: where theirs are made.
        ports: one for each.

    Attributes:
        environment: the project's settings for these parts, as an environment.
    """

    def __init__(self, directory: Path, ports: list[int]) -> None:
        user = unprivileged_user() if os.geteuid() == 0 else None
        self.kafka = Tansu(directory / "kafka", ports[0])
        self.redis = Redis(directory / "redis", ports[1])
        self.mqtt: MqttBroker = mqtt_broker(directory / "mqtt", ports[2])
        self.postgres = Postgres(directory / "postgres", ports[3], user)
        self.environment: Mapping[str, str] = {
            "BROKER_URL": self.kafka.url,
            "PRODUCER_IDEMPOTENCE": "false",  # Tansu has no InitProducerId
            "CONSUMER_SESSION_S": "2",  # Tansu lets a new group wait for half of it
            "REDIS_URL": self.redis.url,
            "MQTT_URL": self.mqtt.url,
            # The broker asks for no login, and goes with the run: an id that nobody guesses costs nothing.
            "MQTT_CLIENT_ID": new_client_id(),
            "DATABASE_URL": self.postgres.url,
            "WEB_PORT": str(ports[4]),
            "INGEST_WEB_PORT": str(ports[5]),
        }
        self.worker = WorkerPart(directory / "worker", ports[4], self.environment)
        self.ingest = IngestPart(directory / "ingest", ports[5], self.environment)

    @classmethod
    async def start(cls, stack: Stack, tenants: Mapping[UUID, str]) -> Self:
        """Start everything, with these tenants in the database; return once all of it is ready.

        Raises:
            PartFailed: if a part does not start, or ends meanwhile.
        """
        parts = cls(stack.directory, free_ports(6))
        await stack.unless_a_part_dies(
            stack.start_together(
                parts._start_carrying(stack),
                stack.start(parts.redis),
                stack.start(parts.mqtt),
                parts._start_storing(stack, tenants),
            )
        )
        return parts

    @cached_property
    def settings(self) -> Settings:
        """The project's settings for these parts."""
        return Settings.from_mapping(self.environment)

    async def _start_carrying(self, stack: Stack) -> None:
        """Start Kafka and the worker, which takes longest: its group forms while the others start."""
        await stack.start(self.kafka)
        await stack.start(self.worker)

    async def _start_storing(self, stack: Stack, tenants: Mapping[UUID, str]) -> None:
        """Start PostgreSQL, make the tables and the tenants, and start ingest on them."""
        await stack.start(self.postgres)
        connection = await asyncpg.connect(self.postgres.url)
        try:
            await apply_schema(connection)
            for tenant_id, name in tenants.items():
                await add_tenant(connection, name, tenant_id)
        finally:
            await connection.close()
        await stack.start(self.ingest)
