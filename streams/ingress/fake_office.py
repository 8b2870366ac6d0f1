"""An office without a group: for tests without a server."""

import asyncio

from streams.errors import Outage
from streams.ingress.terms import LeaderTerm
from streams.wire.headers import TERM


class FakeTermSource:
    """Says that the one who asks leads, under a term that a test chooses.

    Attributes:
        term: of the next connection; 0 for none.
        had_session: whether the log shows a session.
        subscriptions: those that the log shows.
        refusal: an outage to raise; None lets lead.
    """

    def __init__(self, term: int = 1, *, had_session: bool = False) -> None:
        self.term = term
        self.had_session = had_session
        self.subscriptions: frozenset[str] = frozenset()
        self.refusal: Outage | None = None

    async def take(self) -> LeaderTerm:
        """Answer as the test says."""
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        headers = ((TERM, b"%d" % self.term),) if self.term else ()
        return LeaderTerm(headers, self.had_session, self.subscriptions)
