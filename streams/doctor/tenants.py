"""Looks for tenants that devices publish for and that the application does not know."""

from collections import Counter
from collections.abc import Iterable
from contextlib import aclosing
from time import time

from streams.browse.filters import Filter
from streams.browse.messages import TopicKind
from streams.browse.reader import Range, scan_messages
from streams.database.session import connected
from streams.database.tenant_admin import existing_tenants
from streams.doctor.finding import Finding, warning
from streams.errors import MetricStreamsError, Outage
from streams.models import Reason
from streams.settings import Settings

PART = "tenants"
LATELY_S, S_PER_MINUTE = 900.0, 60
NEWEST = 200
"""Records of each partition that are looked at: enough for examples, however many are rejected."""
SHOWN = 3


async def examine_tenants(settings: Settings) -> list[Finding]:
    """Look at what was rejected of late for want of its tenant.

    Raises:
        Outage: Kafka or PostgreSQL does not answer.
    """
    span = Range(since_ms=round((time() - LATELY_S) * 1_000), newest=NEWEST)
    counts: Counter[str] = Counter()
    wanted = Filter(reasons=[Reason.TENANT_UNKNOWN])
    try:
        async with aclosing(scan_messages(settings, TopicKind.REJECTED, wanted, span)) as messages:
            async for message in messages:
                counts[message.names[0]] += 1
    except Outage:
        raise
    except MetricStreamsError:  # there is no such topic, which has a line of its own
        return []
    async with connected(settings.database_url.get_secret_value()) as connection:
        for tenant in await existing_tenants(connection, counts):  # those that have been added since
            del counts[tenant]
    return list(of_unknown(counts))


def of_unknown(counts: Counter[str]) -> Iterable[Finding]:
    """Return what is to be said of tenants that do not exist, by the number of their messages."""
    if counts:
        named = ", ".join(f"{tenant} ({count:,})" for tenant, count in counts.most_common(SHOWN))
        more = f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else ""
        lately = f"in the last {LATELY_S / S_PER_MINUTE:g} minutes"
        seen = f"devices published for tenants that do not exist {lately}: {named}{more}"
        mend = "metric-streams tenants add NAME --id ID, then replay what was rejected; or stop the device"
        yield warning(PART, seen, mend)
