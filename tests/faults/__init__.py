"""Kills, stops, cuts and slows the parts of a real pipeline while a ledger counts: ``./dev faults``."""
