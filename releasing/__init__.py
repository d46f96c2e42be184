"""How a distribution is released: checked, built, tested as a stranger gets it, and tagged (`nox -s release`)."""
