"""The command `rigatoni top`: running pipelines, live in the terminal or on a local page."""
