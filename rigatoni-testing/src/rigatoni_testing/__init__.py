"""Test kit for plugin authors (`pip install rigatoni-testing`)."""
