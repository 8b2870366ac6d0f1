<?php

namespace App\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Queue\InteractsWithQueue;

/** Some other job of the application, which is not for ingest to run. */
class SendInvoice implements ShouldQueue
{
    use InteractsWithQueue, Queueable;

    public function handle(): void
    {
    }
}
