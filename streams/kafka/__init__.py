"""Kafka: consumer, producer, positions, topics."""
