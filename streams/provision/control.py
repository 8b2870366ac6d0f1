"""Asks a running broker's dynamic security, over the topics that it has for that."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiomqtt

from streams.errors import MetricStreamsError, Outage
from streams.mqtt.address import Address
from streams.mqtt.aiomqtt_connection import code_of
from streams.mqtt.answers import unreached
from streams.mqtt.options import aiomqtt_options
from streams.provision.accounts import CONTROL, RESPONSE, Json

ANSWER_LIMIT_S = 10.0
NOT_AUTHORIZED = 0x87  # MQTT 5, 3.2.2.2
LOGIN = "MQTT_ADMIN_USERNAME and MQTT_ADMIN_PASSWORD"
NO_PLUGIN = (
    "the broker does not answer on $CONTROL/dynamic-security: is its plugin loaded (docker/secure), and is "
    "MQTT_ADMIN_USERNAME its administrator?"
)


class Control:
    """A connection of the administrator."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def ask(self, commands: Sequence[Json]) -> list[Json]:
        """Send commands, and return the answer to each.

        Raises:
            MetricStreamsError: one of them was refused; those before it were done.
            Outage: no answer.
        """
        # The broker answers all at once, and hands back what tells our answer from another's.
        mark = secrets.token_hex(8)
        marked = [{**command, "correlationData": mark} for command in commands]
        try:
            await self._client.publish(CONTROL, json.dumps({"commands": marked}), qos=1)
            answers = await asyncio.wait_for(self._answers(mark), ANSWER_LIMIT_S)
        except (aiomqtt.MqttError, TimeoutError) as error:  # it ends the connection of who may not ask
            raise Outage("mqtt", NO_PLUGIN) from error
        for answer in answers:
            if "error" in answer:
                raise MetricStreamsError(_refusal(answer, commands))
        return answers

    async def _answers(self, mark: str) -> list[Json]:
        async for message in self._client.messages:
            answers: list[Json] = json.loads(bytes(message.payload))["responses"]
            if answers and answers[0].get("correlationData") == mark:
                return answers
        raise Outage("mqtt", "the connection is lost")


def _refusal(answer: Json, commands: Sequence[Json]) -> str:
    """Say what the broker refuses; whose account it is about stands in the first command."""
    whom = commands[0].get("username") or commands[0].get("rolename")
    error = str(answer["error"])
    if error.endswith("already exists"):
        return f"{whom} has an account already: renew gives it another password, remove takes it away"
    if error.endswith("not found"):
        return f"{whom} has no account: add gives it one"
    return f"the broker refuses {answer['command']}: {error}"


@asynccontextmanager
async def control(address: Address) -> AsyncIterator[Control]:
    """Yield a connection of the administrator.

    Raises:
        Outage: the broker is not reached, or does not let us in.
    """
    try:
        async with aiomqtt.Client(
            identifier=f"metric-streams-admin-{secrets.token_hex(4)}",
            timeout=ANSWER_LIMIT_S,
            **aiomqtt_options(address),
        ) as client:
            await client.subscribe(RESPONSE, qos=1)
            yield Control(client)
    except aiomqtt.MqttError as error:
        mend = f"; look at {LOGIN}" if code_of(error) == NOT_AUTHORIZED else ""
        raise Outage("mqtt", f"{address}: {unreached(error, address)}{mend}") from error
