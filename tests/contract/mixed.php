<?php

/**
 * Laravel beside ingest on one queue: php mixed.php ACTION
 *
 * dispatch ID WAIT   dispatch a job for each line of standard input, a JSON array of metrics; a job that failed is
 *                    tried again after WAIT seconds
 * work BLOCK         run jobs until SIGTERM, as queue:work does; with BLOCK above 0 wait so many seconds at a time
 *                    on the list of notices, which is the setting block_for, otherwise look every 50 ms
 */

use App\Jobs\ProcessMetricSubmission;
use App\Models\Tenant;
use Illuminate\Contracts\Bus\Dispatcher;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;

require __DIR__.'/bootstrap.php';

function dispatch_each(Dispatcher $bus, Tenant $tenant, int $wait_s): void
{
    while (($line = fgets(STDIN)) !== false) {
        $job = new ProcessMetricSubmission($tenant, json_decode($line, true, 512, JSON_THROW_ON_ERROR));
        $job->backoff = [$wait_s];
        $bus->dispatch($job);
    }
}

$app = boot();
switch ($argv[1]) {
    case 'dispatch':
        dispatch_each($app->make(Dispatcher::class), Tenant::findOrFail($argv[2]), (int) $argv[3]);
        break;
    case 'work':
        $app['config']->set('queue.connections.redis.block_for', ((int) $argv[2]) ?: null);
        $options = new WorkerOptions('default', 0, 512, 60, 0.05, 1);
        exit($app->make(Worker::class)->daemon('redis', getenv('QUEUE_NAME'), $options));
    default:
        fwrite(STDERR, "unknown action {$argv[1]}\n");
        exit(2);
}
