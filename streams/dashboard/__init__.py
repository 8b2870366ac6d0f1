"""What the dashboard shows: the last fifteen minutes, who is busy, what was refused, the other workers."""
