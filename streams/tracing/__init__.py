"""Follows one message's way through every stage, from the device to its job and its row."""
