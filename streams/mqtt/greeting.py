"""On which terms a broker lets us in: what its CONNACK says (MQTT 5, 3.2.2.3), and whether that will do."""

from dataclasses import dataclass

from streams.mqtt.transport import MqttSession

SMALL_PACKET_BYTES = 32
"""What our own packets need beside the names in them: header, packet id, properties and the status."""


@dataclass(frozen=True)
class Greeting:
    """What a broker offers; in MQTT 3.1.1, which has no words for it, everything."""

    session_present: bool = False
    max_qos: int = 2
    retains: bool = True
    wildcards: bool = True
    shares: bool = True
    subscription_ids: bool = True
    session_expiry_s: int | None = None
    """Where the broker keeps the session for another time than was asked for."""
    max_packet_bytes: int | None = None

    def obstacle(self, session: MqttSession) -> str | None:
        """Return why we cannot work on these terms, with the mend; None if we can."""
        # Nothing tells the broker at QoS 0 that Kafka has a message, so nothing would be kept during an
        # outage.
        if self.max_qos == 0:
            return "the broker offers QoS 0 alone, which may lose messages; let it offer QoS 1"
        if not self.shares and session.is_shared:
            return "the broker has no shared subscriptions; unset MQTT_SHARE_GROUP: one worker carries all"
        if not self.wildcards and session.has_wildcards:
            return (
                f"the broker has no wildcard subscriptions, and MQTT_TOPIC_FILTER={session.topic_filter} "
                "needs one; allow them there"
            )
        needed = SMALL_PACKET_BYTES + len(max(session.subscription, session.status_topic, key=len).encode())
        # What we send beyond it would end each connection (MQTT 5, 3.2.2.3.6), with a code that says little.
        if self.max_packet_bytes is not None and self.max_packet_bytes < needed:
            return (
                f"the broker takes packets of {self.max_packet_bytes} bytes at most, and ours have up to "
                f"{needed}; raise its limit"
            )
        return None

    def brief_session(self, asked_s: int) -> str | None:
        """Return what is to be said of a session that the broker keeps for less time than was asked for."""
        kept_s = self.session_expiry_s
        if kept_s is None or kept_s >= asked_s:
            return None
        if kept_s == 0:
            return (
                "the MQTT broker keeps no session for us: what devices publish while ingress is not "
                "connected is lost. Let it keep sessions for MQTT_SESSION_EXPIRY_S"
            )
        return (
            f"the MQTT broker keeps our session for {kept_s} s while we are away, not for the {asked_s} s of "
            "MQTT_SESSION_EXPIRY_S: what comes during a longer absence is lost"
        )
