"""What was rejected: lists it, puts it back onto metrics.raw, or dismisses it.

For the command ``rejected`` and the page of the dashboard; what was beyond a quota, the worker releases.
"""
