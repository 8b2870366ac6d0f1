"""The ingestion job for those who run no Laravel: what stands behind ``metric-streams ingest``."""
