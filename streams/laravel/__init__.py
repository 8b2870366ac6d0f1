"""Laravel's side: the job as PHP writes it, its queue in Redis with the fence, and what it publishes."""
