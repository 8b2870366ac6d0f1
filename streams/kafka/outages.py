"""What a Kafka that is away is called, whoever meets it."""

from aiokafka.errors import KafkaConnectionError

from streams.config.urls import shown_url
from streams.errors import Outage, worded
from streams.settings import Settings


def as_outage(settings: Settings, error: BaseException) -> Outage:
    """Return an error of aiokafka's, or a timeout, as an outage that names the address.

    >>> as_outage(Settings(), TimeoutError()).detail
    'kafka://localhost:9092 gives no answer in time'
    """
    where = shown_url(settings.broker_url)
    if isinstance(error, KafkaConnectionError):
        return Outage("kafka", f"{where} gives no answer (BROKER_URL says where it is)")
    if isinstance(error, TimeoutError):
        return Outage("kafka", f"{where} gives no answer in time")
    return Outage("kafka", f"{where}: {worded(error)}")
