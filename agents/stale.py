"""Tells a chunk that a former leader of ingress wrote and that landed behind its successor's.

Pure. Its messages at QoS 1 and 2 were not acknowledged to the MQTT broker when the successor's connection
took over the session, so the successor has carried them as well. A term could be wrong all the same, so such
a chunk is not passed over: dedupe accepts what it does not know, and only what it knows stays as it is.
"""


def is_stale(term: int, highest: int) -> bool:
    """Tell whether a chunk was written under an earlier leadership than one before it in its partition.

    Args:
        term: of the chunk (`streams.wire.headers.read_term`); 0 where it does not tell, as chunks of older
            versions and those that several workers of an MQTT share group write side by side.
        highest: the highest term of the chunks before it in its partition; 0 where none tells.
    """
    return 0 < term < highest
