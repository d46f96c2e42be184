"""The torture test: real processes and real servers, broken at random for as long as you like (`nox -s torture`)."""
