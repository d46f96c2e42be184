"""The torture test: real processes and real servers, broken at random for a given time (`nox -s torture`)."""
