"""The job of ``laravel-job.json`` as each version of Laravel, and Horizon, wrote it; uuid, id and times set.

``laravel-13-morph.json``: with ``ModelIdentifier::useMorphMap()``. ``horizon-5.json``: by Horizon 5.29 on
Laravel 11.
"""

from streams.laravel.job import JobMetric

TENANT = "11111111-1111-4111-8111-111111111111"
UUID = "013e00c0-a519-4bbd-b8fd-4d6a52ae375e"
JOB_ID = "1ElK4XaPq6OzF11BHbfU1j8MKqwDce8h"
METRICS = [
    JobMetric(
        agent_id="a1",
        metric_name="cpu.usage.percent",
        value=42.17,
        timestamp="2026-11-23 14:00:00.123456",
        dedupe_id="d-1",
    ),
    JobMetric(agent_id="a1", metric_name="cpu", value=1, timestamp="2026-11-23 14:00:00", dedupe_id=None),
]

PAYLOADS = (
    "laravel-job.json",  # 8.83
    "jobs/laravel-9.json",
    "jobs/laravel-10.json",
    "jobs/laravel-11.json",
    "jobs/laravel-12.json",
    "jobs/laravel-13.json",
    "jobs/laravel-13-morph.json",
    "jobs/horizon-5.json",
)
