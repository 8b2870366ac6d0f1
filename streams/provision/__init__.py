"""Lets devices in to a Mosquitto with its dynamic security, each to its own topics and to nothing else."""
