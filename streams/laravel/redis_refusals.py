"""What a Redis refuses, sorted by who can mend it. Pure.

Between what redis-py raises and what the log and the pages say of it. The table names the refusals that are
known. An unknown one belongs to the connection: making a new one costs little, and a connection that is kept
although it leads to the wrong server costs everything.
"""

import re
from enum import Enum
from typing import NamedTuple

from redis.exceptions import (
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)

from streams.errors import worded


class RedisMender(Enum):
    """Who can mend a refusal."""

    CONNECTION = "a new connection, which may lead to another server"
    SERVER = "the server, or whoever runs it: until then it is waited for"
    SETTINGS = "the settings, here or in Redis"
    CALLER = "the caller, who asks in another way"


class RedisRefusal(NamedTuple):
    """One refusal."""

    code: str
    """The word with which Redis begins it, or ``ERR``."""
    mender: RedisMender
    mend: str
    """What it means and what to do; empty where that is not known."""


KNOWN = {
    refusal.code: refusal
    for refusal in (
        RedisRefusal(
            "READONLY",
            RedisMender.CONNECTION,
            "it is a replica now: connecting anew. If that does not help, let REDIS_URL name the master",
        ),
        RedisRefusal(
            "MASTERDOWN", RedisMender.CONNECTION, "it is a replica that lost its master: connecting anew"
        ),
        RedisRefusal("UNBLOCKED", RedisMender.CONNECTION, "its role has changed: connecting anew"),
        RedisRefusal(
            "NOAUTH", RedisMender.CONNECTION, "its users have changed: connecting anew, as REDIS_URL says"
        ),
        RedisRefusal("LOADING", RedisMender.SERVER, "it reads its data from disk, and answers when it has"),
        RedisRefusal(
            "OOM", RedisMender.SERVER, "it is full (maxmemory): the workers of its queues must free it"
        ),
        RedisRefusal(
            "MISCONF",
            RedisMender.SERVER,
            "it cannot save its data, mostly since its disk is full: see its log",
        ),
        RedisRefusal(
            "NOREPLICAS", RedisMender.SERVER, "it has fewer replicas than min-replicas-to-write asks for"
        ),
        RedisRefusal("CLUSTERDOWN", RedisMender.SERVER, "its cluster is not complete"),
        RedisRefusal("TRYAGAIN", RedisMender.SERVER, "its cluster moves the queue to another node"),
        RedisRefusal("BUSY", RedisMender.SERVER, "somebody's script keeps it busy; SCRIPT KILL ends that"),
        RedisRefusal(
            "MOVED",
            RedisMender.SETTINGS,
            "the queue is on another node of a cluster: docs/redis.md says what works",
        ),
        RedisRefusal(
            "CROSSSLOT",
            RedisMender.SETTINGS,
            "in a cluster QUEUE_PREFIX or QUEUE_NAME needs a hash tag: see docs/redis.md",
        ),
        RedisRefusal(
            "NOPERM",
            RedisMender.SETTINGS,
            "the user in REDIS_URL lacks a right: docs/redis.md lists what it needs",
        ),
        RedisRefusal(
            "WRONGTYPE",
            RedisMender.SETTINGS,
            "a key of the queue holds something else: let QUEUE_PREFIX and QUEUE_NAME name a queue",
        ),
        RedisRefusal("NOSCRIPT", RedisMender.CALLER, ""),
    )
}
UNKNOWN = RedisRefusal("ERR", RedisMender.CONNECTION, "")

# redis-py takes the code off the text of these.
_BY_CLASS = {
    ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",
    BusyLoadingError: "LOADING",
    OutOfMemoryError: "OOM",
    ClusterDownError: "CLUSTERDOWN",
    ClusterCrossSlotError: "CROSSSLOT",
    TryAgainError: "TRYAGAIN",
    MovedError: "MOVED",  # and ASK, which is one
    NoPermissionError: "NOPERM",
    NoScriptError: "NOSCRIPT",
}
# What a script meets comes as text: before Redis 7 behind "ERR Error running script (…): -".
_CODE = re.compile(rf"(?:^|[\s\-])({'|'.join(KNOWN)})\s")
# A right that a script lacks has no code of its own: 6.2 and 7.0, and since 7.2.
_LACKS_A_RIGHT = re.compile(r"user executing the script can't|ACL failure in script|no permissions to")


def sort(error: Exception) -> RedisRefusal:
    """Tell who can mend what Redis refused.

    >>> from redis.exceptions import ResponseError
    >>> sort(ResponseError("ERR Error running script: @user_script: 7: -MISCONF Redis is configured")).code
    'MISCONF'
    >>> sort(ResponseError("ERR what nobody knows yet")).mender.name
    'CONNECTION'
    """
    for kind, code in _BY_CLASS.items():
        if isinstance(error, kind):
            return KNOWN[code]
    text = f"{worded(error)} "
    if _LACKS_A_RIGHT.search(text):
        return KNOWN["NOPERM"]
    found = _CODE.search(text)
    return KNOWN[found[1]] if found else UNKNOWN


def refused(error: Exception) -> str:
    """Return a refusal in words."""
    refusal, text = sort(error), worded(error)
    code = "" if refusal is UNKNOWN or refusal.code in text else f"{refusal.code} "
    return f"{code}{text}"


def told(error: Exception) -> str:
    """Return a refusal in words, with what it means and what to do."""
    mend = sort(error).mend
    return refused(error) + (f" ({mend})" if mend else "")
