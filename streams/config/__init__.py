"""What stands behind `streams.settings`: how the environment is read, and what a value must be like."""
