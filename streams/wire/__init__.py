"""The wire formats, each with encode and decode side by side."""
