<?php

namespace Acme\Jobs;

use App\Jobs\ProcessMetricSubmission;

/** The ingestion job of another application. */
class UploadMetrics extends ProcessMetricSubmission
{
}
