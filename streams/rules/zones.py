"""The time zones that a timestamp may name, and how far each is ahead of UTC.

PHP knows more abbreviations; here are those with one meaning: the ones of RFC 2822, 4.3, and UTC.
"""

import re
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_HOUR_S = 3600
_ABBREVIATED_S = {
    "Z": 0,
    "UTC": 0,
    "GMT": 0,
    "EST": -5 * _HOUR_S,
    "EDT": -4 * _HOUR_S,
    "CST": -6 * _HOUR_S,
    "CDT": -5 * _HOUR_S,
    "MST": -7 * _HOUR_S,
    "MDT": -6 * _HOUR_S,
    "PST": -8 * _HOUR_S,
    "PDT": -7 * _HOUR_S,
}
ZONE = r"""
    (?: [Zz] | [Uu][Tt][Cc] | [Gg][Mm][Tt] | [ECMPecmp][SDsd][Tt]
    | [+-] (?: [01][0-9] | 2[0-3] ) (?: :? [0-5][0-9] )?
    | (?: Africa | America | Antarctica | Arctic | Asia | Atlantic | Australia | Europe | Indian | Pacific )
      (?: / [A-Z][A-Za-z_-]{1,30} ){1,2}
    )
"""
"""What stands for a zone, for a verbose regular expression; `offset_s` still has to know it."""
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?")


def offset_s(zone: str, year: int, month: int, day: int, second: int) -> int | None:
    """Return how many seconds a zone is ahead of UTC; None where that is not certain.

    Where clocks are set back, an hour comes twice, and where they are set forward, one never comes.

    Args:
        zone: as `ZONE` has found it.
        year: of the local time, as are month and day.
        month: from 1 on.
        day: from 1 on.
        second: of the day.
    """
    if (known := _ABBREVIATED_S.get(zone.upper())) is not None:
        return known
    if (match := _OFFSET.fullmatch(zone)) is not None:
        sign, hours, minutes = match.groups("0")
        ahead = int(hours) * _HOUR_S + int(minutes) * 60
        return ahead if sign == "+" else -ahead
    region = _region(zone)
    if region is None:
        return None
    minute, second = divmod(second, 60)
    local = datetime(year, month, day, minute // 60, minute % 60, second, tzinfo=region)
    offset, later = local.utcoffset(), local.replace(fold=1).utcoffset()
    return int(offset.total_seconds()) if offset is not None and offset == later else None


@lru_cache(maxsize=1024)  # also those that do not exist: to look for one takes long
def _region(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # there is none of that name, or it names a directory
        return None
