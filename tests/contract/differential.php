<?php

/**
 * Runs jobs for those who compare: a JSON array a line on standard input, a JSON object a line in answer.
 *
 * ["push", PAYLOAD]        what somebody else wrote goes to the queue as it is
 * ["dispatch", [METRIC…]]  Laravel writes the job; what a metric lacks stays out of its array
 *
 * Either way Laravel's queue takes the job, PHP makes it again, and it runs: the statements on a connection that
 * only pretends, the publication for real. A value is told with its type: "s:text", "i:1", the bits of a double
 * as "d:3ff0000000000000", null for null.
 */

use App\Jobs\ProcessMetricSubmission;
use App\Models\Tenant;
use Illuminate\Contracts\Bus\Dispatcher;
use Illuminate\Contracts\Queue\Job;
use Illuminate\Database\Capsule\Manager as DB;
use Illuminate\Support\Carbon;

require __DIR__.'/bootstrap.php';
require __DIR__.'/migrate.php';

function told($value): ?string
{
    switch (gettype($value)) {
        case 'NULL':
            return null;
        case 'string':
            return "s:$value";
        case 'integer':
            return "i:$value";
        case 'double':
            return 'd:'.bin2hex(pack('E', $value));
        default:
            throw new UnexpectedValueException(gettype($value));
    }
}

function untold(?string $told)
{
    if ($told === null) {
        return null;
    }
    $value = substr($told, 2);
    switch ($told[0]) {
        case 's':
            return $value;
        case 'i':
            return (int) $value;
        case 'd':
            return unpack('E', hex2bin($value))[1];
        default:
            throw new UnexpectedValueException($told);
    }
}

function each_of(callable $function, array $metrics): array
{
    return array_map(fn ($metric) => array_map($function, $metric), $metrics);
}

/** The rows of one statement, its bindings by the names of their columns. */
function rows_of(array $query): array
{
    preg_match('/^insert into "metrics_raw" \(([^)]+)\) values/', $query['query'], $found);
    $columns = explode(', ', str_replace('"', '', $found[1]));

    return array_map(
        fn ($row) => array_map('told', array_combine($columns, $row)),
        array_chunk($query['bindings'], count($columns))
    );
}

function run(Job $job): array
{
    $submission = unserialize($job->payload()['data']['command']);
    $written = ['upserts' => [], 'inserts' => []];
    foreach (DB::connection()->pretend(fn () => $submission->handle()) as $query) {
        $written[strpos($query['query'], 'on conflict') ? 'upserts' : 'inserts'] = rows_of($query);
    }
    $job->delete();

    return $written + [
        'uuid' => $job->uuid(),
        'id' => $job->getJobId(),
        'name' => $job->resolveName(),
        'attempts' => $job->attempts(),
        'max_tries' => $job->maxTries(),
        'backoff' => $job->backoff(),
        'tenant' => $submission->tenant->id,
        'metrics' => each_of('told', $submission->metrics),
        'raw' => $job->getRawBody(),
        'reserved' => $job->getReservedJob(),
    ];
}

$app = boot();
migrate(getenv('TENANT'));
$tenant = Tenant::findOrFail(getenv('TENANT'));
Carbon::setTestNow(Carbon::parse(getenv('TIME_OF_ALL_JOBS')));
$queue = $app->make('queue')->connection();
while (($line = fgets(STDIN)) !== false) {
    [$action, $argument] = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
    if ($action === 'push') {
        $queue->pushRaw($argument);
    } else {
        $metrics = each_of('untold', $argument);
        $app->make(Dispatcher::class)->dispatch(new ProcessMetricSubmission($tenant, $metrics));
    }
    echo json_encode(run($queue->pop()), JSON_THROW_ON_ERROR), PHP_EOL;
}
