"""Adds partitions to the topics while the workers are stopped: for the command ``partitions``.

A tenant's partition is its hash modulo their number. From 8 to 16, what stood in partition 3 stays there or
moves to 11, and nowhere else. So 11 inherits what 3 remembers
([decision 11](../../docs/adr/0011-partitions-are-multiplied-and-inherit.md)).
"""
