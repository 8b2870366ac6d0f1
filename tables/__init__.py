"""The changelog tables. May import `streams`, never `agents`."""
