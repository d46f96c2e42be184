"""The checks of `rigatoni doctor` for MongoDB: what will hurt a stream later. They only read."""
