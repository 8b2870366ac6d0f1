"""MQTT transports behind one interface."""
