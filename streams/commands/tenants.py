"""``metric-streams tenants``: lists, adds and removes tenants."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import click
import msgspec
from faust.cli import argument, option

from streams.commands.base import PlainCommand, command
from streams.database.session import connected
from streams.database.tenant_admin import Tenant, add_tenant, list_tenants, remove_tenant
from streams.errors import BadArgument
from streams.logs.plain import plain


def shown(tenants: Sequence[Tenant]) -> str:
    """Return a table for a person."""
    lines = [f"{'id':36}  {'created (UTC)':19}  name"]
    for tenant in tenants:
        created = f"{tenant.created_at:%Y-%m-%d %H:%M:%S}" if tenant.created_at else "-"
        name = plain(tenant.name).replace("\n", r"\n")
        lines.append(f"{tenant.id!s:36}  {created:19}  {name}")
    return "\n".join(lines)


async def act(
    connection: asyncpg.Connection,
    action: str,
    subject: str | None,
    *,
    tenant_id: UUID | None,
    with_metrics: bool,
) -> Sequence[Tenant]:
    """Do what the command line asks and return the tenants to show.

    Raises:
        MetricStreamsError: it cannot be done; BadArgument where the command line is why.
    """
    if action == "add":
        if not subject:
            raise BadArgument("add needs a name: tenants add NAME")
        return [await add_tenant(connection, subject, tenant_id)]
    if action == "remove":
        await remove_tenant(connection, _uuid(subject), with_metrics=with_metrics)
        return []
    return await list_tenants(connection)


def _uuid(text: str | None) -> UUID:
    try:
        return UUID(text or "")
    except ValueError:
        raise BadArgument(f"remove needs a tenant's id, not {text!r}: tenants remove ID") from None


@command(
    argument("action", type=click.Choice(["list", "add", "remove"]), default="list"),
    argument("subject", metavar="[NAME|ID]", required=False),
    option("--id", "tenant_id", type=click.UUID, help="add: the id of the new tenant; default: a random one"),
    option("--with-metrics", is_flag=True, help="remove: also a tenant that has metrics, which are deleted"),
    option("--json", "as_json", is_flag=True, help="print JSON"),
)
async def tenants(
    self: PlainCommand,
    action: str,
    subject: str | None,
    *,
    tenant_id: UUID | None,
    with_metrics: bool,
    as_json: bool,
) -> None:
    """List the tenants, add one by NAME, or remove one by ID. Workers notice at once."""
    async with connected(self.settings.database_url.get_secret_value()) as connection:
        found = await act(connection, action, subject, tenant_id=tenant_id, with_metrics=with_metrics)
    if self.json or as_json:
        self.say(msgspec.json.encode(found).decode())
    elif action == "remove":
        self.say(f"removed {subject}")
    else:
        self.say(shown(found))
