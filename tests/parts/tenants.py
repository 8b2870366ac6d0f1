"""Tenants in a database that has its tables."""

import uuid
from collections.abc import Iterable

import asyncpg


async def add_tenants(database_url: str, ids: Iterable[str]) -> None:
    """Add tenants with these ids."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = [(uuid.UUID(tenant), f"tenant {number}") for number, tenant in enumerate(ids)]
        await connection.executemany("insert into tenants (id, name) values ($1, $2)", rows)
    finally:
        await connection.close()
