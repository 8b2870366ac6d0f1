<?php

/**
 * The application's side of the tests: php application.php ACTION [ARGUMENT]
 *
 * migrate [ID]     create the tables, and a tenant
 * dispatch         dispatch ProcessMetricSubmission: {"tenant": ID, "metrics": […]} on standard input
 * dispatch-other   dispatch a job of another class
 * work N           run the next job, N times
 * reserve          take a job and die
 * execute SQL      run a statement
 * tables           print metrics_raw and failed_jobs as JSON
 */

use App\Jobs\ProcessMetricSubmission;
use App\Jobs\SendInvoice;
use App\Models\Tenant;
use Illuminate\Contracts\Bus\Dispatcher;
use Illuminate\Database\Capsule\Manager as DB;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;

require __DIR__.'/bootstrap.php';
require __DIR__.'/migrate.php';

function dispatch_metrics(Dispatcher $bus): void
{
    $submission = json_decode(file_get_contents('php://stdin'), true, 512, JSON_THROW_ON_ERROR);
    $bus->dispatch(new ProcessMetricSubmission(Tenant::findOrFail($submission['tenant']), $submission['metrics']));
}

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

$app = boot();
switch ($argv[1]) {
    case 'migrate':
        migrate();
        if (isset($argv[2])) {
            Tenant::create(['id' => $argv[2], 'name' => 'of the tests', 'settings' => []]);
        }
        break;
    case 'dispatch':
        dispatch_metrics($app->make(Dispatcher::class));
        break;
    case 'dispatch-other':
        $app->make(Dispatcher::class)->dispatch(new SendInvoice);
        break;
    case 'work':
        work($app->make(Worker::class), (int) $argv[2]);
        break;
    case 'reserve':
        $app->make('queue')->connection()->pop();
        break;
    case 'execute':
        DB::statement($argv[2]);
        break;
    case 'tables':
        echo json_encode(tables(), JSON_THROW_ON_ERROR);
        break;
    default:
        fwrite(STDERR, "unknown action {$argv[1]}\n");
        exit(2);
}
