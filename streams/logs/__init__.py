"""What a process says in its log, and how its lines are written."""
