"""The Redis job queue."""
