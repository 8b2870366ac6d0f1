<?php

/**
 * The application's side of the tests. Standard input holds an action a line, as JSON: [name, argument, now]. Each
 * is answered with a line of JSON. `now`, where it is no null, is the Unix time that Laravel believes in.
 *
 * migrate TENANT    create the tables, and a tenant if there is an argument
 * execute SQL       run a statement
 * dispatch JOB      dispatch ProcessMetricSubmission: {"tenant": ID, "metrics": […]}
 * dispatch-other    dispatch a job of another class
 * work N            run the next job, N times
 * reserve           take a job and die
 * tables            return metrics_raw and failed_jobs
 */

use App\Jobs\ProcessMetricSubmission;
use App\Jobs\SendInvoice;
use App\Models\Tenant;
use Illuminate\Container\Container;
use Illuminate\Contracts\Bus\Dispatcher;
use Illuminate\Database\Capsule\Manager as DB;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;
use Illuminate\Support\Carbon;

require __DIR__.'/bootstrap.php';
require __DIR__.'/migrate.php';

function work(Worker $worker, int $jobs): void
{
    $options = new WorkerOptions('default', 0, 128, 60, 0, 1);
    for ($i = 0; $i < $jobs; $i++) {
        $worker->runNextJob('redis', getenv('QUEUE_NAME'), $options);
    }
}

function tables(): array
{
    return [
        'rows' => DB::table('metrics_raw')->orderBy('id')
            ->get(['tenant_id', 'agent_id', 'metric_name', 'value', 'timestamp', 'dedupe_id'])->all(),
        'failed' => DB::table('failed_jobs')->orderBy('id')
            ->get(['uuid', 'connection', 'queue', 'payload', 'exception'])->all(),
    ];
}

function act(Container $app, string $action, $argument)
{
    switch ($action) {
        case 'migrate':
            return migrate($argument);
        case 'execute':
            return DB::statement($argument);
        case 'dispatch':
            $job = new ProcessMetricSubmission(Tenant::findOrFail($argument['tenant']), $argument['metrics']);

            return $app->make(Dispatcher::class)->dispatch($job);
        case 'dispatch-other':
            return $app->make(Dispatcher::class)->dispatch(new SendInvoice);
        case 'work':
            return work($app->make(Worker::class), $argument);
        case 'reserve':
            $app->make('queue')->connection()->pop();
            exit(0);
        case 'tables':
            return tables();
        default:
            throw new InvalidArgumentException("unknown action $action");
    }
}

$app = boot();
while (($line = fgets(STDIN)) !== false) {
    [$action, $argument, $now] = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
    Carbon::setTestNow($now === null ? null : Carbon::createFromTimestampUTC($now));
    echo json_encode(act($app, $action, $argument), JSON_THROW_ON_ERROR)."\n";
}
