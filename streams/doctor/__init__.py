"""Looks at every part and its configuration from outside, and says what was seen and what mends it."""
