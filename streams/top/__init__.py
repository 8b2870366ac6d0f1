"""What flows, stage by stage, by the ``/metrics`` pages of the workers and of ingest."""
