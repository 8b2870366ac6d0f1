<?php

/**
 * Says of each text what the application's HTTP route makes of it: a JSON array [TEXT] a line on standard input,
 * in answer whether Laravel's rule "date" takes it, and what Carbon reads, in UTC and to the microsecond, or null.
 */

use Illuminate\Support\Carbon;
use Illuminate\Validation\Concerns\ValidatesAttributes;

error_reporting(E_ALL & ~E_DEPRECATED); // 8.83 was written before PHP 8.2
date_default_timezone_set('UTC');

require_once 'Illuminate/autoload.php';

$rules = new class
{
    use ValidatesAttributes;
};

function read_by_carbon(string $text): ?string
{
    try {
        return Carbon::parse($text)->utc()->format('Y-m-d H:i:s.u');
    } catch (Exception $refused) {
        return null;
    }
}

while (($line = fgets(STDIN)) !== false) {
    [$text] = json_decode($line);
    echo json_encode([$rules->validateDate('timestamp', $text), read_by_carbon($text)]), "\n";
}
