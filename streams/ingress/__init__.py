"""MQTT → ``metrics.raw``: what flows from a connection into chunks, and when it is acknowledged."""
