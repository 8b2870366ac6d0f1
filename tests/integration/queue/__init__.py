"""The job queue's Redis as it really is: full, failed over, short of a right, of another make."""
