<?php

namespace App\Jobs;

use App\Models\Tenant;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Database\Capsule\Manager as DB;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\SerializesModels;
use Illuminate\Support\Carbon;

/** The application's ingestion job: the same public properties, the same effects. */
class ProcessMetricSubmission implements ShouldQueue
{
    use InteractsWithQueue, Queueable, SerializesModels;

    public $tries = 5;

    public $backoff = [10, 30, 60];

    public $tenant;

    public $metrics;

    public function __construct(Tenant $tenant, array $metrics)
    {
        $this->tenant = $tenant;
        $this->metrics = $metrics;
    }

    public function handle(): void
    {
        $rows = array_map([$this, 'row'], $this->metrics);
        DB::connection()->transaction(function () use ($rows) {
            $this->upsert(array_filter($rows, fn ($row) => ! empty($row['dedupe_id'])));
            $this->insert(array_filter($rows, fn ($row) => empty($row['dedupe_id'])));
        });
        $this->publish($rows);
    }

    private function row(array $metric): array
    {
        return [
            'tenant_id' => $this->tenant->id,
            'agent_id' => $metric['agent_id'],
            'metric_name' => $metric['metric_name'],
            'value' => $metric['value'],
            'timestamp' => $metric['timestamp'] ?? Carbon::now()->format('Y-m-d H:i:s.u'),
            'dedupe_id' => $metric['dedupe_id'] ?? null,
        ];
    }

    private function upsert(array $rows): void
    {
        if ($rows) {
            DB::table('metrics_raw')->upsert(
                array_values($rows),
                ['tenant_id', 'dedupe_id'],
                ['agent_id', 'metric_name', 'value', 'timestamp']
            );
        }
    }

    private function insert(array $rows): void
    {
        if ($rows) {
            DB::table('metrics_raw')->insert(array_values($rows));
        }
    }

    private function publish(array $rows): void
    {
        $fields = array_flip(['agent_id', 'metric_name', 'value', 'timestamp']);
        $metrics = array_map(fn ($row) => array_intersect_key($row, $fields), $rows);
        app_redis()->publish("tenant.{$this->tenant->id}.metrics", json_encode($metrics));
    }
}
