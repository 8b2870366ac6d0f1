<?php

namespace Acme\Models;

use App\Models\Tenant;

/** What that other application calls a tenant. */
class Workspace extends Tenant
{
    protected $table = 'tenants';
}
