"""What was refused of late: a few examples of each reason, and the tenants that do not exist. Pure, bounded.

Refine tells of a chunk's rejections once it has decided on them; the dashboard shows them. All of them, as
they came, are on ``metrics.rejected``.
"""

from collections import Counter, deque
from collections.abc import Sequence

import msgspec

from streams.browse.messages import payload_text
from streams.dashboard.busiest import Busiest
from streams.ingress.chunking import tenant_level
from streams.models import Message, Origin, Reason
from streams.wire.decision import Refusal

EXAMPLES = 3
SHOWN_CHARACTERS = 160


class Example(msgspec.Struct, frozen=True):
    """One rejected message, shortened."""

    at: float
    """Unix time in seconds of the decision."""
    origin: str
    """Its coordinate: partition, offset and index, as the commands take it."""
    topic: str
    payload: str
    detail: str


class Refused:
    """What was refused of late.

    Attributes:
        unknown_tenants: those that messages named and that do not exist.
    """

    def __init__(self) -> None:
        self.unknown_tenants = Busiest(noted=4_000)
        self._examples: dict[str, deque[Example]] = {}

    def note(
        self, origin: Origin, messages: Sequence[Message], refusals: Sequence[Refusal], at: float
    ) -> None:
        """Take a chunk's rejections in: of each reason the last one as an example.

        Args:
            origin: the chunk's.
            messages: the chunk's, all of them.
            refusals: at least one.
            at: Unix time in seconds of the decision.
        """
        last = {refusal.reason: refusal for refusal in refusals}
        for reason, refusal in last.items():
            examples = self._examples.setdefault(reason, deque(maxlen=EXAMPLES))
            examples.appendleft(_example(origin, messages[refusal.index], refusal, at))
        if Reason.TENANT_UNKNOWN in last:
            self.unknown_tenants.note(
                Counter(
                    tenant_level(messages[refusal.index].topic)
                    for refusal in refusals
                    if refusal.reason == Reason.TENANT_UNKNOWN
                )
            )

    def examples(self) -> dict[str, list[Example]]:
        """Return the examples by reason, the latest first."""
        return {reason: list(examples) for reason, examples in self._examples.items()}


def _example(origin: Origin, message: Message, refusal: Refusal, at: float) -> Example:
    return Example(
        at,
        f"{origin.partition}-{origin.offset}-{refusal.index}",
        shortened(message.topic),
        shortened(_text(message)),
        shortened(refusal.detail),
    )


def _text(message: Message) -> str:
    if message.payload is not None:
        return message.payload
    beginning = (message.payload_base64 or "")[: 4 * SHOWN_CHARACTERS]  # a multiple of four is whole bytes
    return payload_text(Message(message.topic, None, beginning))


def shortened(text: str) -> str:
    """Return the beginning of a text, with a sign where something is missing."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
