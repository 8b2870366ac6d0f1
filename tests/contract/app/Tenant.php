<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

/** The application's tenant, as far as the job needs it. */
class Tenant extends Model
{
    public $incrementing = false;

    protected $keyType = 'string';

    protected $guarded = [];

    protected $casts = ['settings' => 'array'];
}
