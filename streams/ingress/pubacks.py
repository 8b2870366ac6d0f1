"""Which messages may be acknowledged to the MQTT broker: in the order received, once Kafka has them. Pure.

`streams.ingress.flow.Flow` tells it what came and what Kafka has taken, and sends a PUBACK for each token
that this sets free, on the connection that the message came on.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class InOrderAcks(Generic[T]):
    """Releases tokens in the order in which they came, each only when all before it are durable.

    MQTT (4.6 of both 3.1.1 and 5) asks for acknowledgements in the order of the messages, but chunks of
    different partitions become durable in any order. There is one ticket for a chunk, not one for a message:
    it knows how many tokens had come before the chunk began. Of the chunks that are not durable, the one that
    began first holds the oldest token that is not; so the tokens before its beginning are free.
    """

    def __init__(self) -> None:
        self._tokens: list[T] = []
        self._released = 0
        self._tickets: deque[Ticket] = deque()

    def __len__(self) -> int:
        return len(self._tokens)

    def begin(self) -> "Ticket":
        """Begin a chunk: tokens that come from now on wait until it is durable, too."""
        ticket = Ticket(self._released + len(self._tokens))
        self._tickets.append(ticket)
        return ticket

    def received(self, token: T) -> None:
        """Take a message's place in the order; the chunk that it is in has begun before."""
        self._tokens.append(token)

    def durable(self, ticket: "Ticket") -> list[T]:
        """Note that a chunk is durable; return the tokens that this sets free, in order."""
        ticket.durable = True
        while self._tickets and self._tickets[0].durable:
            self._tickets.popleft()
        return self.free()

    def free(self) -> list[T]:
        """Return the tokens that wait for no chunk, in order: each is returned once."""
        tokens = self._tokens
        count = self._tickets[0].before - self._released if self._tickets else len(tokens)
        self._released += count
        free = tokens[:count]
        del tokens[:count]
        return free


@dataclass(slots=True, eq=False)
class Ticket:
    """A chunk's place among those whose messages are to be acknowledged."""

    before: int
    """How many tokens had come when it began, since the first of all."""
    durable: bool = False
    arrived_ns: int = 0
    """When the chunk's oldest message came, Unix time in nanoseconds."""
