"""The stack on one machine behind `./dev run`."""
