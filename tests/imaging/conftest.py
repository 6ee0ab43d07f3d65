"""Property tests draw the same examples on every machine and take the time they need."""

from hypothesis import settings

settings.register_profile("cmgan", deadline=None, derandomize=True, database=None)
settings.load_profile("cmgan")
