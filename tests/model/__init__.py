"""A model of the whole pipeline: the real agents between fakes, led through crashes by hypothesis."""
