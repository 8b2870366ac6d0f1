"""The whole pipeline on one machine behind ``./dev run``: its servers, a simulated fleet, and the ledger."""
