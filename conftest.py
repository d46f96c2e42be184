"""What all tests share: properties have no deadline, since how long an example takes says more of the machine."""

from hypothesis import settings

settings.register_profile("rigatoni", deadline=None)
settings.load_profile("rigatoni")
