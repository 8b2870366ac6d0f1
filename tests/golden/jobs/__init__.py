"""The job of ``laravel-job.json`` as each version of Laravel, and Horizon, wrote it; uuid, id and times set.

``laravel-13-morph.json``: with ``ModelIdentifier::useMorphMap()``. ``horizon-5.json``: by Horizon 5.29 on
Laravel 11.
"""

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
