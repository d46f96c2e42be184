"""Configuration of all tests: property tests have no deadline, because the duration depends on the machine."""

from hypothesis import settings

settings.register_profile("rigatoni", deadline=None)
settings.load_profile("rigatoni")
