<?php

use App\Models\Tenant;
use Illuminate\Database\Capsule\Manager as DB;
use Illuminate\Database\Schema\Blueprint;

/** Creates the application's tables as its migrations do, and a tenant where one is named. */
function migrate(?string $tenant): void
{
    $schema = DB::schema();
    $schema->create('tenants', function (Blueprint $table) {
        $table->uuid('id')->primary();
        $table->string('name');
        $table->json('settings')->nullable();
        $table->timestamps();
    });
    $schema->create('metrics_raw', function (Blueprint $table) {
        $table->id();
        $table->foreignUuid('tenant_id')->constrained()->cascadeOnDelete();
        $table->string('agent_id', 64);
        $table->string('metric_name', 64);
        $table->double('value', 16, 4);
        $table->timestamp('timestamp', 6);
        $table->string('dedupe_id', 128)->nullable();
        $table->unique(['tenant_id', 'dedupe_id']);
        $table->index(['tenant_id', 'metric_name', 'timestamp']);
    });
    $schema->create('failed_jobs', function (Blueprint $table) {
        $table->id();
        $table->string('uuid')->unique();
        $table->text('connection');
        $table->text('queue');
        $table->longText('payload');
        $table->longText('exception');
        $table->timestamp('failed_at')->useCurrent();
    });
    if ($tenant !== null) {
        Tenant::create(['id' => $tenant, 'name' => 'of the tests', 'settings' => []]);
    }
}
