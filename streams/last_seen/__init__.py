"""When each device was heard last, how much it has sent, and how much of that was rejected.

refine notes each chunk, the keeper writes to the topic ``metrics.devices`` what has changed, and the command
``devices`` and the dashboard read it there. The counts are approximate: what a worker noted in the seconds
before it was killed is missing, and what a partition's two workers noted at once may be.
"""
