"""What a Kafka that is away, or that does not let us in, is called, whoever meets it."""

import asyncio

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.config.logins import OAUTH
from streams.config.urls import shown_url
from streams.errors import DeliveryFailed, MetricStreamsError, Outage, worded
from streams.kafka.connection import connection_options
from streams.settings import Settings
from streams.tls import KAFKA, TlsFault, tls_fault

LOOK_LIMIT_S = 2.0
"""Of each step: a Kafka that hangs is told of within ten seconds, and this comes on top."""
SHUT_OUT = (KafkaConnectionError, NodeNotReadyError)
"""What aiokafka ends with where no server let it in; why, it only logs."""


async def as_outage(settings: Settings, error: BaseException) -> Outage:
    """Return an error of aiokafka's, or a timeout, as an outage that names the address.

    Where no server let aiokafka in, this knocks once more, and sees why.
    """
    if isinstance(error, SHUT_OUT):
        return await shut_out(settings)
    where = shown_url(settings.broker_url)
    if isinstance(error, TimeoutError):
        return Outage("kafka", f"{where} gives no answer in time")
    return Outage("kafka", f"{where}: {worded(error)}")


def not_taken(topic: str, why: object) -> DeliveryFailed:
    """Return a failed send as the outage that it is: Kafka did not take a record, so it is to be sent again.

    Args:
        topic: of the record.
        why: an error of aiokafka's or of ours, or a text.
    """
    if isinstance(why, DeliveryFailed):
        return why
    return DeliveryFailed(topic, str(why) if isinstance(why, str | MetricStreamsError) else repr(why))


async def shut_out(settings: Settings) -> Outage:
    """Return why no server lets us in; the first answer of one that is more than silence."""
    where = shown_url(settings.broker_url)
    told = await asyncio.gather(*(_knock(settings, server) for server in settings.bootstrap_servers))
    fault = next((each for each in told if each is not None), None)
    if fault is None:
        return Outage("kafka", f"{where} gives no answer (BROKER_URL says where it is)")
    return Outage("kafka", f"{where}: {fault}", seen=f"{where}: {fault.seen}", mend=fault.mend)


async def _knock(settings: Settings, server: str) -> TlsFault | None:
    """Return why a server does not let us in; None if it does, or is not there."""
    options = connection_options(settings)
    del options["bootstrap_servers"]
    host, _, port = server.rpartition(":")
    try:
        connection = await create_conn(
            host.strip("[]"),
            int(port),
            client_id=f"{settings.consumer_group}-look",
            request_timeout_ms=round(LOOK_LIMIT_S * 1_000),
            **options,
        )
    except (KafkaError, OSError, TimeoutError) as error:
        return _fault(settings, error)
    try:
        return await _let_in(settings, connection)
    finally:
        await asyncio.wait([connection.close()])


async def _let_in(settings: Settings, connection: AIOKafkaConnection) -> TlsFault | None:
    """Ask a connection what only one that is let in may ask."""
    try:
        answer = await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError) as error:
        return _fault(settings, error)
    if not answer.brokers and settings.kafka_sasl_mechanism == OAUTH:
        # Kafka says so in an answer that aiokafka takes for a welcome (RFC 7628, 3.2.3).
        return TlsFault("it does not take the token", _login_mend(settings))
    return None


def _fault(settings: Settings, error: BaseException) -> TlsFault | None:
    if (tls := tls_fault(error, KAFKA)) is not None:
        return tls
    if isinstance(error, UnsupportedSaslMechanismError):
        mechanism = settings.kafka_sasl_mechanism
        return TlsFault(f"it knows no login by {mechanism}", "let KAFKA_SASL_MECHANISM name another")
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return TlsFault(str(error.args[0]), _login_mend(settings))
    if isinstance(error, KafkaConnectionError | ConnectionResetError | ConnectionAbortedError):
        seen = f"it closes the connection as soon as it is spoken to in {settings.kafka_security_protocol}"
        return TlsFault(seen, "let KAFKA_SECURITY_PROTOCOL be that of its listener")
    return None


def _login_mend(settings: Settings) -> str:
    if settings.kafka_sasl_mechanism == OAUTH:
        return "look at KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_COMMAND"
    return "look at KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
