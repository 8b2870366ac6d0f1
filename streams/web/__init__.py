"""The web pages of the worker and of ingest."""
