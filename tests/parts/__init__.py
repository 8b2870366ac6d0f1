"""The real servers that tests run against: one module a part, each with a handle that starts and stops it."""
