"""The ingestion job for those who run no Laravel: what stands behind ``faust -A streams ingest``."""
