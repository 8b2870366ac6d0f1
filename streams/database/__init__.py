"""PostgreSQL: the schema, and which tenants exist."""
