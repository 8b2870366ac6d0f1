"""Mutation testing: whether the tests notice when the pure core is changed in some small way."""
