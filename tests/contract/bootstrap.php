<?php

/** Boots Laravel's queue, Redis, database, events and bus in a container, without the framework around them. */

use Illuminate\Bus\Dispatcher as Bus;
use Illuminate\Config\Repository;
use Illuminate\Container\Container;
use Illuminate\Contracts\Bus\Dispatcher as BusContract;
use Illuminate\Contracts\Bus\QueueingDispatcher;
use Illuminate\Contracts\Container\Container as ContainerContract;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Events\Dispatcher as EventsContract;
use Illuminate\Database\Capsule\Manager as Capsule;
use Illuminate\Events\Dispatcher as Events;
use Illuminate\Queue\Connectors\RedisConnector;
use Illuminate\Queue\Events\JobFailed;
use Illuminate\Queue\Failed\DatabaseUuidFailedJobProvider;
use Illuminate\Queue\QueueManager;
use Illuminate\Queue\Worker;
use Illuminate\Redis\RedisManager;
use Illuminate\Support\Facades\Facade;

error_reporting(E_ALL & ~E_DEPRECATED); // 8.83 was written before PHP 8.2
date_default_timezone_set('UTC');

require_once 'Illuminate/autoload.php';
foreach (glob(__DIR__.'/app/*.php') as $file) {
    require_once $file;
}

/** The Redis connection, which in an application is the facade Redis. */
function app_redis(): Illuminate\Redis\Connections\Connection
{
    return Container::getInstance()->make('redis')->connection();
}

function configuration(): array
{
    return [
        'queue' => [
            'default' => 'redis',
            'connections' => ['redis' => [
                'driver' => 'redis',
                'connection' => 'default',
                'queue' => getenv('QUEUE_NAME'),
                'retry_after' => (int) getenv('QUEUE_RETRY_AFTER_S'),
                'block_for' => null,
            ]],
        ],
        'database' => [
            'default' => 'default',
            'connections' => ['default' => json_decode(getenv('DATABASE'), true)],
        ],
    ];
}

function redis_configuration(): array
{
    return [
        'options' => ['prefix' => getenv('QUEUE_PREFIX')],
        'default' => [
            'host' => getenv('REDIS_HOST'),
            'port' => (int) getenv('REDIS_PORT'),
            'database' => (int) getenv('REDIS_DATABASE'),
        ],
    ];
}

/** Reports what an application would write to its log. */
function exception_handler(): ExceptionHandler
{
    return new class implements ExceptionHandler
    {
        public function report(Throwable $e)
        {
            fwrite(STDERR, get_class($e).': '.$e->getMessage().PHP_EOL);
        }

        public function shouldReport(Throwable $e)
        {
            return true;
        }

        public function render($request, Throwable $e)
        {
            throw $e;
        }

        public function renderForConsole($output, Throwable $e)
        {
            throw $e;
        }
    };
}

function boot(): Container
{
    $app = new Container;
    Container::setInstance($app);
    Facade::setFacadeApplication($app);
    $app->instance(ContainerContract::class, $app);
    $app->instance('config', new Repository(configuration()));
    $app->instance('events', new Events($app));
    $app->alias('events', EventsContract::class);
    $app->instance('redis', new RedisManager($app, 'phpredis', redis_configuration()));

    $capsule = new Capsule($app);
    $capsule->setAsGlobal();
    $capsule->bootEloquent();

    $queues = new QueueManager($app);
    $queues->addConnector('redis', fn () => new RedisConnector($app['redis']));
    $app->instance('queue', $queues);
    $app->instance(BusContract::class, new Bus($app, fn ($connection = null) => $queues->connection($connection)));
    $app->alias(BusContract::class, QueueingDispatcher::class);
    $app->instance(Worker::class, new Worker($queues, $app['events'], exception_handler(), fn () => false));

    $failed = new DatabaseUuidFailedJobProvider($capsule->getDatabaseManager(), 'default', 'failed_jobs');
    $app['events']->listen(JobFailed::class, fn ($event) => $failed->log(
        $event->connectionName, $event->job->getQueue(), $event->job->getRawBody(), $event->exception
    ));

    return $app;
}
