"""How a job is named: by its chunk, so that a job in the queue leads back to metrics.raw. Pure."""

import uuid
from hashlib import blake2b

from streams.laravel.replays import ChunkId

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
JOB_ID_LENGTH = 32  # Illuminate\Queue\RedisQueue::getRandomId
_LETTER_OF = bytes(ord(LETTERS[byte % len(LETTERS)]) for byte in range(256))
_UUID_BYTES = 16


def job_names(partition: int, chunk: ChunkId, tenant_id: str) -> tuple[str, str]:
    """Return a job's uuid and id."""
    # Nothing that changes when it is made again: a replay that is pushed twice is one job to who reads logs.
    identity = f"{chunk.epoch}/{partition}/{chunk.raw_offset}/{tenant_id}/{chunk.digest.hex()}".encode()
    digest = blake2b(identity, digest_size=_UUID_BYTES + JOB_ID_LENGTH).digest()
    name = uuid.UUID(bytes=digest[:_UUID_BYTES], version=4)
    return str(name), digest[_UUID_BYTES:].translate(_LETTER_OF).decode()
