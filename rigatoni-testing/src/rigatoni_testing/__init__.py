"""What plugin authors import in their tests (`pip install rigatoni-testing`)."""
